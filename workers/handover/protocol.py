"""The messages between two workers of a handover, and the snapshot of a connection. O is the sender, N the receiver."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from workers.registry.registry import Carried

VERSION = 4

# The kernel passes at most 253 descriptors in one message (SCM_MAX_FD); a quarter of that leaves the receiver time for
# other work between batches.
MAX_BATCH = 64
MAX_PACKET = 131_072
ROOMS_A_PACKET = 200  # names of at most 64 bytes each; following them must not block the loop for long


class RoomPosition(Struct, frozen=True, array_like=True):
    """A connection's position in the log of one room."""

    room: str
    epoch: str
    offset: int


class ConnectionSnapshot(Struct, frozen=True, array_like=True):
    """One connection as data: what another worker needs to continue it."""

    id: str
    user: str
    opened_at: float  # Unix time
    messages_in: int  # as the transport counts them, too
    session: dict[str, Any]
    rooms: tuple[RoomPosition, ...]
    orders: tuple[int, ...]  # its position in each of `control_room.ORDER_ROOMS`
    socket: bytes  # the transport's state
    left_at: float  # when it left its rooms: seconds of CLOCK_MONOTONIC, which all processes share
    counted: Carried  # where the registry counts it
    app: Any = None  # the application's state


class Offer(Struct, frozen=True, tag="offer"):
    """O → N: these connections; their descriptors travel with the packet, in the same order.

    Each snapshot is encoded and decoded separately, so that one that cannot be decoded costs no other.
    """

    batch: int
    snapshots: tuple[msgspec.Raw, ...] = msgspec.field(name="parcels")


class Held(Struct, frozen=True, tag="held"):
    """N → O: the descriptors of these connections arrived; all others of the batch are refused."""

    batch: int
    ids: tuple[str, ...]


class Late(Struct, frozen=True, tag="late"):
    """O → N, before Go: whole frames that the application wrote to a frozen connection."""

    id: str
    data: bytes
    close: tuple[int, str] | None = None  # close the connection after these frames


class Go(Struct, frozen=True, tag="go"):
    """O → N: these connections are N's now. Go cannot be taken back."""

    batch: int
    ids: tuple[str, ...]


class Taken(Struct, frozen=True, tag="taken"):
    """N → O: the whole batch is served again; so O gives away no faster than N takes."""

    batch: int


class Abort(Struct, frozen=True, tag="abort"):
    """O → N: close the copies of the batch."""

    batch: int


class Released(Struct, frozen=True, tag="released"):
    """N → O: the copies of the batch are closed."""

    batch: int


class Prepare(Struct, frozen=True, tag="prepare"):
    """O → N: rooms whose members will arrive, for N to follow them before; `last` marks the last packet of rooms."""

    version: int
    rooms: tuple[str, ...]
    last: bool


class Prepared(Struct, frozen=True, tag="prepared"):
    """N → O: the rooms are followed; `credit` descriptors are free."""

    version: int
    credit: int


class Declined(Struct, frozen=True, tag="declined"):
    """N → O: this worker is stopping and takes no more connections."""


class Finished(Struct, frozen=True, tag="finished"):
    """O → N: nothing more follows."""


FromSender = Prepare | Offer | Late | Go | Abort | Finished
FromReceiver = Prepared | Held | Taken | Released | Declined

encode = msgspec.msgpack.Encoder().encode
decode_from_sender = msgspec.msgpack.Decoder(FromSender).decode
decode_snapshot = msgspec.msgpack.Decoder(ConnectionSnapshot).decode
decode_from_receiver = msgspec.msgpack.Decoder(FromReceiver).decode
