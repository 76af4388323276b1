"""Incoming frames: where a frame ends, and the parser that judges every frame which is not an everyday one.

Theory of operation. A `ServerProtocol` of `websockets` knows everything about frames, but one for each
connection costs 3.5 KiB and 3 µs a message. Between whole frames, outside a fragmented message and before
the closing handshake, all of them are in the same state. So connections cut their bytes into whole frames
(`find_frame`) and share one parser, which sees one whole frame at a time. When a frame takes the parser out
of that neutral state, it belongs to the connection that did it, and the next borrower gets a new one.

A message of several frames is collected here, without the parser: many clients cut what is longer than their buffer,
and a parser for each such message would be most of its cost. Where it is compressed, the parser sees it as the one
frame that it might have been, since its frames are compressed together (RFC 7692, 7.2.2).
"""

from __future__ import annotations

import logging
import sys
from typing import Final

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the C extension
    from websockets.utils import apply_mask

__all__ = ["FIN", "PARTIAL", "REFUSED", "RESERVED", "RSV1", "Fragments", "Parsers", "apply_mask", "find_frame"]

PARTIAL: Final = (0, sys.maxsize)  # the frame ends after what has come
REFUSED: Final = (0, 0)  # the header alone is a reason to fail the connection: let the parser say which
WINDOW_BITS: Final = 15
FIN: Final = 0x80
RSV1: Final = 0x40  # "this message is compressed" (RFC 7692, 6)
RESERVED: Final = 0x70
MASKED: Final = 0x80

# The library logs whole frames at DEBUG: people's messages do not belong into a log.
_quiet = logging.getLogger("workers.transport.parser")
_quiet.setLevel(logging.WARNING)


def find_frame(data: bytes | bytearray, pos: int, limit: int) -> tuple[int, int]:
    """Where the payload of the frame that begins at `pos` starts and ends; the end may lie beyond `data`.

    `PARTIAL` while the header is not complete. `REFUSED` if the client did not mask the frame or announces
    more than `limit` bytes: then nobody waits for the rest.
    """
    size = len(data)
    if size < pos + 2:
        return PARTIAL
    length = data[pos + 1] - 128
    start = pos + 6
    if length < 0:
        return REFUSED
    if length > 125:
        header = 4 if length == 126 else 10
        if size < pos + header:
            return PARTIAL
        length = int.from_bytes(data[pos + 2 : pos + header], "big")
        start = pos + header + 4
    if length > limit:
        return REFUSED
    return start, start + length


class Parsers:
    """The shared parsers of a worker: one for plain connections, one for those with permessage-deflate."""

    __slots__ = ("_deflate", "_plain", "max_size")

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._plain = self._make(deflate=False)
        self._deflate = self._make(deflate=True)

    def _make(self, *, deflate: bool) -> ServerProtocol:
        parser = ServerProtocol(state=OPEN, max_size=self.max_size, logger=_quiet)
        if deflate:
            parser.extensions = [PerMessageDeflate(True, True, WINDOW_BITS, WINDOW_BITS)]
        return parser

    def borrow(self, *, deflate: bool) -> ServerProtocol:
        """The shared parser, in its neutral state. Whoever takes it out of that state calls `keep`."""
        return self._deflate if deflate else self._plain

    def keep(self, parser: ServerProtocol) -> None:
        """`parser` belongs to one connection now, or is of no more use."""
        if parser is self._plain:
            self._plain = self._make(deflate=False)
        elif parser is self._deflate:
            self._deflate = self._make(deflate=True)

    def drop(self, parser: ServerProtocol) -> None:
        """A connection needs `parser` no more; a shared one stays.

        It and its own generator hold each other, and a failure holds both: left to the collector, which looks rarely,
        they would be more than all that is alive.
        """
        if parser is not self._plain and parser is not self._deflate:
            parser.parser.close()
            parser.parser_exc = None


class Fragments:
    """A message of several frames that has begun: the first byte that it would have as one frame, and what has come."""

    __slots__ = ("data", "head")

    def __init__(self, head: int, data: bytes) -> None:
        self.head = head | FIN
        self.data = bytearray(data)

    @property
    def compressed(self) -> bool:
        """Whether permessage-deflate made it."""
        return bool(self.head & RSV1)

    def as_one_frame(self) -> bytes:
        """The same message as a client sends it in one frame, with a mask of zeros."""
        return bytes((self.head, MASKED | 127)) + len(self.data).to_bytes(8, "big") + bytes(4) + self.data
