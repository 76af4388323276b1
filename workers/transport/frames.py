"""Outgoing frames: a message becomes bytes once, and the same bytes go to every reader of its class.

There are two classes of readers: plain ones, and those that negotiated permessage-deflate without context takeover
(RFC 7692), for whom a compressed frame depends only on the message. Servers do not mask (RFC 6455, 5.1), so a frame is
a header of 2, 4 or 10 bytes and the payload. A test compares every function with what `websockets` serializes.
"""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Final

from websockets.frames import Close

COMPRESS_FROM: Final = 512  # bytes; below, compression saves less than a packet's own overhead
MAX_REASON: Final = 123  # bytes: a control frame carries at most 125, and the code takes 2 (RFC 6455, 5.5)

_FIN: Final = 0x80
_RSV1: Final = 0x40  # "this message is compressed" (RFC 7692, 6)
_TEXT: Final = 0x01
_BINARY: Final = 0x02
_CLOSE: Final = 0x08
_PING: Final = 0x09

_pack_medium = Struct("!BBH").pack
_pack_long = Struct("!BBQ").pack

_SHORT_TEXT: Final = tuple(bytes((_FIN | _TEXT, size)) for size in range(126))


def _frame(head: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((head, size)) + payload
    if size < 65536:
        return _pack_medium(head, 126, size) + payload
    return _pack_long(head, 127, size) + payload


def text_frame(payload: bytes) -> bytes:
    """A whole text message; `payload` is UTF-8."""
    size = len(payload)
    if size < 126:
        return _SHORT_TEXT[size] + payload
    if size < 65536:
        return _pack_medium(0x81, 126, size) + payload
    return _pack_long(0x81, 127, size) + payload


def binary_frame(payload: bytes) -> bytes:
    """A whole binary message."""
    return _frame(_FIN | _BINARY, payload)


def ping_frame(payload: bytes = b"") -> bytes:
    """A ping of at most 125 bytes."""
    return _frame(_FIN | _PING, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """A Close frame; a reason that is too long is truncated between two characters.

    Raises websockets.exceptions.ProtocolError for a code that must not be sent (RFC 6455, 7.4).
    """
    fitting = reason.encode()[:MAX_REASON].decode(errors="ignore")
    return _frame(_FIN | _CLOSE, Close(code, fitting).serialize())


def compressed_text_frame(payload: bytes, threshold: int = COMPRESS_FROM) -> bytes:
    """A whole text message for readers with permessage-deflate; plain where compression does not make it smaller."""
    return _compressed_frame(_TEXT, payload, threshold)


def compressed_binary_frame(payload: bytes, threshold: int = COMPRESS_FROM) -> bytes:
    """A whole binary message for readers with permessage-deflate; plain where compression does not make it smaller."""
    return _compressed_frame(_BINARY, payload, threshold)


def _compressed_frame(opcode: int, payload: bytes, threshold: int) -> bytes:
    if len(payload) >= threshold:
        squeezed = deflate(payload)
        if len(squeezed) < len(payload):
            return _frame(_FIN | _RSV1 | opcode, squeezed)
    return _frame(_FIN | opcode, payload)


def deflate(payload: bytes) -> bytes:
    """Compress one message by itself, without the final empty block (RFC 7692, 7.2.1).

    A window larger than the message finds no more matches but has to be cleared, which is most of the work for a short
    message. A sender may use any window up to the 15 bits that were agreed on.
    """
    window = min(15, max(9, len(payload).bit_length()))
    encoder = zlib.compressobj(wbits=-window, memLevel=min(8, window - 6))
    return (encoder.compress(payload) + encoder.flush(zlib.Z_SYNC_FLUSH))[:-4]
