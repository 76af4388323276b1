"""The events of a client: the server's messages as types, and two events about the connection.

Members that a newer server adds are ignored, and so are messages of a type that is not listed here.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct, field

RequestId = int | str | None


class Position(Struct, frozen=True):
    """A position in a room's log: everything up to and including `offset` is known."""

    epoch: str
    offset: int


class Person(Struct, frozen=True):
    """The author of a message or change."""

    user: str
    name: str = ""


class Pushed(Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """A message of the server."""


class Entry(Pushed, frozen=True, kw_only=True):
    """A message with a position in a room's log."""

    room: str
    epoch: str
    offset: int
    time: int  # ms since 1970 UTC, by the store's clock
    sender: Person = field(name="from")
    key: str | None = None  # only to the author's own connections


class Message(Entry, frozen=True, kw_only=True):
    """A message in a room, or a direct message (`room` is the client's inbox and `to` the receiver).

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
    """The message at `target` has a new text."""

    target: int
    text: str | None = None
    data: Any = None
    mentions: tuple[str, ...] = ()


class Deleted(Entry, frozen=True, kw_only=True):
    """The message at `target` is deleted; its offset stays."""

    target: int


class Reacted(Entry, frozen=True, kw_only=True):
    """A reaction to the message at `target` was added or removed."""

    target: int
    emoji: str
    remove: bool = False


class Gap(Pushed, frozen=True, kw_only=True):
    """These offsets are gone for good; delivery continues after them.

    With `changes` no message is among them: they changed earlier messages, whose present state `history` shows.
    """

    room: str
    epoch: str
    first: int = field(name="from")
    last: int = field(name="to")
    changes: bool = False


class Reset(Pushed, frozen=True, kw_only=True):
    """The room's log was lost; it continues after `offset` without the entries known so far."""

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
    mentions: tuple[int, ...] = ()  # offsets of unread messages that mention the user, or everybody


class Welcome(Pushed, frozen=True, kw_only=True):
    """The connection is open; its rooms."""

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
    push: str | None = None  # the server's key for Web Push, where it has push


class Joined(Pushed, RoomState, frozen=True, kw_only=True):
    """The answer to `join`."""

    id: RequestId = None


class Left(Pushed, frozen=True, kw_only=True):
    """The answer to `leave`; without an id the user was removed from the room."""

    room: str
    id: RequestId = None
    reason: str | None = None


class Ack(Pushed, frozen=True, kw_only=True):
    """The request was carried out; a position means that the store has the entry."""

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
    """The users in a room."""

    room: str
    members: tuple[Member, ...]
    count: int
    truncated: bool = False
    id: RequestId = None


class Presence(Pushed, frozen=True, kw_only=True):
    """The users who came and went since the last event; in a large room only the count."""

    room: str
    count: int
    joined: tuple[Person, ...] = ()
    left: tuple[Person, ...] = ()
    renamed: tuple[Person, ...] = ()


class Typing(Pushed, frozen=True, kw_only=True):
    """A user is typing."""

    room: str
    user: str
    name: str = ""


class Read(Pushed, frozen=True, kw_only=True):
    """A user has read up to `offset`."""

    room: str
    user: str
    offset: int


class Error(Pushed, frozen=True, kw_only=True):
    """A request failed and had no effect; after `unavailable` and `internal` the effect is unknown."""

    code: str
    message: str = ""
    id: RequestId = None
    retry_after_ms: int | None = None
    field: str | None = None
    until: int | None = None  # of a ban or a mute, ms since 1970; None: without end
    reason: str | None = None  # of a ban or a mute


class Bye(Pushed, frozen=True, kw_only=True):
    """The server is about to close the connection on purpose."""

    code: int
    reason: str = ""
    retry_after_ms: int = 0


class Muted(Pushed, frozen=True, kw_only=True):
    """The user is muted, in the room or (None) everywhere, until a time (ms since 1970; None: without end)."""

    room: str | None = None
    until: int | None = None
    reason: str = ""


class Unmuted(Pushed, frozen=True, kw_only=True):
    """The user is no longer muted."""

    room: str | None = None


class Banned(Pushed, frozen=True, kw_only=True):
    """The user is banned, from the room or (None) from the server, until a time (ms since 1970; None: without end)."""

    room: str | None = None
    until: int | None = None
    reason: str = ""


class HeldSanction(Struct, frozen=True, kw_only=True):
    """A ban or a mute as a moderator sees it. Times are ms since 1970."""

    kind: str
    user: str
    by: str = ""
    since: int = 0
    room: str | None = None  # None: everywhere
    until: int | None = None  # None: without end
    reason: str = ""
    address: bool = False  # it holds for every guest of the same address, too


class HeldSanctions(Pushed, frozen=True, kw_only=True, tag="sanctions"):
    """The bans and mutes that hold, newest first."""

    sanctions: tuple[HeldSanction, ...]
    count: int
    truncated: bool = False
    id: RequestId = None


class Pong(Pushed, frozen=True, kw_only=True):
    """The answer to `ping`."""

    server_time: int
    id: RequestId = None


class Disconnected(Struct, frozen=True):
    """The connection is lost; the client reconnects in `retry_in` seconds, or (None) not at all."""

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
    | Banned
    | HeldSanctions
    | Bye
    | Pong
)
Event = FromServer | Disconnected

_decode: Final = msgspec.json.Decoder(FromServer).decode


def decode(data: str | bytes) -> FromServer | None:
    """Decode a message of the server; None for an unknown type, or data that is not the chat's.

    Another program may have sent its own data to the room, see `Gateway.send_to_room`.
    """
    try:
        event: FromServer = _decode(data)
        return event
    except msgspec.DecodeError:  # ValidationError is one
        return None
