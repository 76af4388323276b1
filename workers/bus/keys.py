"""Owns the names of the store's keys and channels, and the two hashes behind idempotency.

Channels carry the number of the database, since pub/sub knows none: whoever subscribes hears all databases of a store.

A room has a channel of its own, but for inboxes: a subscription for each connected user would cost more than all the
rest of a connect. They share a few channels that each worker follows for good, and a publication there names its room.
"""

from __future__ import annotations

import hashlib
import zlib

from workers.addressing import INBOX_CHANNEL, PROBE, is_inbox

INBOX_CHANNELS = 256


def tag(name: str, room: str) -> str:
    """The common beginning of a room's keys; the braces keep them in one slot of a cluster."""
    return f"{name}:{{{room}}}"


def of_log(name: str, room: str) -> tuple[str, str, str, str]:
    """The keys of a room's log: meta, messages, overlay, changes."""
    base = tag(name, room)
    return f"{base}:meta", f"{base}:log", f"{base}:overlay", f"{base}:changes"


shares_channel = is_inbox  # whether a room's channel carries other rooms too


def channel(name: str, database: int, room: str) -> str:
    """Where a room's messages and notes are published."""
    if shares_channel(room):
        return _inbox_channel(name, database, zlib.crc32(room.encode()) % INBOX_CHANNELS)
    return _channel(name, database, room)


def shared_channels(name: str, database: int) -> list[str]:
    """All channels that inboxes share."""
    return [_inbox_channel(name, database, number) for number in range(INBOX_CHANNELS)]


def probe(name: str) -> list[str]:
    """What a sign of life writes."""
    return [f"{tag(name, PROBE)}:{kind}" for kind in ("stamp", "log", "map")]


def probe_channel(name: str, database: int, worker: str) -> str:
    """Where a worker hears its own signs of life."""
    return _channel(name, database, f"{PROBE}-{worker}")


def _inbox_channel(name: str, database: int, number: int) -> str:
    return _channel(name, database, f"{INBOX_CHANNEL}{number:02x}")


def _channel(name: str, database: int, room: str) -> str:
    return f"{name}@{database}:{{{room}}}"


def keys_of(name: str, room: str) -> list[str]:
    """The two hashes that remember a room's idempotency keys."""
    base = tag(name, room)
    return [f"{base}:keys:0", f"{base}:keys:1"]


def key_field(*, user: str, room: str, key: str) -> bytes:
    """What an idempotency key is remembered as.

    The parts are length-prefixed before they are hashed, so that no two triples share one.
    """
    parts = (user.encode(), room.encode(), key.encode())
    whole = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return hashlib.blake2b(whole, digest_size=16).digest()


def digest(content: bytes) -> bytes:
    """What a retry must repeat to count as one."""
    return hashlib.blake2b(content, digest_size=12).digest()
