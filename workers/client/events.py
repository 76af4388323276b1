"""What a client is told: the server's messages as types, and the two that the client adds about its connection.

Members that a newer server adds are ignored, and so are messages of a type that is not listed here.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct, field

RequestId = int | str | None


class Position(Struct, frozen=True):
    """A place in a room's log: everything up to and with `offset` is known."""

    epoch: str
    offset: int


class Person(Struct, frozen=True):
    """Who said or did it."""

    user: str
    name: str = ""


class Pushed(Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """Anything that the server sends."""


class Entry(Pushed, frozen=True, kw_only=True):
    """Anything that has a place in a room's log."""

    room: str
    epoch: str
    offset: int
    time: int  # ms since 1970 UTC, by the store's clock
    sender: Person = field(name="from")
    key: str | None = None  # only to the author's own connections


class Message(Entry, frozen=True, kw_only=True):
    """Said in a room, or directly (then `room` is the own inbox and `to` the receiver).

    What was missed and what `history` gives is as it now stands: after an edit with `edited` (its time), with the
    users of each reaction, and, where it was deleted, without a body.
    """

    text: str | None = None
    data: Any = None
    reply_to: int | None = None
    to: str | None = None
    mentions: tuple[str, ...] = ()
    edited: int | None = None  # ms since 1970
    deleted: bool = False
    reactions: dict[str, tuple[str, ...]] = {}


class Edited(Entry, frozen=True, kw_only=True):
    """The message at `target` reads so now."""

    target: int
    text: str | None = None
    data: Any = None
    mentions: tuple[str, ...] = ()


class Deleted(Entry, frozen=True, kw_only=True):
    """The message at `target` is gone; its offset stays."""

    target: int


class Reacted(Entry, frozen=True, kw_only=True):
    """A reaction to the message at `target` came, or went."""

    target: int
    emoji: str
    remove: bool = False


class Gap(Pushed, frozen=True, kw_only=True):
    """These offsets cannot be had any more; delivery goes on after them.

    With `changes` no message is among them: they changed earlier messages, whose present state `history` shows.
    """

    room: str
    epoch: str
    first: int = field(name="from")
    last: int = field(name="to")
    changes: bool = False


class Reset(Pushed, frozen=True, kw_only=True):
    """The room's log was lost; it goes on after `offset`, and what is known of it so far is not in it."""

    room: str
    epoch: str
    offset: int


class RoomState(Struct, frozen=True, kw_only=True):
    """A room as `welcome` shows it."""

    room: str
    epoch: str
    offset: int  # the log's top
    recovered: bool | None = None
    members: int | None = None
    unread: int | None = None
    read: int | None = None


class Welcome(Pushed, frozen=True, kw_only=True):
    """The connection is up, and these are its rooms."""

    connection: str
    user: str
    name: str
    server_time: int
    id: RequestId = None
    role: str = "user"
    ping_interval: float = 0.0
    limits: dict[str, Any] = field(default_factory=dict)
    rooms: tuple[RoomState, ...] = ()
    token: str | None = None  # a guest's, to be the same guest again


class Joined(Pushed, RoomState, frozen=True, kw_only=True):
    """The answer to `join`."""

    id: RequestId = None


class Left(Pushed, frozen=True, kw_only=True):
    """The answer to `leave`; without an id: somebody else saw to it."""

    room: str
    id: RequestId = None
    reason: str | None = None


class Ack(Pushed, frozen=True, kw_only=True):
    """Done. The place is there only where something was kept, and then the store has it."""

    id: RequestId = None
    room: str | None = None
    epoch: str | None = None
    offset: int | None = None
    duplicate: bool = False
    lifted: bool | None = None  # of `unban` and `unmute`: whether there was anything to lift


class History(Pushed, frozen=True, kw_only=True):
    """A page of a room's log, oldest first, each message as it now stands."""

    room: str
    epoch: str
    messages: tuple[Message, ...]
    more: bool
    id: RequestId = None


class Member(Struct, frozen=True, kw_only=True):
    """A user in a room."""

    user: str
    name: str = ""
    connections: int = 1


class Members(Pushed, frozen=True, kw_only=True):
    """Who is in a room."""

    room: str
    members: tuple[Member, ...]
    count: int
    truncated: bool = False
    id: RequestId = None


class Presence(Pushed, frozen=True, kw_only=True):
    """Who came and went since the last one; in a large room only how many there are."""

    room: str
    count: int
    joined: tuple[Person, ...] = ()
    left: tuple[Person, ...] = ()
    renamed: tuple[Person, ...] = ()


class Typing(Pushed, frozen=True, kw_only=True):
    """Somebody is writing."""

    room: str
    user: str
    name: str = ""


class Read(Pushed, frozen=True, kw_only=True):
    """Somebody has read up to `offset`."""

    room: str
    user: str
    offset: int


class Error(Pushed, frozen=True, kw_only=True):
    """A request did nothing; after `unavailable` and `internal` nobody knows."""

    code: str
    message: str = ""
    id: RequestId = None
    retry_after_ms: int | None = None
    field: str | None = None


class Bye(Pushed, frozen=True, kw_only=True):
    """The server is about to close the connection on purpose."""

    code: int
    reason: str = ""
    retry_after_ms: int = 0


class Muted(Pushed, frozen=True, kw_only=True):
    """The user may not speak, in the room or (None) anywhere, until then (ms since 1970; None: without end)."""

    room: str | None = None
    until: int | None = None
    reason: str = ""


class Unmuted(Pushed, frozen=True, kw_only=True):
    """The user may speak again."""

    room: str | None = None


class Pong(Pushed, frozen=True, kw_only=True):
    """The answer to `ping`."""

    server_time: int
    id: RequestId = None


class Disconnected(Struct, frozen=True):
    """The connection is lost; the client comes back in `retry_in` seconds, or not at all (None)."""

    code: int
    reason: str
    retry_in: float | None


FromServer = (
    Message
    | Edited
    | Deleted
    | Reacted
    | Gap
    | Reset
    | Welcome
    | Joined
    | Left
    | Ack
    | History
    | Members
    | Presence
    | Typing
    | Read
    | Error
    | Muted
    | Unmuted
    | Bye
    | Pong
)
Event = FromServer | Disconnected

_decode: Final = msgspec.json.Decoder(FromServer).decode


def decode(data: str | bytes) -> FromServer | None:
    """A message of the server; None: of a type that this client does not know, or none of the chat's at all.

    Another program may have sent the room something of its own, see `Gateway.send_to_room`.
    """
    try:
        event: FromServer = _decode(data)
        return event
    except msgspec.DecodeError:  # ValidationError is one
        return None
