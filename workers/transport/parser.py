"""Incoming frames: where a frame ends, and the shared parser for every frame that is not a plain text message.

Theory of operation. A `ServerProtocol` of `websockets` implements all of the frame format, but one per connection costs
3.5 KiB and 3 µs a message. Between whole frames, outside a fragmented message and before the closing handshake, all
parsers are in the same neutral state. So connections split their bytes into whole frames (`find_frame`) and share one
parser, which gets one whole frame at a time. A frame that takes the parser out of the neutral state makes the parser
that connection's own, and the next borrower gets a new one.

Messages of several frames are collected without the parser: many clients fragment what is longer than their buffer,
and a parser for each such message would be most of its cost. A compressed message is given to the parser as one frame,
since its fragments are compressed together (RFC 7692, 7.2.2).
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

__all__ = [
    "FIN", "PARTIAL", "PLAIN_TEXT", "REFUSED", "RESERVED", "RSV1", "Fragments", "Parsers", "apply_mask", "find_frame",
    "whole_text",
]  # fmt: skip

PARTIAL: Final = (0, sys.maxsize)  # the frame is not complete
REFUSED: Final = (0, 0)  # the header alone fails the connection: the parser says why
WINDOW_BITS: Final = 15
FIN: Final = 0x80
RSV1: Final = 0x40  # "this message is compressed" (RFC 7692, 6)
RESERVED: Final = 0x70
MASKED: Final = 0x80
PLAIN_TEXT: Final = 0x81  # FIN, no reserved bit, opcode text: nearly every frame

# The library logs whole frames at DEBUG; users' messages must not appear in a log.
_quiet = logging.getLogger("workers.transport.parser")
_quiet.setLevel(logging.WARNING)


def find_frame(data: bytes | bytearray, pos: int, limit: int) -> tuple[int, int]:
    """Where the payload of the frame that begins at `pos` starts and ends; the end may lie beyond `data`.

    `PARTIAL` while the header is not complete. `REFUSED` if the client did not mask the frame or announces more than
    `limit` bytes: the rest of such a frame is not awaited.
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


def whole_text(data: bytes, limit: int) -> bytes | None:
    """The payload of a plain text frame of at most `limit` bytes where `data` is one such frame and nothing else.

    Nearly every read brings just that. None: something else, or a frame of 64 KiB and more; see `find_frame`.
    """
    size = len(data)
    if size < 8 or data[0] != PLAIN_TEXT:
        return None
    length, start = data[1] - 128, 6
    if length == 126:
        length, start = data[2] << 8 | data[3], 8
    elif length > 126:
        return None
    if start + length != size or length > limit:
        return None
    return apply_mask(data[start:], data[start - 4 : start])


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
        """The shared parser, in its neutral state. A caller that takes it out of that state calls `detach`."""
        return self._deflate if deflate else self._plain

    def detach(self, parser: ServerProtocol) -> None:
        """Replace the shared parser: `parser` now belongs to one connection, or is used up."""
        if parser is self._plain:
            self._plain = self._make(deflate=False)
        elif parser is self._deflate:
            self._deflate = self._make(deflate=True)

    def drop(self, parser: ServerProtocol) -> None:
        """Free a parser that a connection no longer needs; a shared parser stays.

        A parser and its generator refer to each other, and a failure refers to both. Left to the garbage collector,
        which runs rarely, they would use more memory than everything alive.
        """
        if parser is not self._plain and parser is not self._deflate:
            parser.parser.close()
            parser.parser_exc = None


class Fragments:
    """A fragmented message: the first byte that it would have as one frame, and the payload so far."""

    __slots__ = ("data", "head")

    def __init__(self, head: int, data: bytes) -> None:
        self.head = head | FIN
        self.data = bytearray(data)

    @property
    def compressed(self) -> bool:
        """Whether the message is compressed by permessage-deflate."""
        return bool(self.head & RSV1)

    def as_one_frame(self) -> bytes:
        """The same message as a client sends it in one frame, with a mask of zeros."""
        return bytes((self.head, MASKED | 127)) + len(self.data).to_bytes(8, "big") + bytes(4) + self.data
