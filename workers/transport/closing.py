"""The life of a WebSocket connection: what is written to it, and how it ends.

    OPEN ──close()──► CLOSING ──peer's Close──► DRAINING ──peer's FIN or time──► GONE
      └──peer's Close, or its protocol error───────┘

CLOSING: the server's Close is written, and the server waits for the peer's. DRAINING: both were sent, or the connection
failed; the server has shut its side and discards what still arrives, because closing a socket with unread data resets
the connection and the peer would never read the reason. The endpoint's keepalive aborts connections in either state
after `close_timeout`.

The owner is notified once, as soon as it can no longer use the connection, however long the peer takes afterwards.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import struct
import sys
import termios
from typing import Final

from workers.close_codes import CloseCode
from workers.ip_addresses import of_peer
from workers.transport import frames
from workers.transport.ports import ConnectionOwner
from workers.transport.shared import EndpointShared

log = logging.getLogger(__name__)

OPEN: Final = 0
CLOSING: Final = 1
DRAINING: Final = 2
GONE: Final = 3
FROZEN: Final = 4  # offered to another process: this process neither reads nor writes

_INT: Final = struct.Struct("i")


class PendingOutput:
    """What the application did with a frozen connection; whichever process gets the connection does it then."""

    __slots__ = ("close", "frames")

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.close: tuple[int, str] | None = None


class ClosingProtocol(asyncio.Protocol):
    """The writing half of a connection, and its end; `WebSocket` adds reading."""

    __slots__ = (
        "_client",
        "_pauses",
        "_pending",
        "bytes_out",
        "oversized",
        "owner",
        "shared",
        "state",
        "transport",
        "writing_paused",
    )

    owner: ConnectionOwner
    transport: asyncio.Transport

    def __init__(self, shared: EndpointShared, remote: tuple[str, int] | None) -> None:
        self.shared = shared
        self.state = OPEN
        self.writing_paused = False
        self.oversized = 0  # bytes of messages larger than the queue that were written and are not all sent
        self.bytes_out = 0  # by `write_frame`; the rooms count what they write
        # Address and port, or the address of the socket's peer; None until that is asked for.
        self._client: tuple[str, int] | str | None = None
        if remote is not None:
            self._client = sys.intern(remote[0]), remote[1]
        self._pauses = 0  # bits of those who paused reading: see `WebSocket`
        self._pending: PendingOutput | None = None

    @property
    def remote(self) -> tuple[str, int]:
        """Address and port of the client, as trusted proxies report it; `("", 0)` behind a unix socket."""
        client = self._client
        if isinstance(client, tuple):
            return client
        host, port = of_peer(self.transport.get_extra_info("peername"))
        return (host or client or "", port)

    @property
    def address(self) -> str:
        """The client's address without the port, interned: all connections from one address share one string."""
        client = self._client
        if client is None:
            client = self._client = sys.intern(self.remote[0])
        return client if isinstance(client, str) else client[0]

    def set_address(self, address: str) -> None:
        """Set `address` where the caller has already asked the socket."""
        self._client = sys.intern(address)

    @property
    def encrypted(self) -> bool:
        """Whether TLS ends in this process, so that the descriptor alone is of no use elsewhere."""
        return self.shared.encrypted

    @property
    def buffered(self) -> int:
        """Bytes that wait in this process for the reader."""
        return self.transport.get_write_buffer_size()

    @property
    def unsent(self) -> int:
        """Bytes that the reader's machine has not taken yet, in this process and in the kernel's buffer."""
        try:
            descriptor = self.transport.get_extra_info("socket").fileno()
            in_kernel = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(_INT.size))
        except (OSError, ValueError):  # the socket is closed, and `connection_lost` follows
            return self.buffered
        return self.buffered + int(_INT.unpack(in_kernel)[0])

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self.state == OPEN

    # ---- writing -----------------------------------------------------------------------------------

    def write_frame(self, frame: bytes) -> None:
        """Write one or more whole frames. On a frozen connection they wait, on one that is ending they are dropped.

        A reader that takes nothing is dropped at `EndpointConfig.most_waiting`: the application was told at the queue
        size (`ConnectionOwner.on_write_paused`), and what the transport itself writes, such as pongs, needs a limit,
        too. Messages that are larger than the queue by themselves come on top of that, see `WebSocket.send`.
        """
        if self.state != OPEN:
            if self.state == FROZEN:
                self._ensure_pending().frames.append(frame)
            return
        self.bytes_out += len(frame)
        self.shared.counts.bytes_out += len(frame)
        if self.shared.answers.waiting:
            frame = self.shared.answers.take(self.transport) + frame
        self._write(frame)

    def write_answer(self, frame: bytes) -> None:
        """Write one or more whole frames as `write_frame` does, in the loop's next turn at the latest."""
        if self.state != OPEN:
            self.write_frame(frame)
            return
        size, shared = len(frame), self.shared
        self.bytes_out += size
        shared.counts.bytes_out += size
        shared.answers.add(self, self.transport, frame)

    def write_answers(self) -> None:
        """Write now the answers that wait."""
        answers = self.shared.answers.take(self.transport)
        if answers and self.state == OPEN:
            self._write(answers)

    def _write(self, data: bytes) -> None:
        self.transport.write(data)
        if self.writing_paused and self.buffered > self.shared.config.most_waiting + self.oversized:
            self.abort(CloseCode.TOO_SLOW, "reads too slowly")

    def pause_writing(self) -> None:
        """The write buffer is above its high-water mark."""
        self.writing_paused = True
        self._notify_flow("paused")

    def resume_writing(self) -> None:
        """The write buffer is below its low-water mark."""
        self.writing_paused = False
        self.oversized = 0
        self._notify_flow("resumed")

    def _notify_flow(self, what: str) -> None:
        owner = getattr(self, "owner", None)
        if self.state != OPEN or owner is None:
            return
        try:
            owner.on_write_paused() if what == "paused" else owner.on_write_resumed()
        except BaseException:  # application code may raise anything
            self.close_on_exception(f"'{what}'")

    # ---- ending ------------------------------------------------------------------------------------

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Start the closing handshake. `ConnectionOwner.on_close` follows in the next turn of the loop with this code.

        Raises websockets.exceptions.ProtocolError for a code that must not be sent.
        """
        if self.state == OPEN:
            frame = frames.close_frame(code, reason)
            self.write_answers()
            self.state = CLOSING
            self.transport.write(frame)
            self._forget_input()
            self.transport.resume_reading()
            self.shared.on_closing(self)
            self.shared.loop.call_soon(self._notify_close, code, reason)
        elif self.state == FROZEN:
            self._ensure_pending().close = (code, reason)

    def _ensure_pending(self) -> PendingOutput:
        if self._pending is None:
            self._pending = PendingOutput()
        return self._pending

    def abort(self, code: int = CloseCode.ABNORMAL, reason: str = "") -> None:
        """Drop the connection and what waits to be written; `ConnectionOwner.on_close` follows in the next turn."""
        if self.state == OPEN:
            self.shared.loop.call_soon(self._notify_close, code, reason)
        self._drop()

    def evict(self) -> None:
        """Drop a newcomer because others need its place."""
        self.abort(CloseCode.TOO_MANY, "too many connections from this address")

    def refuse(self, code: int, reason: str) -> None:
        """Count a protocol error of the peer and close."""
        self.shared.counts.protocol_errors += 1
        self.fail(code, reason)

    def close_on_exception(self, doing: str) -> None:
        """Log and count the exception that is being handled, and close with 1011. For use in an `except` block."""
        self.shared.counts.callback_errors += 1
        log.exception("a callback failed on %s of %s", doing, self.address or "a unix socket")
        self.fail(CloseCode.INTERNAL_ERROR, "internal error")

    def fail(self, code: int, reason: str) -> None:
        """Close without waiting for the peer's Close (RFC 6455, 7.1.7)."""
        if self.state == OPEN:
            self.write_answers()
            self.transport.write(frames.close_frame(code, reason))
            self._begin_draining()
            self._notify_close(code, reason)

    def _begin_draining(self) -> None:
        self.state = DRAINING
        self._forget_input()
        self.shared.on_closing(self)
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _drop(self) -> None:
        self.state = GONE
        self._forget_input()
        self.transport.abort()

    def expire(self) -> None:
        """Drop the connection: the closing handshake took too long."""
        if self.state in (CLOSING, DRAINING):
            self._drop()

    def _notify_close(self, code: int, reason: str) -> None:
        """Call the owner's `on_close`, once: the connection drops its owner here."""
        owner = getattr(self, "owner", None)
        if owner is None:
            return
        del self.owner
        try:
            owner.on_close(code, reason)
        except BaseException:  # application code may raise anything
            self.shared.counts.callback_errors += 1
            log.exception("a callback failed on the close of a connection")

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by either side."""
        if self.state != FROZEN:
            self.state = GONE
            self._notify_close(CloseCode.ABNORMAL, "")
        self._forget_input()

    def _forget_input(self) -> None:
        """Release what was read: nothing more is delivered."""
        self._pauses = 0
