"""The names of the store's keys and channels, and the two hashes behind idempotency.

Channel names contain the number of the database, since pub/sub ignores it: a subscriber hears all databases of a store.

A room has its own channel, except for inboxes: a subscription for each connected user would cost more than the rest of
a connect. Inboxes share a few channels, which each worker always follows, and a publication there names its room.
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
    """The channel of a room's messages and notes."""
    if shares_channel(room):
        return _inbox_channel(name, database, zlib.crc32(room.encode()) % INBOX_CHANNELS)
    return _channel(name, database, room)


def shared_channels(name: str, database: int) -> list[str]:
    """All channels that inboxes share."""
    return [_inbox_channel(name, database, number) for number in range(INBOX_CHANNELS)]


def probe(name: str) -> list[str]:
    """The keys that the script of the health probe writes."""
    return [f"{tag(name, PROBE)}:{kind}" for kind in ("stamp", "log", "map")]


def probe_channel(name: str, database: int, worker: str) -> str:
    """The channel on which a worker receives its own probes."""
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
    """The field under which an idempotency key is remembered.

    The parts are length-prefixed before they are hashed, so that no two triples share a field.
    """
    parts = (user.encode(), room.encode(), key.encode())
    whole = b"".join(b"%d:%b" % (len(part), part) for part in parts)
    return hashlib.blake2b(whole, digest_size=16).digest()


def digest(content: bytes) -> bytes:
    """The digest of the content, which a retry must repeat to count as a retry."""
    return hashlib.blake2b(content, digest_size=12).digest()
