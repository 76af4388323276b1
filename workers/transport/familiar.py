"""Handshakes seen before: clients of one kind send the same header block, all but the key.

When a worker is replaced or a network comes back, thousands of the same page connect within seconds. Judging
such a block costs 30 µs, of which only the answer to the key is new each time. So agreements are kept by the
block without its key, which is all that they depend on. Blocks with secrets or with a query are not kept.
"""

from __future__ import annotations

import re
from typing import Final

from websockets.utils import accept_key

from workers.transport.upgrade import Agreed

_KEY_SIZE: Final = 24  # characters: 16 bytes in base64

MOST: Final = 256  # kinds; a kind takes at most `header_size` bytes

_HEADER: Final = b"\r\nSec-WebSocket-Key: "
_key = re.compile(rb"[A-Za-z0-9+/]{22}==\r\n")
_private = re.compile(rb"\r\n(?:cookie|authorization|proxy-authorization)[ \t]*:|\A[^\r]*\?", re.IGNORECASE)


class Familiar:
    """The agreements with kinds of clients that have come before."""

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        self._kinds: dict[bytes, tuple[bytes, bytes, Agreed]] = {}

    def recall(self, block: bytes) -> Agreed | None:
        """The agreement with a client that sent the same block with some key, for the key in this one."""
        found = _without_key(block)
        known = self._kinds.get(found[1]) if found is not None else None
        if found is None or known is None:
            return None
        head, tail, agreed = known
        response = head + accept_key(found[0]).encode() + tail
        return Agreed(response, agreed.opening, agreed.forwarded, agreed.x_forwarded_for)

    def remember(self, block: bytes, agreed: Agreed) -> None:
        """Keep an agreement that was reached on this block."""
        found = _without_key(block)
        if found is None or _private.search(block):
            return
        if len(self._kinds) >= MOST:
            self._kinds.clear()  # simpler than an order of use, and as good against a client that varies its block
        head, _, tail = agreed.response.partition(accept_key(found[0]).encode())
        self._kinds[found[1]] = head, tail, agreed


def _without_key(block: bytes) -> tuple[str, bytes] | None:
    """The key, and the rest of the block."""
    begin = block.find(_HEADER) + len(_HEADER)
    end = begin + _KEY_SIZE
    if begin < len(_HEADER) or _key.match(block, begin) is None:
        return None
    return block[begin:end].decode(), block[:begin] + block[end:]
