"""What a session wants done: one imperative word each. `effect_executor.py` carries effects out.

An effect names a room or a user, never a recipient: the rooms know who receives. `id` is the id of the request, for
its answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from workers.bus.port import Change, Position
from workers.chat.rules.commands import Command, Hello, RequestId, Wanted
from workers.chat.rules.identity import Identity, Presented
from workers.push.subscription import PushSubscription


class Effect(Struct, frozen=True):
    """An order of a session."""


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


class FetchKeys(Effect, frozen=True):
    """Fetch the keys of tokens, since no known one fits that of the hello; go on with `ChatSession.keys_fetched`."""

    command: Hello


class Admit(Effect, frozen=True):
    """Let this user in: check limits and bans, then join the rooms.

    The answer is `ChatSession.admitted`, `turned_away` or `refused`.
    """

    id: RequestId
    identity: Presented
    wanted: tuple[Wanted, ...]  # the inbox first
    refused: tuple[Reply, ...] = ()  # an error for each room that is not for this user
    chosen: bool = False  # the user chose the name
    asked: tuple[Wanted, ...] = ()  # as the hello had them

    def field_of(self, room: str) -> str:
        """Where the hello names a room, for the error about it."""
        return next((f"rooms[{place}].room" for place, one in enumerate(self.asked) if one.room == room), "rooms")


class Greet(Effect, frozen=True, gc=False):
    """Renew a session: give the user the new name, then answer with `ChatSession.greeted` and the positions."""

    id: RequestId
    name: str = ""  # "": the present one
    ask_again: bool = False  # ask the hook on join about each room, since the role has changed


class EnterRoom(Effect, frozen=True):
    """Join a room; the answer is `ChatSession.joined`."""

    id: RequestId
    wanted: Wanted
    again: bool = False  # the connection is in the room already


class LeaveRoom(Effect, frozen=True, gc=False):
    """Leave a room; send `answer` once no message of the room can follow it."""

    id: RequestId
    room: str
    answer: bytes


class Publish(Effect, frozen=True, gc=False):
    """Append to a room's log, then acknowledge."""

    id: RequestId
    room: str
    payload: bytes
    key: str = ""
    # The request without what the server added: a retry under a new name is the same request.
    content: bytes = b""
    slow_mode: float = 0.0  # seconds between two messages of one user in this room; 0: none
    reply_to: Position | None = None  # the message that it answers, which has to exist
    mentions: tuple[str, ...] = ()  # users, and @room


class PublishDirect(Effect, frozen=True, gc=False):
    """Append to the receiver's inbox, then to the sender's; acknowledge with the place in the sender's."""

    id: RequestId
    to: str
    payload: bytes  # for the receiver
    own_payload: bytes  # for the sender; a message to oneself is this one alone
    key: str = ""
    content: bytes = b""
    reply_to: Position | None = None  # the message that it answers, in the sender's inbox


class AmendMessage(Effect, frozen=True, gc=False):
    """Append an entry that changes an earlier message, if the message's author and state allow it; then acknowledge."""

    id: RequestId
    room: str
    change: Change
    payload: bytes
    content: bytes
    key: str = ""
    any_author: bool = False  # for a moderator, and for every reaction
    slow_mode: float = 0.0  # as of `Publish`: an edit counts as a message
    mentions: tuple[str, ...] = ()  # users and @room, in the new text


class MarkRead(Effect, frozen=True, gc=False):
    """Keep how far this user has read in a room; if the position moved forward, tell the room."""

    room: str
    offset: int


class TellRead(Effect, frozen=True, gc=False):
    """Tell a user how far their messages were read; `offset` is that of the last one in the reader's inbox."""

    user: str
    offset: int


class PublishNotice(Effect, frozen=True, gc=False):
    """Publish to a room what no log keeps."""

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


class ReadSanctions(Effect, frozen=True, gc=False):
    """Answer with the bans and mutes that hold in a room, or with room "" with all."""

    id: RequestId
    room: str


class KeepSubscription(Effect, frozen=True, gc=False):
    """Keep where a browser wants to be told by Web Push, then acknowledge."""

    id: RequestId
    subscription: PushSubscription


class ForgetSubscription(Effect, frozen=True, gc=False):
    """Forget a browser's endpoint, then acknowledge."""

    id: RequestId
    endpoint: str


class ChangeName(Effect, frozen=True, gc=False):
    """Give this user another name, on every connection and worker; then acknowledge."""

    id: RequestId
    name: str


class Verb(StrEnum):
    """What a moderator may do to a user."""

    KICK = "kick"
    BAN = "ban"
    MUTE = "mute"
    UNBAN = "unban"
    UNMUTE = "unmute"


class Moderate(Effect, frozen=True, gc=False):
    """Kick, ban or mute a user on every worker, or lift it; keep it, record it in the audit trail, then acknowledge."""

    id: RequestId
    verb: Verb
    user: str
    room: str  # "": everywhere
    seconds: float  # 0: without end
    reason: str


class Consult(Effect, frozen=True):
    """Ask the application's hook of that name; go on with `ChatSession.approved`, or answer with the refusal."""

    hook: str  # hello, join, say
    command: Command
    identity: Identity
