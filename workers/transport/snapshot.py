"""The state of a live connection as bytes: what another process needs besides the descriptor to continue it.

Between two whole frames, outside a fragmented message and without bytes to write, that is little: permessage-deflate
without context takeover keeps no state, and the snapshot has ages instead of times of a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from sys import intern

import msgspec
from msgspec import Struct

from workers.handshake_request import Accept


@dataclass(frozen=True, slots=True)
class HandshakeResult:
    """The outcome of a handshake; connections with a cached handshake share one object.

    Of the headers only `origin`, `user_agent` and those that the program names are stored: cookies and other headers
    must not outlive the handshake unasked.
    """

    path: str = "/"
    query: str = ""
    subprotocol: str | None = None
    deflate: bool = False
    origin: str = ""
    user_agent: str = ""
    accepted: Accept | None = None  # what the program's on_handshake said; not in the snapshot
    kept: tuple[tuple[str, str], ...] = ()  # the headers of `keep_headers` that the request had, interned


@dataclass(frozen=True, slots=True)
class FrozenConnection:
    """A frozen connection: its descriptor, still owned by the transport, and its state as bytes."""

    fd: int
    state: bytes


class ConnectionState(Struct, frozen=True, array_like=True):
    """Everything but the descriptor. `unparsed` are bytes that were read and not used.

    `pinged` is the age in seconds of an unanswered ping; None where there is none.
    """

    unparsed: bytes
    age: float  # nobody needs it any more, but the next fields have their places
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
    kept: tuple[tuple[str, str], ...] = ()

    @property
    def handshake(self) -> HandshakeResult:
        """The outcome of the handshake."""
        return HandshakeResult(
            path=intern(self.path),
            query=self.query,
            subprotocol=self.subprotocol,
            deflate=self.deflate,
            origin=intern(self.origin),
            user_agent=intern(self.user_agent),
            kept=tuple((intern(name), intern(value)) for name, value in self.kept),
        )


encode_state = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(ConnectionState).decode
