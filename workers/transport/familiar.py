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

MOST: Final = 256  # kinds; a kind takes at most `header_size` bytes

_key = re.compile(rb"\r\nSec-WebSocket-Key: ([A-Za-z0-9+/]{22}==)\r\n")
_private = re.compile(rb"\r\n(?:cookie|authorization|proxy-authorization)[ \t]*:|\A[^\r]*\?", re.IGNORECASE)


class Familiar:
    """The agreements with kinds of clients that have come before."""

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        self._kinds: dict[bytes, tuple[bytes, bytes, Agreed]] = {}

    def recall(self, block: bytes) -> Agreed | None:
        """The agreement with a client that sent the same block with some key, for the key in this one."""
        match = _key.search(block)
        if match is None:
            return None
        known = self._kinds.get(block[: match.start(1)] + block[match.end(1) :])
        if known is None:
            return None
        head, tail, agreed = known
        return agreed._replace(response=head + accept_key(match[1].decode()).encode() + tail)

    def remember(self, block: bytes, agreed: Agreed) -> None:
        """Keep an agreement that was reached on this block."""
        match = _key.search(block)
        if match is None or _private.search(block):
            return
        if len(self._kinds) >= MOST:
            self._kinds.clear()  # simpler than an order of use, and as good against a client that varies its block
        accept = accept_key(match[1].decode()).encode()
        head, _, tail = agreed.response.partition(accept)
        self._kinds[block[: match.start(1)] + block[match.end(1) :]] = head, tail, agreed
