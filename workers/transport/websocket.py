"""An open WebSocket connection: incoming bytes become messages, the closing handshake ends, memory stays small.

Thousands of these sit idle, so an idle one holds no parser, no task, no timer and no buffer: what is
shared lives in the `Endpoint`, what is rare is made when it is needed. Outgoing frames are made elsewhere
(`frames.py`) and may be written straight to `transport`, which is what the hub does in its inner loop.

    OPEN ──close()──► CLOSING ──peer's Close──► DRAINING ──peer's FIN or time──► gone
      └──peer's Close, or its mistake──────────────┘

CLOSING: our Close is written, the peer's is awaited. DRAINING: both are there, or the connection has
failed; our side is shut and what still comes is thrown away, since closing a socket with unread data resets
the connection, and the peer would never see why. The endpoint's sweeper aborts both when their time is up.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, cast

from websockets.frames import BINARY, CLOSE, CONT, PING, PONG, Frame
from websockets.protocol import OPEN as PARSER_OPEN
from websockets.server import ServerProtocol
from websockets.speedups import apply_mask

from workers.transport import frames
from workers.transport.inbound import Fragments, find_frame
from workers.transport.moving import ConnectionState, Detached, encode_state
from workers.transport.opening import Handler, Opening, Owner

if TYPE_CHECKING:
    from workers.transport.endpoint import Endpoint

log = logging.getLogger(__name__)

OPEN: Final = 0
CLOSING: Final = 1
DRAINING: Final = 2
GONE: Final = 3
FROZEN: Final = 4  # offered to another process: neither read nor written here

ABNORMAL: Final = 1006
_PING: Final = frames.ping_frame()
_PLAIN_TEXT: Final = 0x81  # FIN, no reserved bit, opcode text: nearly every frame there is


class WebSocket(asyncio.Protocol):
    """One connection, from the 101 to its end. Made by `Handshake`, or by `Endpoint.attach`."""

    __slots__ = (
        "__weakref__",
        "_fragments",
        "_reading_paused",
        "_remote",
        "_tail",
        "bucket",
        "bytes_in",
        "bytes_out",
        "endpoint",
        "frames_in",
        "heard",
        "opened_at",
        "opening",
        "owner",
        "state",
        "transport",
        "writing_paused",
    )

    owner: Owner
    transport: asyncio.Transport
    bucket: set[WebSocket]  # of the sweeper

    def __init__(self, endpoint: Endpoint, opening: Opening, remote: tuple[str, int] | None) -> None:
        self.endpoint = endpoint
        self.opening = opening
        self.state = OPEN
        self.heard = True  # something came since the last ping
        self.writing_paused = False
        self.bytes_in = 0
        self.bytes_out = 0  # by `send` and `write_frame`; what the hub writes, the hub counts
        self.frames_in = 0
        self.opened_at = endpoint.now()
        self._remote = remote
        self._reading_paused = False
        self._tail: bytearray | None = None  # bytes of a frame that is not complete, or not to be read yet
        self._fragments: Fragments | None = None

    # ---- what the application asks ---------------------------------------------------------------

    @property
    def path(self) -> str:
        """The path of the request, without the query."""
        return self.opening.path

    @property
    def query(self) -> str:
        """What followed the `?` of the request, or nothing."""
        return self.opening.query

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self.opening.subprotocol

    @property
    def deflate(self) -> bool:
        """Whether this reader takes compressed frames."""
        return self.opening.deflate

    @property
    def remote(self) -> tuple[str, int]:
        """Address and port of the client, by the word of trusted proxies; `("", 0)` behind a unix socket."""
        if self._remote is None:
            peer = self.transport.get_extra_info("peername")
            self._remote = (peer[0], peer[1]) if isinstance(peer, tuple) else ("", 0)
        return self._remote

    @property
    def buffered(self) -> int:
        """Bytes that wait in this process for the reader."""
        return self.transport.get_write_buffer_size()

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self.state == OPEN

    # ---- what the application does -----------------------------------------------------------------

    def send(self, data: str | bytes) -> None:
        """Send one message: `str` as text, `bytes` as binary; compressed where that was agreed and pays."""
        if isinstance(data, str):
            payload = data.encode()
            make = frames.compressed_text_frame if self.opening.deflate else frames.text_frame
        else:
            payload = data
            make = frames.compressed_binary_frame if self.opening.deflate else frames.binary_frame
        self.write_frame(make(payload))

    def write_frame(self, frame: bytes) -> None:
        """Write one or more whole frames; nothing happens on a connection that is not open.

        A reader that takes nothing is cut at twice the queue size: the application has been told at once the
        size (`Owner.paused_writing`), and what still comes, such as answers to its own pings, needs an end too.
        """
        if self.state != OPEN:
            return
        self.bytes_out += len(frame)
        self.transport.write(frame)
        if self.writing_paused and self.buffered > 2 * self.endpoint.config.queue_size:
            self.abort(4008, "reads too slowly")

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake. `Owner.closed` follows in the next turn of the loop, with this code.

        Raises websockets.exceptions.ProtocolError for a code that must not be sent.
        """
        if self.state == OPEN:
            frame = frames.close_frame(code, reason)
            self.state = CLOSING
            self.transport.write(frame)
            self._forget_input()
            self.transport.resume_reading()
            self.endpoint.closing_began(self)
            self.endpoint.loop.call_soon(self._tell_closed, code, reason)

    def abort(self, code: int = ABNORMAL, reason: str = "") -> None:
        """Drop the connection and what waits to be written; `Owner.closed` follows in the next turn."""
        if self.state == OPEN:
            self.endpoint.loop.call_soon(self._tell_closed, code, reason)
        self._drop()

    def pause_reading(self) -> None:
        """Deliver no more messages, not even those that have come already; the peer feels it through TCP."""
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading`. What has come meanwhile is delivered in the next turn of the loop."""
        if self._reading_paused:
            self._reading_paused = False
            self.endpoint.loop.call_soon(self._read_on)

    @property
    def reading_paused(self) -> bool:
        """Whether `pause_reading` is in force."""
        return self._reading_paused

    def _read_on(self) -> None:
        if self.state != OPEN or self._reading_paused:
            return
        if self._tail is not None:
            data, self._tail = self._tail, None
            self._receive(data)
        if self.state == OPEN and not self._reading_paused:
            self.transport.resume_reading()

    def begin(self, handler: Handler) -> None:
        """Introduce the new connection to the application."""
        try:
            self.owner = handler.opened(self)
        except Exception:
            self.failed("the opening")
        if self.writing_paused:  # by what was sent before there was an owner to tell
            self.pause_writing()

    def ping(self) -> None:
        """Ask for a sign of life; `heard` tells whether there was one."""
        self.heard = False
        self.write_frame(_PING)

    # ---- bytes come ------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Cut what has come into frames and deliver the messages."""
        self.heard = True
        self.bytes_in += len(data)
        if self._tail is not None:
            self._tail += data
            if self._reading_paused:
                return
            tail, self._tail = self._tail, None
            self._receive(tail)
        elif self._reading_paused:
            self._tail = bytearray(data)
        else:
            self._receive(data)

    def _receive(self, data: bytes | bytearray) -> None:
        if self.state != OPEN:
            self._receive_while_ending(data)
            return
        limit = self.endpoint.config.message_size
        pos, size = 0, len(data)
        while pos < size:
            start, end = find_frame(data, pos, limit)
            if end > size:
                break
            if data[pos] == _PLAIN_TEXT and self._fragments is None and end:
                self._receive_text(apply_mask(data[start:end], data[start - 4 : start]))
            else:
                self._receive_frame(data[pos : end or size])
            if self.state != OPEN:
                return
            pos = end
            if self._reading_paused:
                break
        if pos < size:
            self._tail = bytearray(data[pos:])

    def _receive_frame(self, frame: bytes | bytearray) -> None:
        """Let the parser see a frame that is not simply a text message, or the start of one it will refuse."""
        fragments = self._fragments
        parsers = self.endpoint.parsers
        parser = fragments.parser if fragments else parsers.borrow(deflate=self.opening.deflate)
        parser.receive_data(frame)
        for event in parser.events_received():
            assert isinstance(event, Frame)
            if event.opcode is CLOSE:
                self._receive_close(parser)
            elif event.opcode is PING:
                self.write_frame(b"".join(parser.data_to_send()))
            elif event.opcode is not PONG:
                self._receive_data_frame(parser, event)
        if parser.parser_exc is not None:
            self._receive_failure(parser)
        if parser.state is not PARSER_OPEN or parser.current_size is not None:
            parsers.keep(parser)

    def _receive_data_frame(self, parser: ServerProtocol, frame: Frame) -> None:
        if frame.opcode is BINARY and not self.endpoint.config.binary:
            self._refuse(1003, "text messages only")
            return
        if frame.opcode is not CONT and frame.fin:
            self._receive_message(frame.opcode is BINARY, bytes(frame.data))
            return
        if frame.opcode is not CONT:
            self._fragments = Fragments(parser, frame)
            return
        fragments = self._fragments
        assert fragments is not None  # the parser refuses a continuation of nothing
        fragments.data += frame.data
        if frame.fin:
            self._fragments = None
            self._receive_message(fragments.opcode is BINARY, bytes(fragments.data))

    def _receive_message(self, binary: bool, payload: bytes) -> None:
        if binary:
            self._deliver(payload)
        else:
            self._receive_text(payload)

    def _receive_text(self, payload: bytes) -> None:
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self._refuse(1007, "invalid UTF-8")
            return
        self._deliver(text)

    def _deliver(self, data: str | bytes) -> None:
        self.frames_in += 1
        self.endpoint.counts.messages_in += 1
        try:
            self.owner.received(data)
        except Exception:
            self.failed("a message")

    def _receive_close(self, parser: ServerProtocol) -> None:
        """The peer closes: the parser has written our Close in answer."""
        self.transport.write(b"".join(parser.data_to_send()))
        peers = parser.close_rcvd
        assert peers is not None
        self._begin_draining()
        self._tell_closed(peers.code, peers.reason)

    def _receive_failure(self, parser: ServerProtocol) -> None:
        """The peer broke the protocol: the parser has written a Close that says how."""
        ours = parser.close_sent
        assert ours is not None
        self._refuse(ours.code, ours.reason)

    def _refuse(self, code: int, reason: str) -> None:
        self.endpoint.counts.protocol_errors += 1
        self.fail(code, reason)

    def _receive_while_ending(self, data: bytes | bytearray) -> None:
        """Look for the peer's Close and for nothing else; whatever is no frame ends the wait too."""
        if self.state != CLOSING:
            return
        pos, size = 0, len(data)
        while pos < size:
            _, end = find_frame(data, pos, self.endpoint.config.message_size)
            if end > size:
                self._tail = bytearray(data[pos:])
                return
            if not end or data[pos] & 0x0F == CLOSE:
                self._begin_draining()
                return
            pos = end

    # ---- the end ------------------------------------------------------------------------------------

    def failed(self, doing: str) -> None:
        """The application raised (call this in the `except`): log it once, count it, close with 1011."""
        self.endpoint.counts.callback_errors += 1
        log.exception("a callback failed on %s of %s", doing, self.remote[0] or "a unix socket")
        self.fail(1011, "internal error")

    def fail(self, code: int, reason: str) -> None:
        """Close without waiting for the peer's Close (RFC 6455, 7.1.7)."""
        if self.state == OPEN:
            self.transport.write(frames.close_frame(code, reason))
            self._begin_draining()
            self._tell_closed(code, reason)

    def _begin_draining(self) -> None:
        self.state = DRAINING
        self._forget_input()
        self.endpoint.closing_began(self)
        self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _forget_input(self) -> None:
        self._tail = None
        self._fragments = None
        self._reading_paused = False

    def _drop(self) -> None:
        self.state = GONE
        self._forget_input()
        self.transport.abort()

    def expire(self) -> None:
        """The closing handshake took too long."""
        if self.state in (CLOSING, DRAINING):
            self._drop()

    def _tell_closed(self, code: int, reason: str) -> None:
        """Tell the owner, once: the owner is let go here."""
        owner = getattr(self, "owner", None)
        if owner is None:
            return
        del self.owner
        try:
            owner.closed(code, reason)
        except Exception:
            self.endpoint.counts.callback_errors += 1
            log.exception("a callback failed on the close of a connection")

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by either side."""
        self.endpoint.lost(self)
        if self.state != FROZEN:
            self.state = GONE
            self._tell_closed(ABNORMAL, "")
        self._forget_input()

    # ---- flow control towards the reader --------------------------------------------------------------

    def pause_writing(self) -> None:
        """More than the high-water mark waits."""
        self.writing_paused = True
        self._tell_flow("paused")

    def resume_writing(self) -> None:
        """Less than the low-water mark waits."""
        self.writing_paused = False
        self._tell_flow("resumed")

    def _tell_flow(self, what: str) -> None:
        owner = getattr(self, "owner", None)
        if self.state != OPEN or owner is None:
            return
        try:
            owner.paused_writing() if what == "paused" else owner.resumed_writing()
        except Exception:
            self.failed(f"'{what}'")

    # ---- moving to another process ---------------------------------------------------------------------

    def detach(self) -> Detached | None:
        """Freeze the connection and write it down; `None` if it cannot be moved at this moment.

        That is: it is not open, is inside a fragmented message, has bytes waiting to be written, or is
        encrypted in this process. Until `reattach` or `release` it is neither read nor written.
        """
        if self.state != OPEN or self._fragments is not None or self.buffered or self.endpoint.tls:
            return None
        self.pause_reading()
        self.state = FROZEN
        state = ConnectionState.of(self, bytes(self._tail or b""))
        return Detached(self.transport.get_extra_info("socket").fileno(), encode_state(state))

    def adopt(self, state: ConnectionState) -> None:
        """Become the connection that was written down; nothing is read before `resume_reading`."""
        self._tail = bytearray(state.unparsed) if state.unparsed else None
        self._reading_paused = True
        self.opened_at -= state.age
        self.bytes_in = state.bytes_in
        self.bytes_out = state.bytes_out
        self.frames_in = state.frames_in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Only after `adopt`: a connection from another process is on this loop now."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.pause_reading()
        self.endpoint.opened(self)

    def reattach(self) -> None:
        """The move did not come about: go on here."""
        if self.state == FROZEN:
            self.state = OPEN
            self.resume_reading()

    def release(self) -> None:
        """The other process has it: close our copy of the descriptor. `Owner.closed` is not called."""
        if self.state == FROZEN:
            del self.owner
            self.transport.abort()
