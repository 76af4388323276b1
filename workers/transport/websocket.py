"""Reading from an open WebSocket connection: bytes become messages, and memory stays small.

Thousands of connections are idle, so an idle connection holds no parser, no task, no timer and no buffer: shared parts
are in `EndpointShared`, rare parts are created when they are needed. `frames.py` makes outgoing frames, which may be
written directly to `transport`, as the fan-out of the rooms does in its inner loop.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from websockets.frames import BINARY, CLOSE, PING, TEXT, Frame
from websockets.protocol import OPEN as PARSER_OPEN
from websockets.server import ServerProtocol

from workers.close_codes import CloseCode
from workers.handshake_request import Accept, ConnectionRequest
from workers.transport import frames
from workers.transport.closing import CLOSING, FROZEN, GONE, OPEN, ClosingProtocol
from workers.transport.keepalive import PingedSocket
from workers.transport.parser import FIN, PLAIN_TEXT, RESERVED, RSV1, Fragments, apply_mask, find_frame, whole_text
from workers.transport.ports import ConnectionHandler
from workers.transport.shared import EndpointShared
from workers.transport.snapshot import ConnectionState, FrozenConnection, HandshakeResult, encode_state

_PING: Final = frames.ping_frame()
_APPLICATION: Final = 1  # the application paused reading
_MOVING: Final = 2  # the connection is about to move: what arrives now is for the process that gets it

CONTROL_WORK: Final = 8  # the measured work of a control frame, in tiny fragments
TINY: Final = 64  # bytes: a smaller fragment takes more work than its bytes account for


class WebSocket(ClosingProtocol):
    """One connection, from the 101 to its end. `Handshake` and `Endpoint.attach` create it."""

    __slots__ = (
        "_fragments",
        "_tail",
        "bucket",
        "bytes_in",
        "frames_in",
        "handshake",
        "heard",
        "side_work",
    )

    bucket: dict[PingedSocket, None]  # of the keepalive

    def __init__(self, shared: EndpointShared, handshake: HandshakeResult, remote: tuple[str, int] | None) -> None:
        super().__init__(shared, remote)
        self.handshake = handshake
        self.heard = True  # something arrived since the last ping
        self.bytes_in = 0
        self.frames_in = 0  # whole messages
        self.side_work = 0  # work for frames that are no messages since the keepalive's last visit
        self._tail: bytearray | None = None  # bytes of an incomplete frame, or that came while reading was paused
        self._fragments: Fragments | None = None

    # ---- what the application reads -------------------------------------------------------------

    @property
    def path(self) -> str:
        """The path of the request, without the query."""
        return self.handshake.path

    @property
    def accepted(self) -> Accept | None:
        """What the program's `on_handshake` said of this connection."""
        return self.handshake.accepted

    @property
    def query(self) -> str:
        """The query of the request, without the question mark."""
        return self.handshake.query

    @property
    def request(self) -> ConnectionRequest:
        """What is kept of the request; made at each use, since most connections are never asked."""
        handshake = self.handshake
        return ConnectionRequest(handshake.path, handshake.query, dict(handshake.kept))

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self.handshake.subprotocol

    @property
    def deflate(self) -> bool:
        """Whether this reader takes compressed frames."""
        return self.handshake.deflate

    # ---- what the application does -----------------------------------------------------------------

    def send(self, data: str | bytes) -> None:
        """Send one message, `str` as text and `bytes` as binary, compressed where that was agreed on and helps.

        A message larger than the queue may wait in addition to what already waits, up to `max_send_buffer` together: a
        reader that is taking it is not slow. Raises ValueError for a message larger than `max_send_buffer`.
        """
        if isinstance(data, str):
            payload = data.encode()
            plain, compressed = frames.text_frame, frames.compressed_text_frame
        else:
            payload = data
            plain, compressed = frames.binary_frame, frames.compressed_binary_frame
        size, config = len(payload), self.shared.config
        if size > config.queue_size:
            self._send_oversized(plain(payload))
            return
        compress = self.handshake.deflate and size >= config.compress_from
        self.write_frame(compressed(payload, threshold=0) if compress else plain(payload))

    def _send_oversized(self, message: bytes) -> None:
        """Send a message larger than the queue; it is not compressed, which would block the loop."""
        size, most = len(message), self.shared.config.max_send_buffer
        if size > most:
            raise ValueError(f"a message of {size} bytes is larger than worker.max_send_buffer ({most})")
        if self.state == OPEN:
            if self.buffered + size > most:
                self.abort(CloseCode.TOO_SLOW, "reads too slowly")
            self.oversized += size
        self.write_frame(message)
        if not self.writing_paused:
            self.oversized = 0  # the whole message is sent

    def pause_reading(self) -> None:
        """Deliver no more messages, not even those that have arrived; TCP slows the peer down."""
        self._pause(_APPLICATION)

    def resume_reading(self) -> None:
        """Undo `pause_reading`. What arrived meanwhile is delivered in the next turn of the loop."""
        self._resume(_APPLICATION)

    @property
    def reading_paused(self) -> bool:
        """Whether nothing is read now, whoever paused it."""
        return bool(self._pauses)

    def _pause(self, who: int) -> None:
        if not self._pauses:
            self.transport.pause_reading()
        self._pauses |= who

    def _resume(self, who: int) -> None:
        if self._pauses & who:
            self._pauses &= ~who
            if not self._pauses:
                self.shared.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self.state != OPEN or self._pauses:
            return
        self.heard = True  # a pong may have arrived and not been read
        if self._tail is not None:
            data, self._tail = self._tail, None
            self._receive(data)
        if self.state == OPEN and not self._pauses:
            self.transport.resume_reading()

    def begin(self, handler: ConnectionHandler) -> None:
        """Introduce the new connection to the application."""
        try:
            self.owner = handler.on_open(self)
        except BaseException:  # application code may raise anything
            self.close_on_exception("the opening")
        if self.writing_paused:  # by what was sent before there was an owner
            self.pause_writing()

    def mark_identified(self) -> None:
        """The application knows who the client is, or need not know: the connection stops being a newcomer."""
        self.shared.peers.settle(self.transport)

    def ping(self) -> None:
        """Send a ping; `heard` becomes true when anything arrives."""
        self.heard = False
        self.write_frame(_PING)

    def _count_side_work(self, work: int) -> None:
        """Limit what the application never sees, and so cannot limit itself."""
        self.side_work += work
        if self.side_work > CONTROL_WORK * self.shared.config.control_frames:
            self.refuse(CloseCode.FLOOD, "too many control frames or tiny fragments")

    # ---- bytes come ------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Split the bytes into frames and deliver the messages."""
        self.heard = True
        self.bytes_in += len(data)
        self.shared.counts.bytes_in += len(data)
        if self._tail is not None:
            self._tail += data
            if self._pauses:
                return
            tail, self._tail = self._tail, None
            self._receive(tail)
        elif self._pauses:
            self._tail = bytearray(data)
        elif self.state != OPEN or self._fragments is not None:
            self._receive(data)
        elif (text := whole_text(data, self.shared.config.message_size)) is not None:
            self._receive_text(text)
        else:
            self._receive(data)

    def _receive(self, data: bytes | bytearray) -> None:
        if self.state != OPEN:
            self._receive_while_ending(data)
            return
        limit = self.shared.config.message_size
        pos, size = 0, len(data)
        while pos < size:
            start, end = find_frame(data, pos, limit)
            if end > size:
                break
            head = data[pos]
            if head == PLAIN_TEXT and self._fragments is None and end:
                self._receive_text(apply_mask(data[start:end], data[start - 4 : start]))
            elif end and head & 0x0F <= BINARY and (self._fragments is not None or head < FIN or not head & 0x0F):
                self._receive_fragment(head, apply_mask(data[start:end], data[start - 4 : start]))
            else:
                self._receive_frame(data[pos : end or size])
            if self.state != OPEN:
                return
            pos = end
            if self._pauses:
                break
        if pos < size:
            self._tail = bytearray(data[pos:])

    def _receive_frame(self, frame: bytes | bytearray) -> None:
        """Give the parser a frame that is not a plain text message, or the start of a frame that it will refuse."""
        parsers = self.shared.parsers
        parser = parsers.borrow(deflate=self.handshake.deflate)
        parser.receive_data(frame)
        for event in parser.events_received():
            assert isinstance(event, Frame)
            if event.opcode is CLOSE:
                self._receive_close(parser)
                continue
            if event.opcode is TEXT or event.opcode is BINARY:
                self._receive_message(event.opcode is BINARY, bytes(event.data))
                continue
            if event.opcode is PING:
                self.write_frame(b"".join(parser.data_to_send()))
            self._count_side_work(CONTROL_WORK)
        if parser.parser_exc is not None:
            self._receive_failure(parser)
        if parser.state is not PARSER_OPEN or parser.current_size is not None:
            parsers.detach(parser)
        parsers.drop(parser)

    def _receive_fragment(self, head: int, payload: bytes) -> None:
        """Handle a data frame of a fragmented message: its first, a further one, or one that is not allowed here."""
        fragments, allowed = self._fragments, RSV1 if self.handshake.deflate and head & 0x0F else 0
        if head & RESERVED & ~allowed:
            self.refuse(CloseCode.PROTOCOL_ERROR, "reserved bits must be 0")
        elif head & 0x0F:
            self._begin_message(head, payload)
        elif fragments is None:
            self.refuse(CloseCode.PROTOCOL_ERROR, "a continuation of nothing")
        elif len(fragments.data) + len(payload) > self.shared.config.message_size:
            self.refuse(CloseCode.TOO_BIG, f"a message of more than {self.shared.config.message_size} bytes")
        else:
            fragments.data += payload
            if head & FIN:
                self._end_message(fragments)
            elif len(payload) < TINY:  # larger ones are limited by the size of the message
                self._count_side_work(1 if payload else CONTROL_WORK)

    def _begin_message(self, head: int, payload: bytes) -> None:
        if self._fragments is not None:
            self.refuse(CloseCode.PROTOCOL_ERROR, "a message inside a message")
        elif head & 0x0F == BINARY and not self.shared.config.binary:
            self.refuse(CloseCode.UNSUPPORTED_DATA, "text messages only")
        else:
            self._fragments = Fragments(head, payload)

    def _end_message(self, fragments: Fragments) -> None:
        self._fragments = None
        if fragments.compressed:
            self._receive_frame(fragments.as_one_frame())
        else:
            self._receive_message(fragments.head & 0x0F == BINARY, bytes(fragments.data))

    def _receive_message(self, binary: bool, payload: bytes) -> None:
        if not binary:
            self._receive_text(payload)
        elif self.shared.config.binary:
            self._deliver(payload)
        else:
            self.refuse(CloseCode.UNSUPPORTED_DATA, "text messages only")

    def _receive_text(self, payload: bytes) -> None:
        """`_deliver`, spelled out for what nearly every message is."""
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            self.refuse(CloseCode.INVALID_DATA, "invalid UTF-8")
            return
        self.frames_in += 1
        self.shared.counts.messages_in += 1
        try:
            self.owner.on_message(text)
        except BaseException:  # application code may raise anything
            self.close_on_exception("a message")

    def _deliver(self, data: str | bytes) -> None:
        self.frames_in += 1
        self.shared.counts.messages_in += 1
        try:
            self.owner.on_message(data)
        except BaseException:  # application code may raise anything
            self.close_on_exception("a message")

    def _receive_close(self, parser: ServerProtocol) -> None:
        """The peer closes: the parser has prepared the Close that answers it."""
        self.write_answers()
        self.transport.write(b"".join(parser.data_to_send()))
        peers = parser.close_rcvd
        assert peers is not None
        self._begin_draining()
        self._notify_close(peers.code, peers.reason)

    def _receive_failure(self, parser: ServerProtocol) -> None:
        """The peer broke the protocol: the parser has prepared a Close with the reason."""
        ours = parser.close_sent
        assert ours is not None
        self.refuse(ours.code, ours.reason)

    def _receive_while_ending(self, data: bytes | bytearray) -> None:
        """Look only for the peer's Close; bytes that are not a frame end the wait too."""
        if self.state != CLOSING:
            return
        pos, size = 0, len(data)
        while pos < size:
            _, end = find_frame(data, pos, self.shared.config.message_size)
            if end > size:
                self._tail = bytearray(data[pos:])
                return
            if not end or data[pos] & 0x0F == CLOSE:
                self._begin_draining()
                return
            pos = end

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by either side."""
        self.shared.on_lost(self)
        super().connection_lost(exc)

    def _forget_input(self) -> None:
        super()._forget_input()
        self._tail = None
        self._fragments = None

    # ---- moving to another process ---------------------------------------------------------------------

    def quiesce(self) -> None:
        """Stop reading because the connection is about to move, whatever the application wants."""
        self._pause(_MOVING)

    def unquiesce(self) -> None:
        """Undo `quiesce`: the connection stays, at least for now."""
        self._resume(_MOVING)

    @property
    def unread(self) -> int:
        """Bytes that arrived and are not used yet."""
        return len(self._tail) if self._tail is not None else 0

    def freeze(self) -> FrozenConnection | None:
        """Stop reading and writing and take a snapshot; None if the connection cannot move at this moment.

        A connection cannot move while it is not open, is inside a fragmented message, or has bytes waiting to be
        written; with TLS in this process it cannot move at all. The freeze lasts until `unfreeze` or `release`.
        """
        self.write_answers()
        if self.state != OPEN or self._fragments is not None or self.buffered or self.encrypted:
            return None
        self.quiesce()
        self.state = FROZEN
        return FrozenConnection(self.transport.get_extra_info("socket").fileno(), encode_state(self.snapshot()))

    def snapshot(self) -> ConnectionState:
        """Everything but the descriptor that another process needs to go on."""
        handshake = self.handshake
        return ConnectionState(
            unparsed=bytes(self._tail or b""),
            age=0.0,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            frames_in=self.frames_in,
            remote=self.remote,
            path=handshake.path,
            query=handshake.query,
            subprotocol=handshake.subprotocol,
            deflate=handshake.deflate,
            origin=handshake.origin,
            user_agent=handshake.user_agent,
            pinged=self.shared.keepalive.ping_age(self, self.shared.now()),
            kept=handshake.kept,
        )

    def restore(self, state: ConnectionState) -> None:
        """Continue the connection of a snapshot; nothing is read before `resume_reading`."""
        self._tail = bytearray(state.unparsed) if state.unparsed else None
        self._pauses = _APPLICATION
        self.heard = state.pinged is None
        self.bytes_in = state.bytes_in
        self.bytes_out = state.bytes_out
        self.frames_in = state.frames_in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection from another process is on this loop now; `restore` was called before."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.pause_reading()
        self.shared.on_open(self)

    @property
    def mid_message(self) -> bool:
        """Whether a message of several frames is on its way in."""
        return self._fragments is not None

    def unfreeze(self) -> None:
        """Undo `freeze`: the connection stays here, and what was written meanwhile is sent."""
        if self.state == FROZEN:
            self.state = OPEN
            if self.transport.is_closing():  # the client left meanwhile
                super().connection_lost(None)
                return
            (data, close), self._pending = self.pending_output, None
            if data:
                self.write_frame(data)
            if close is not None:
                self.close(*close)
            self.unquiesce()

    @property
    def pending_output(self) -> tuple[bytes, tuple[int, str] | None]:
        """Whole frames written since `freeze`, and code and reason of a `close` since then."""
        pending = self._pending
        return (b"", None) if pending is None else (b"".join(pending.frames), pending.close)

    def release(self) -> None:
        """The other process has the connection: close this copy of the descriptor without calling `on_close`."""
        if self.state == FROZEN:
            del self.owner
            self.state = GONE
            self.transport.abort()
