"""Owns the names of the store's keys and channels, and the two hashes behind idempotency."""

from __future__ import annotations

import hashlib


def tag(name: str, room: str) -> str:
    """The common beginning of a room's keys; the braces keep them in one slot of a cluster. Also its channel."""
    return f"{name}:{{{room}}}"


def keys_of(base: str) -> list[str]:
    """The two hashes that remember a room's idempotency keys."""
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
