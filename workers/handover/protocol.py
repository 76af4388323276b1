"""The words that two workers say to each other while connections move, and what one connection is on paper."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from workers.registry.registry import Carried

VERSION = 4

# The kernel passes at most 253 descriptors in one message (SCM_MAX_FD); a quarter of it leaves the receiver time to
# work between batches.
MAX_BATCH = 64
MAX_PACKET = 131_072
ROOMS_A_PACKET = 200  # of at most 64 bytes each; following them must not hold up a loop for long


class RoomPosition(Struct, frozen=True, array_like=True):
    """How far a connection has got in one room."""

    room: str
    epoch: str
    offset: int


class ConnectionSnapshot(Struct, frozen=True, array_like=True):
    """One connection, written down: what another worker needs to go on with it."""

    id: str
    user: str
    opened_at: float  # Unix time
    messages_in: int
    session: dict[str, Any]
    rooms: tuple[RoomPosition, ...]
    orders: tuple[int, ...]  # how far it has got in each of `control.ORDER_ROOMS`
    socket: bytes  # the transport's own state
    left_at: float  # when it was taken out of its rooms: seconds of CLOCK_MONOTONIC, which all processes share
    counted: Carried  # where it is counted
    app: Any = None  # the application's own state


class Offer(Struct, frozen=True, tag="offer"):
    """O → N: these connections, their descriptors beside the packet in the same order.

    Each is a Parcel that was encoded by itself, and is decoded so: one that cannot be read costs no other.
    """

    batch: int
    snapshots: tuple[msgspec.Raw, ...] = msgspec.field(name="parcels")


class Held(Struct, frozen=True, tag="held"):
    """N → O: the descriptors of these have arrived; all others of the batch are refused."""

    batch: int
    ids: tuple[str, ...]


class Late(Struct, frozen=True, tag="late"):
    """O → N, before Go: whole frames that the application wrote to a connection while nobody could write."""

    id: str
    data: bytes
    close: tuple[int, str] | None = None  # it is to be closed after them


class Go(Struct, frozen=True, tag="go"):
    """O → N: these are yours. It cannot be taken back."""

    batch: int
    ids: tuple[str, ...]


class Taken(Struct, frozen=True, tag="taken"):
    """N → O: all of the batch are served again; so O lets no more go at a time than N takes."""

    batch: int


class Abort(Struct, frozen=True, tag="abort"):
    """O → N: let go of the batch."""

    batch: int


class Released(Struct, frozen=True, tag="released"):
    """N → O: the batch is let go of."""

    batch: int


class Prepare(Struct, frozen=True, tag="prepare"):
    """O → N: rooms whose members will come, so that N follows them before the first arrives; `last` ends them."""

    version: int
    rooms: tuple[str, ...]
    last: bool


class Prepared(Struct, frozen=True, tag="prepared"):
    """N → O: the rooms are followed; so many descriptors are free."""

    version: int
    credit: int


class Declined(Struct, frozen=True, tag="declined"):
    """N → O: this worker goes away itself and takes nothing more."""


class Finished(Struct, frozen=True, tag="finished"):
    """O → N: nothing more will come."""


FromSender = Prepare | Offer | Late | Go | Abort | Finished
FromReceiver = Prepared | Held | Taken | Released | Declined

encode = msgspec.msgpack.Encoder().encode
decode_from_sender = msgspec.msgpack.Decoder(FromSender).decode
decode_snapshot = msgspec.msgpack.Decoder(ConnectionSnapshot).decode
decode_from_receiver = msgspec.msgpack.Decoder(FromReceiver).decode
