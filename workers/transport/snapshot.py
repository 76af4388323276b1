"""A live connection written down: what another process needs to go on with it, beside the descriptor.

Between two whole frames, outside a fragmented message and without bytes to write, that is little:
permessage-deflate without context takeover leaves nothing behind, and ages travel instead of times.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from msgspec import Struct


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


@dataclass(frozen=True, slots=True)
class FrozenConnection:
    """A frozen connection: its descriptor, still owned by the transport, and its state as bytes."""

    fd: int
    state: bytes


class ConnectionState(Struct, frozen=True, array_like=True):
    """Everything but the descriptor. `age` is in seconds, `unparsed` the bytes that were read but not used.

    `pinged` is how many seconds ago a ping was sent that is not answered yet.
    """

    unparsed: bytes
    age: float
    bytes_in: int
    bytes_out: int
    frames_in: int
    remote: tuple[str, int]
    path: str
    query: str
    subprotocol: str | None
    deflate: bool
    origin: str
    user_agent: str
    pinged: float | None = None

    @property
    def handshake(self) -> HandshakeResult:
        """The outcome of the handshake."""
        return HandshakeResult(self.path, self.query, self.subprotocol, self.deflate, self.origin, self.user_agent)


encode_state = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(ConnectionState).decode
