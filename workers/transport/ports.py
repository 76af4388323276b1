"""Ports between the transport and what stands on it: who owns a connection, and who is told of new ones.

The transport calls `ConnectionHandler` and `ConnectionOwner`; everything above calls `OpenSocket`. An exception from an
owner or a handler closes that connection with 1011.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from workers.close_codes import CloseCode
from workers.handshake_request import Accept, ConnectionRequest, HandshakeRequest, Reject
from workers.transport.snapshot import FrozenConnection


class ConnectionOwner(Protocol):
    """What the application attaches to a connection."""

    def on_message(self, data: str | bytes) -> None:
        """A whole message arrived; `str` is valid UTF-8."""

    def on_close(self, code: int, reason: str) -> None:
        """The connection is over for the application. Called exactly once, and the last call."""

    def on_write_paused(self) -> None:
        """More than `queue_size` bytes wait for this reader: write only what is indispensable."""

    def on_write_resumed(self) -> None:
        """The reader has caught up."""


class ConnectionHandler(Protocol):
    """What the application gives to an endpoint."""

    def on_open(self, ws: OpenSocket) -> ConnectionOwner:
        """A handshake is complete and its 101 is written. The returned object becomes `ws.owner`."""


class HandshakeJudge(Protocol):
    """Asked for each handshake before the 101; whatever it raises refuses with 500."""

    async def __call__(self, request: HandshakeRequest) -> Accept | Reject | None:
        """None lets the connection in, like an empty `Accept`."""


class OpenSocket(Protocol):
    """An open WebSocket connection, as the layers above the transport use it; `websocket.WebSocket` implements it."""

    owner: ConnectionOwner
    transport: asyncio.Transport  # the rooms write whole frames to it
    bytes_in: int
    bytes_out: int  # by `write_frame`; the rooms count what they write
    frames_in: int  # whole messages

    @property
    def accepted(self) -> Accept | None:
        """What the program's `on_handshake` said of this connection."""

    @property
    def query(self) -> str:
        """The query of the request, without the question mark."""

    @property
    def request(self) -> ConnectionRequest:
        """What is kept of the request: path, query, and the headers that `keep_headers` names."""

    @property
    def deflate(self) -> bool:
        """Whether this reader takes compressed frames."""

    @property
    def address(self) -> str:
        """The client's address; "" behind a unix socket."""

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""

    @property
    def buffered(self) -> int:
        """Bytes that wait in this process for the reader."""

    @property
    def reading_paused(self) -> bool:
        """Whether nothing is read now, whoever paused it."""

    def send(self, data: str | bytes) -> None:
        """Send one message, text for `str`, binary for `bytes`. Raises ValueError for one that is too large."""

    def write_frame(self, frame: bytes) -> None:
        """Write one or more whole frames."""

    def write_answer(self, frame: bytes) -> None:
        """The same in the loop's next turn at the latest, by one write with what else the connection gets."""

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Start the closing handshake."""

    def abort(self, code: int = CloseCode.ABNORMAL, reason: str = "") -> None:
        """Drop the connection and what waits to be written."""

    def close_on_exception(self, doing: str) -> None:
        """Log the exception that is being handled and close with 1011; call this in the `except`."""

    def pause_reading(self) -> None:
        """Deliver no more messages until `resume_reading`."""

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""

    def mark_identified(self) -> None:
        """The application knows who the client is, or need not know: the connection stops being a newcomer."""

    # ---- for the handover ----------------------------------------------------------------------------

    @property
    def encrypted(self) -> bool:
        """Whether TLS ends in this process, so that the descriptor alone is of no use elsewhere."""

    @property
    def mid_message(self) -> bool:
        """Whether a message of several frames is on its way in."""

    @property
    def unread(self) -> int:
        """Bytes that arrived and are not used yet."""

    @property
    def pending_output(self) -> tuple[bytes, tuple[int, str] | None]:
        """Whole frames written since `freeze`, and code and reason of a `close` since then."""

    def quiesce(self) -> None:
        """Stop reading because the connection is about to move, whatever the application wants."""

    def unquiesce(self) -> None:
        """Undo `quiesce`."""

    def freeze(self) -> FrozenConnection | None:
        """Stop reading and writing and take a snapshot; None where the connection cannot move now."""

    def unfreeze(self) -> None:
        """Undo `freeze`: the connection stays here."""

    def release(self) -> None:
        """Close this process's copy of a frozen connection; its owner is not told."""
