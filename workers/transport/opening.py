"""What a connection keeps of its handshake, and who calls whom between the transport and the application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workers.transport.websocket import WebSocket


@dataclass(frozen=True, slots=True)
class HandshakeResult:
    """The outcome of a handshake; equal ones are shared by all connections that have them.

    Of the headers only `origin` and `user_agent` are kept: cookies and the rest are nobody's business later.
    """

    path: str = "/"
    query: str = ""
    subprotocol: str | None = None
    deflate: bool = False
    origin: str = ""
    user_agent: str = ""


class ConnectionOwner(Protocol):
    """What the application attaches to a connection. An exception from any of these closes it with 1011."""

    def received(self, data: str | bytes) -> None:
        """A whole message came; text is valid UTF-8."""

    def closed(self, code: int, reason: str) -> None:
        """The connection is over for the application; exactly once, and nothing is received afterwards."""

    def paused_writing(self) -> None:
        """More than `queue_size` bytes wait for this reader: write nothing but what must be."""

    def resumed_writing(self) -> None:
        """The reader has caught up with what was written."""


class ConnectionHandler(Protocol):
    """What the application gives to an endpoint."""

    def opened(self, ws: WebSocket) -> ConnectionOwner:
        """A connection was accepted and the 101 is written; the answer becomes `ws.owner`."""
