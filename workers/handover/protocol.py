"""The words that two workers say to each other while connections move, and what one connection is on paper."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from workers.registry.registry import Carried

VERSION = 1

# The kernel passes at most 253 descriptors in one message (SCM_MAX_FD); a quarter of it leaves the receiver time to
# work between batches.
MAX_BATCH = 64
MAX_PACKET = 131_072
MAX_OUTSTANDING = 2  # batches
ROOMS_A_PACKET = 1000  # of at most 64 bytes each


class RoomPosition(Struct, frozen=True, array_like=True):
    """How far a connection has got in one room."""

    room: str
    epoch: str
    offset: int


class Parcel(Struct, frozen=True, array_like=True):
    """One connection, written down: what another worker needs to go on with it."""

    id: str
    user: str
    opened_at: float  # Unix time
    messages_in: int
    session: dict[str, Any]
    rooms: tuple[RoomPosition, ...]
    control: RoomPosition
    socket: bytes  # the transport's own state
    counted: Carried  # where it is counted
    app: Any = None  # the application's own state


class Offer(Struct, frozen=True, tag="offer"):
    """O → N: these connections, their descriptors beside the packet in the same order."""

    batch: int
    parcels: tuple[Parcel, ...]


class Held(Struct, frozen=True, tag="held"):
    """N → O: the descriptors of these have arrived; all others of the batch are refused."""

    batch: int
    ids: tuple[str, ...]


class Go(Struct, frozen=True, tag="go"):
    """O → N: these are yours. It cannot be taken back."""

    batch: int
    ids: tuple[str, ...]


class Abort(Struct, frozen=True, tag="abort"):
    """O → N: let go of the batch."""

    batch: int


class Released(Struct, frozen=True, tag="released"):
    """N → O: the batch is let go of."""

    batch: int


class Prepare(Struct, frozen=True, tag="prepare"):
    """O → N: rooms whose members will come, so that N follows them before the first arrives; `last` ends them.

    Inboxes are not among them: each has one member or two, and is followed when that arrives.
    """

    version: int
    rooms: tuple[str, ...]
    last: bool


class Prepared(Struct, frozen=True, tag="prepared"):
    """N → O: the rooms are followed; so many descriptors are free."""

    version: int
    credit: int


class Finished(Struct, frozen=True, tag="finished"):
    """O → N: nothing more will come."""


FromGiver = Prepare | Offer | Go | Abort | Finished
FromTaker = Prepared | Held | Released

encode = msgspec.msgpack.Encoder().encode
decode_from_giver = msgspec.msgpack.Decoder(FromGiver).decode
decode_from_taker = msgspec.msgpack.Decoder(FromTaker).decode
