"""The keys and channels of a room's log, and the two hashes behind idempotency, by the layout of the store.

A room has its own channel, except for inboxes: a subscription for each connected user would cost more than the rest of
a connect. The inboxes of a shard share a channel, which each worker always follows, and a publication there names its
room.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from chatmaster.store import layout
from chatmaster.store.layout import SHARDS, shard_of
from workers.addressing import INBOX_CHANNEL, PROBE, is_inbox


def of_log(name: str, room: str) -> tuple[str, str, str, str]:
    """The keys of a room's log: meta, messages, overlay, changes."""
    meta, log, overlay, changes = layout.keys(name, room, "meta", "log", "overlay", "changes")
    return meta, log, overlay, changes


def of_logs(name: str, rooms: Sequence[str]) -> list[str]:
    """The keys of many rooms' logs, as of one, in the order of the rooms."""
    return layout.keys_of_all(name, rooms, "meta", "log", "overlay", "changes")


shares_channel = is_inbox  # whether a room's channel carries other rooms too


def channel(name: str, database: int, room: str) -> str:
    """The channel of a room's messages and notes."""
    if shares_channel(room):
        return layout.channel_in(name, database, shard_of(room), INBOX_CHANNEL)
    return layout.channel(name, database, room)


def shared_channels(name: str, database: int) -> list[str]:
    """All channels that inboxes share, by shard."""
    return [layout.channel_in(name, database, shard, INBOX_CHANNEL) for shard in range(SHARDS)]


def probe(name: str) -> list[str]:
    """The keys that the script of the health probe writes."""
    return layout.keys(name, PROBE, "stamp", "log", "map")


def probe_channel(name: str, database: int, worker: str) -> str:
    """The channel on which a worker receives its own probes."""
    return layout.channel_in(name, database, shard_of(PROBE), f"{PROBE}-{worker}")


def keys_of(name: str, room: str) -> list[str]:
    """The two hashes that remember a room's idempotency keys."""
    return layout.keys(name, room, "keys:0", "keys:1")


def senders_of(name: str, room: str) -> list[str]:
    """The stream of who wrote which message, of an inbox alone; see inbox.lua."""
    return layout.keys(name, room, "senders") if is_inbox(room) else []


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
