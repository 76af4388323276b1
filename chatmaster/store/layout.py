"""The layout of the store: which shard a room belongs to, and the one place where names of keys and channels are built.

Every room, inbox and internal room belongs to one of `SHARDS` shards, by a stable hash of its name. The number of the
shard is the hash tag of all its keys and channels, ``chat:{17}:lobby/meta`` and ``chat@0:{17}:lobby``, so that a script
finds all keys of a room in one slot of a Redis Cluster. A single store has the same names. Pure.

No room's name contains ``/``, so no two rooms share a key. The name of a channel contains the number of the database,
since pub/sub ignores it: a subscriber hears all databases of a store.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Sequence
from typing import Final

SHARDS: Final = 256
SLOTS: Final = 16384  # of a Redis Cluster


def shard_of(room: str) -> int:
    """The shard of a room."""
    return zlib.crc32(room.encode()) % SHARDS


def slot_of(shard: int) -> int:
    """The slot of a Redis Cluster that the hash tag of a shard falls into: CRC16, XMODEM."""
    return binascii.crc_hqx(str(shard).encode(), 0) % SLOTS


def key(name: str, room: str, kind: str) -> str:
    """The key of one kind of a room's records, for the instance `name`."""
    return f"{name}:{{{shard_of(room)}}}:{room}/{kind}"


def keys(name: str, room: str, *kinds: str) -> list[str]:
    """The keys of several kinds of a room's records."""
    return keys_in(name, shard_of(room), room, *kinds)


def key_of_each(name: str, rooms: Sequence[str], kind: str) -> list[str]:
    """As `key`, of each of many rooms."""
    return [f"{name}:{{{shard_of(room)}}}:{room}/{kind}" for room in rooms]


def keys_of_all(name: str, rooms: Sequence[str], *kinds: str) -> list[str]:
    """As `keys`, of many rooms one after another."""
    found: list[str] = []
    for room in rooms:
        base = f"{name}:{{{shard_of(room)}}}:{room}/"
        for kind in kinds:
            found.append(base + kind)
    return found


def keys_in(name: str, shard: int, room: str, *kinds: str) -> list[str]:
    """As `keys`, in a shard that is not the room's own: for what exists once in each shard."""
    base = f"{name}:{{{shard}}}:{room}/"
    return [base + kind for kind in kinds]


def channel(name: str, database: int, room: str) -> str:
    """The channel of a room."""
    return channel_in(name, database, shard_of(room), room)


def channel_in(name: str, database: int, shard: int, room: str) -> str:
    """As `channel`, in a shard that is not the room's own."""
    return f"{name}@{database}:{{{shard}}}:{room}"


def shard_of_name(name: str) -> int:
    """The shard in the name of a key or a channel that was built here."""
    begin = name.index("{") + 1
    return int(name[begin : name.index("}", begin)])
