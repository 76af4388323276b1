"""What a session wants done: one imperative word each. `app.py` carries them out.

An effect names a room or a user, never a recipient: who receives is the rooms' affair. `id` is the request's
own, for its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from workers.bus.port import Change, Position
from workers.chat.rules.commands import Command, RequestId, Wanted
from workers.chat.rules.identity import Identity


class Effect(Struct, frozen=True):
    """Something to be done."""


Effects = Sequence[Effect]


class Reply(Effect, frozen=True, gc=False):
    """Send to this connection."""

    payload: bytes


class CloseSession(Effect, frozen=True, gc=False):
    """Say why, then close with `code`."""

    code: int
    reason: str
    retry_after_ms: int = 0
    note: str = ""  # for the log, never for the client


class Admit(Effect, frozen=True):
    """Let this user in: limits and bans first, then the rooms.

    The answer is `Session.admitted`, `turned_away` or `refused`.
    """

    id: RequestId
    identity: Identity
    wanted: tuple[Wanted, ...]  # the inbox first
    refused: tuple[Reply, ...] = ()  # what to say of the rooms that are not for this user
    chosen: bool = False  # the name is one of the user's own choice
    asked: tuple[Wanted, ...] = ()  # as the hello had them

    def field_of(self, room: str) -> str:
        """Where the hello names a room, for the error about it."""
        return next((f"rooms[{place}].room" for place, one in enumerate(self.asked) if one.room == room), "rooms")


class Greet(Effect, frozen=True, gc=False):
    """A hello was renewed: call the user by the new name, then answer with `Session.greeted` and the positions."""

    id: RequestId
    name: str = ""  # "": the one that the user has
    ask_again: bool = False  # the hook on join, about each room: the role is another


class EnterRoom(Effect, frozen=True):
    """Join a room; answer with `Session.joined`."""

    id: RequestId
    wanted: Wanted
    again: bool = False  # it is in the room already


class LeaveRoom(Effect, frozen=True, gc=False):
    """Leave a room; then, when nothing of it can come any more, send this to the connection."""

    id: RequestId
    room: str
    answer: bytes


class Publish(Effect, frozen=True, gc=False):
    """Append to a room's log, then acknowledge."""

    id: RequestId
    room: str
    payload: bytes
    key: str = ""
    # What the client asked for, without what the server added: a retry under a new name is the same request.
    content: bytes = b""
    slow_mode: float = 0.0  # seconds between two messages of one user in this room; 0: none
    reply_to: Position | None = None  # the message that it answers, which has to be there


class PublishDirect(Effect, frozen=True, gc=False):
    """Append to the receiver's inbox, then to the sender's own, then acknowledge with the latter's place."""

    id: RequestId
    to: str
    payload: bytes  # for the receiver
    own_payload: bytes  # for the sender; the same user: this one alone
    key: str = ""
    content: bytes = b""
    reply_to: Position | None = None  # the message that it answers, in the sender's inbox


class AmendMessage(Effect, frozen=True, gc=False):
    """Append an entry that changes an earlier one, where its author and its state allow it; then acknowledge."""

    id: RequestId
    room: str
    change: Change
    payload: bytes
    content: bytes
    key: str = ""
    any_author: bool = False  # a moderator's, and every reaction
    slow_mode: float = 0.0  # as of `Publish`: an edit counts as a message


class MarkRead(Effect, frozen=True, gc=False):
    """Keep how far this user has read in a room, and tell the room where it moved."""

    room: str
    offset: int


class TellRead(Effect, frozen=True, gc=False):
    """Tell a user how far their messages were read; `offset` is the last one's place in the reader's own inbox."""

    user: str
    offset: int


class PublishNotice(Effect, frozen=True, gc=False):
    """Tell a room something that is not kept."""

    room: str
    payload: bytes


class ReadHistory(Effect, frozen=True, gc=False):
    """Read from a room's log; answer with the page."""

    id: RequestId
    room: str
    before: int | None
    after: int | None
    limit: int


class ReadMembers(Effect, frozen=True, gc=False):
    """Answer with the users in a room."""

    id: RequestId
    room: str


class ChangeName(Effect, frozen=True, gc=False):
    """Call this user otherwise, on every connection and worker; then acknowledge."""

    id: RequestId
    name: str


class Verb(StrEnum):
    """A moderator's deeds."""

    KICK = "kick"
    BAN = "ban"
    MUTE = "mute"
    UNBAN = "unban"
    UNMUTE = "unmute"


class Moderate(Effect, frozen=True, gc=False):
    """Do this to a user on every worker, keep it, and write it into the audit trail; then acknowledge."""

    id: RequestId
    verb: Verb
    user: str
    room: str  # "": everywhere
    seconds: float  # 0: without end
    reason: str


class Consult(Effect, frozen=True):
    """Ask the application's hook of that name; go on with `Session.approved`, or answer with its refusal."""

    hook: str  # hello, join, say
    command: Command
    identity: Identity
