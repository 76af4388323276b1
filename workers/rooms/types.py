"""The types that the rooms and their callers share: members, transports, and the notices for members."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from msgspec import Struct

from workers.bus.port import Amendment, Position


class Transport(Protocol):
    """The part of asyncio's transport that the rooms use."""

    def write(self, data: bytes) -> None: ...
    def get_write_buffer_size(self) -> int: ...


class RoomMember(Protocol):
    """A connection, as the rooms see it."""

    inside: tuple[Any, ...]  # the rooms (`room.Room`) that it is in: written by `Membership` alone

    @property
    def id(self) -> str: ...

    @property
    def user(self) -> str:
        """The user's id; "" for a connection without a user."""

    @property
    def deflate(self) -> bool:
        """Whether the connection gets the compressed class of frames."""

    @property
    def paused(self) -> bool:
        """Whether the transport's buffer is above the high-water mark."""

    @property
    def ws(self) -> Any:
        """The WebSocket; its `.transport` is a Transport."""

    def cut(self, code: int) -> None:
        """Close the connection, which reads too slowly."""


class Waiting(Protocol):
    """Something that waits for rooms to be current."""

    def advance(self) -> None:
        """One of the rooms is current."""


class WaitingJoin(Waiting, Protocol):
    """A join that waits for its rooms (`join.PendingJoin`)."""

    @property
    def member(self) -> RoomMember: ...


class LaggingMember(Protocol):
    """A member that reads from the log (`slow_consumer.SlowConsumer`)."""

    queued: bool  # for its turn; set by the flush queue
    waiting: bool  # for a page of the log

    @property
    def member(self) -> RoomMember: ...

    @property
    def position(self) -> Position:
        """The place up to which the member was sent everything."""

    @property
    def alive(self) -> bool:
        """Whether the member still lags in the room."""

    def pump(self) -> None:
        """Write what the member may have now."""

    def write_notices(self) -> None:
        """Write the gaps and resets that the member has still to be told of."""


class LaggingMembers(dict[RoomMember, LaggingMember]):
    """The members of a room that read from the log."""

    __slots__ = ("arrived",)

    def __init__(self) -> None:
        super().__init__()
        self.arrived = 0  # bytes of the frames that have come while there were any


class SoleMember:
    """The LIVE members of a room that has one or none, as small as possible: every user's inbox is such a room.

    A dict with one entry takes 220 bytes; this takes 48, and has as much of a dict's interface as the rooms use.
    `with_another` makes a dict for a second member.
    """

    __slots__ = ("_member", "_transport")

    def __init__(self) -> None:
        self._member: RoomMember | None = None
        self._transport: Transport | None = None

    def __len__(self) -> int:
        return self._member is not None

    def __contains__(self, member: object) -> bool:
        return member is not None and member is self._member

    def __iter__(self) -> Iterator[RoomMember]:
        if self._member is not None:
            yield self._member

    def values(self) -> tuple[Transport, ...]:
        return () if self._transport is None else (self._transport,)

    def __setitem__(self, member: RoomMember, transport: Transport) -> None:
        assert self._member is None or self._member is member
        self._member, self._transport = member, transport

    def pop(self, member: RoomMember, default: None = None) -> Transport | None:
        if member is not self._member:
            return default
        transport, self._member, self._transport = self._transport, None, None
        return transport

    def with_another(self, member: RoomMember, transport: Transport) -> SoleMember | dict[RoomMember, Transport]:
        """The members with one more."""
        if self._member is None or self._transport is None or self._member is member:
            self[member] = transport
            return self
        return {self._member: self._transport, member: transport}


class Gap(Struct, frozen=True):
    """Offsets that cannot be read any more; delivery goes on after `last`."""

    epoch: str
    first: int
    last: int
    changes: bool = False  # they only changed messages, whose present state the log still has


class Reset(Struct, frozen=True):
    """The log was lost; it goes on after `offset`."""

    epoch: str
    offset: int


class Joined(Struct, frozen=True):
    """A room that a member is in from now on.

    `offset` is the top of the log: all entries above will come. `recovered` answers a `since`: True if every message
    after it is on its way, False if `missing` names the loss, None if no `since` was given.
    """

    room: str
    epoch: str
    offset: int
    recovered: bool | None = None
    missing: Gap | Reset | None = None


# Turns a gap or a reset into the payload of the application's text message, or None to send nothing.
Teller = Callable[[str, Gap | Reset], bytes | None]


# Applies later entries to an earlier one: from its payload and the amendments, the payload to be shown.
Amender = Callable[[bytes, Sequence[Amendment]], bytes]


def amend_nothing(payload: bytes, amendments: Sequence[Amendment]) -> bytes:
    """Return the payload unchanged: for applications without edits."""
    return payload


def tell_nothing(room: str, what: Gap | Reset) -> bytes | None:
    """Return None: for applications whose protocol has no message for gaps and resets."""
    return None
