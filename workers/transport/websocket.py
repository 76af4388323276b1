"""Reading from an open WebSocket connection: bytes become messages, and memory stays small.

Thousands of connections sit idle, so an idle one holds no parser, no task, no timer and no buffer: what is
shared lives in the `Endpoint`, what is rare is made when it is needed. Outgoing frames are made elsewhere
(`frames.py`) and may be written straight to `transport`, which is what the hub does in its inner loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from websockets.frames import BINARY, CLOSE, CONT, PING, PONG, TEXT, Frame
from websockets.protocol import OPEN as PARSER_OPEN
from websockets.server import ServerProtocol

from workers.transport import frames
from workers.transport.inbound import Fragments, apply_mask, find_frame
from workers.transport.lifecycle import CLOSING, FLOOD, FROZEN, GONE, OPEN, Lifecycle
from workers.transport.moving import ConnectionState, Detached, encode_state
from workers.transport.opening import Handler, Opening

if TYPE_CHECKING:
    from workers.transport.endpoint import Endpoint

_PING: Final = frames.ping_frame()
_APPLICATION: Final = 1  # does not want to be told of messages now
_MOVING: Final = 2  # the connection is about to move: what comes now is for whoever has it then
_PLAIN_TEXT: Final = 0x81  # FIN, no reserved bit, opcode text: nearly every frame there is


class WebSocket(Lifecycle):
    """One connection, from the 101 to its end. Made by `Handshake`, or by `Endpoint.attach`."""

    __slots__ = (
        "_fragments",
        "_tail",
        "bucket",
        "bytes_in",
        "frames_in",
        "heard",
        "opened_at",
        "opening",
        "side_frames",
    )

    bucket: dict[WebSocket, None]  # of the sweeper

    def __init__(self, endpoint: Endpoint, opening: Opening, remote: tuple[str, int] | None) -> None:
        super().__init__(endpoint, remote)
        self.opening = opening
        self.opened_at = endpoint.now()
        self.heard = True  # something came since the last ping
        self.bytes_in = 0
        self.frames_in = 0  # whole messages
        self.side_frames = 0  # control frames and fragments since the sweeper's last visit
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

    # ---- what the application does -----------------------------------------------------------------

    def send(self, data: str | bytes) -> None:
        """Send one message: `str` as text, `bytes` as binary; compressed where that was agreed and pays."""
        if isinstance(data, str):
            payload = data.encode()
            plain, compressed = frames.text_frame, frames.compressed_text_frame
        else:
            payload = data
            plain, compressed = frames.binary_frame, frames.compressed_binary_frame
        compress = self.opening.deflate and len(payload) >= self.endpoint.config.compress_from
        self.write_frame(compressed(payload, threshold=0) if compress else plain(payload))

    def pause_reading(self) -> None:
        """Deliver no more messages, not even those that have come already; the peer feels it through TCP."""
        self._pause(_APPLICATION)

    def resume_reading(self) -> None:
        """Undo `pause_reading`. What has come meanwhile is delivered in the next turn of the loop."""
        self._resume(_APPLICATION)

    @property
    def reading_paused(self) -> bool:
        """Whether nothing is read now, whoever wants it so."""
        return bool(self._pauses)

    def _pause(self, who: int) -> None:
        if not self._pauses:
            self.transport.pause_reading()
        self._pauses |= who

    def _resume(self, who: int) -> None:
        if self._pauses & who:
            self._pauses &= ~who
            if not self._pauses:
                self.endpoint.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self.state != OPEN or self._pauses:
            return
        if self._tail is not None:
            data, self._tail = self._tail, None
            self._receive(data)
        if self.state == OPEN and not self._pauses:
            self.transport.resume_reading()

    def begin(self, handler: Handler) -> None:
        """Introduce the new connection to the application."""
        try:
            self.owner = handler.opened(self)
        except BaseException:  # application code may raise anything
            self.failed("the opening")
        if self.writing_paused:  # by what was sent before there was an owner to tell
            self.pause_writing()

    def ping(self) -> None:
        """Ask for a sign of life; `heard` tells whether there was one."""
        self.heard = False
        self.write_frame(_PING)

    def _count_side_frame(self) -> None:
        """Messages are the application's to limit; what it never sees is limited here."""
        self.side_frames += 1
        if self.side_frames > self.endpoint.config.side_frames:
            self.refuse(FLOOD, "too many frames that are no messages")

    # ---- bytes come ------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Cut what has come into frames and deliver the messages."""
        self.heard = True
        self.bytes_in += len(data)
        self.endpoint.counts.bytes_in += len(data)
        if self._tail is not None:
            self._tail += data
            if self._pauses:
                return
            tail, self._tail = self._tail, None
            self._receive(tail)
        elif self._pauses:
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
            if self._pauses:
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
            if event.opcode is not CLOSE and not (event.fin and event.opcode in (TEXT, BINARY)):
                self._count_side_frame()
        if parser.parser_exc is not None:
            self._receive_failure(parser)
        if parser.state is not PARSER_OPEN or parser.current_size is not None:
            parsers.keep(parser)
        if self._fragments is None or self._fragments.parser is not parser:
            parsers.drop(parser)

    def _receive_data_frame(self, parser: ServerProtocol, frame: Frame) -> None:
        if frame.opcode is BINARY and not self.endpoint.config.binary:
            self.refuse(1003, "text messages only")
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
            self.refuse(1007, "invalid UTF-8")
            return
        self._deliver(text)

    def _deliver(self, data: str | bytes) -> None:
        self.frames_in += 1
        self.endpoint.counts.messages_in += 1
        try:
            self.owner.received(data)
        except BaseException:  # application code may raise anything
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
        self.refuse(ours.code, ours.reason)

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

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by either side."""
        self.endpoint.lost(self)
        super().connection_lost(exc)

    def _forget_input(self) -> None:
        super()._forget_input()
        self._tail = None
        if self._fragments is not None:
            self.endpoint.parsers.drop(self._fragments.parser)
            self._fragments = None

    # ---- moving to another process ---------------------------------------------------------------------

    def quiesce(self) -> None:
        """Read no more, whatever the application wants, since the connection is about to move."""
        self._pause(_MOVING)

    def read_again(self) -> None:
        """Undo `quiesce`: it stays after all, at least for now."""
        self._resume(_MOVING)

    @property
    def unread(self) -> int:
        """Bytes that have come and were not used yet."""
        return len(self._tail) if self._tail is not None else 0

    def detach(self) -> Detached | None:
        """Freeze the connection and write it down; `None` if it cannot be moved at this moment.

        That is: it is not open, is inside a fragmented message, has bytes waiting to be written, or is
        encrypted in this process. Until `reattach` or `release` it is neither read nor written.
        """
        if self.state != OPEN or self._fragments is not None or self.buffered or self.endpoint.tls:
            return None
        self.quiesce()
        self.state = FROZEN
        state = ConnectionState.of(self, bytes(self._tail or b""))
        return Detached(self.transport.get_extra_info("socket").fileno(), encode_state(state))

    def adopt(self, state: ConnectionState) -> None:
        """Become the connection that was written down; nothing is read before `resume_reading`."""
        self._tail = bytearray(state.unparsed) if state.unparsed else None
        self._pauses = _APPLICATION
        self.heard = state.pinged is None
        self.opened_at -= state.age
        self.bytes_in = state.bytes_in
        self.bytes_out = state.bytes_out
        self.frames_in = state.frames_in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Only after `adopt`: a connection from another process is on this loop now."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.pause_reading()
        self.endpoint.opened(self)

    @property
    def mid_message(self) -> bool:
        """Whether a message of several frames is on its way in."""
        return self._fragments is not None

    def reattach(self) -> None:
        """The move did not come about: go on here, with what was written meanwhile."""
        if self.state == FROZEN:
            self.state = OPEN
            if self.transport.is_closing():  # the client went away meanwhile
                super().connection_lost(None)
                return
            (data, close), self._late = self.late, None
            if data:
                self.write_frame(data)
            if close is not None:
                self.close(*close)
            self.read_again()

    @property
    def late(self) -> tuple[bytes, tuple[int, str] | None]:
        """Whole frames that were written while it was frozen, and with what it is to be closed after them."""
        late = self._late
        return (b"", None) if late is None else (b"".join(late.frames), late.close)

    def release(self) -> None:
        """The other process has it: close our copy of the descriptor. `Owner.closed` is not called."""
        if self.state == FROZEN:
            del self.owner
            self.state = GONE
            self.transport.abort()
