"""HandshakeCache: agreements by header block, since clients of one kind send the same block but for the key.

Connections with the same agreement share one object, those that come from another process, too.

When a worker is replaced or a network returns, thousands of clients of the same page connect within seconds. Judging
a header block costs 30 µs, and only the answer to the key differs from one to the next. An agreement depends on nothing
but the block without its key, so the cache uses that as its key. Blocks with secrets or with a query are not cached.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from hashlib import sha1
from typing import Final

from workers.transport.negotiation import Agreed
from workers.transport.snapshot import HandshakeResult

_KEY_SIZE: Final = 24  # characters: 16 bytes in base64

MOST: Final = 256  # blocks, of at most `header_size` bytes each

_HEADER: Final = b"\r\nSec-WebSocket-Key: "
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_key = re.compile(rb"[A-Za-z0-9+/]{22}==\r\n")
_private = re.compile(rb"\r\n(?:cookie|authorization|proxy-authorization)[ \t]*:|\A[^\r]*\?", re.IGNORECASE)


class HandshakeCache:
    """Agreements with earlier clients."""

    __slots__ = ("_equals", "_kinds")

    def __init__(self) -> None:
        self._kinds: dict[bytes, tuple[bytes, bytes, Agreed]] = {}
        self._equals: dict[HandshakeResult, HandshakeResult] = {}

    def get(self, block: bytes) -> Agreed | None:
        """The agreement for `block`, if an earlier client sent the same block with another key; else None."""
        key, rest = _without_key(block)
        known = self._kinds.get(rest)
        if known is None:
            return None
        head, tail, agreed = known
        return Agreed(head + _accepted(key) + tail, agreed.handshake, agreed.claims)

    def put(self, block: bytes, agreed: Agreed) -> None:
        """Cache the agreement that was reached on `block`."""
        key, rest = _without_key(block)
        if not key or _private.search(block):
            return
        if len(self._kinds) >= MOST:
            self._kinds.clear()  # simpler than an LRU, and as good against a client that varies its block
        head, _, tail = agreed.response.partition(_accepted(key))
        self._kinds[rest] = head, tail, agreed

    def one_of_equals(self, handshake: HandshakeResult) -> HandshakeResult:
        """The object that equal handshakes share, of connections that come from another process."""
        if handshake.query or handshake.kept:  # they differ from one to the next
            return handshake
        if len(self._equals) >= MOST:
            self._equals.clear()
        return self._equals.setdefault(handshake, handshake)


def _without_key(block: bytes) -> tuple[bytes, bytes]:
    """The key, and the rest of the block; both are empty where there is no key."""
    begin = block.find(_HEADER) + len(_HEADER)
    end = begin + _KEY_SIZE
    if begin < len(_HEADER) or _key.match(block, begin) is None:
        return b"", b""
    return block[begin:end], block[:begin] + block[end:]


def _accepted(key: bytes) -> bytes:
    """The answer to a key: what `websockets` computes, as bytes."""
    return b2a_base64(sha1(key + _GUID, usedforsecurity=False).digest(), newline=False)
