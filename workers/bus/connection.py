"""One open connection to the store: turns commands into bytes and bytes into replies, and decides nothing.

`store_url.py` opens the connection with redis-py; from then on this protocol has the transport, because a reply
through redis-py costs ten times as much as one through `hiredis` itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from workers.bus.script import Argument

logger = logging.getLogger(__name__)

# hiredis's stub wants a tuple of exactly one argument.
_pack: Any = hiredis.pack_command


def pack(*words: Argument) -> bytes:
    """One command in RESP."""
    packed: bytes = _pack(words)
    return packed


def pack_evalsha(sha: str, keys: Sequence[str], args: Sequence[Argument]) -> bytes:
    """The command that runs a script by its hash."""
    return pack(b"EVALSHA", sha, len(keys), *keys, *args)


class StoreConnection(asyncio.Protocol):
    """A connection whose handshake is done. `replied` and `lost` are called on the loop; `lost` once."""

    __slots__ = ("_opened_by", "_reader", "closed", "heard", "lost", "replied", "transport")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.transport: Any = None
        self.replied: Callable[[Any], None] = _ignore
        self.lost: Callable[[], None] = _nothing
        self.closed: asyncio.Future[None] = loop.create_future()
        self.heard = False  # whether data came since `heard` was last set to False
        self._reader = hiredis.Reader()
        self._opened_by: Any = None

    def take_over(self, connection: Any) -> None:
        """Become the protocol of the transport that a redis-py connection opened; keep that connection alive.

        Raises ConnectionError if the connection is closed already.
        """
        if connection._reader.at_eof() or connection._writer.transport.is_closing():
            # redis-py's protocol has received `connection_lost` already; this one would never receive it.
            raise ConnectionError("the connection was closed as soon as it was open")
        self._opened_by = connection
        self.transport = connection._writer.transport
        self.transport.set_protocol(self)
        self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send data; on a connection that is closing, do nothing."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def abort(self) -> None:
        """Drop the connection now; `lost` is called in a later turn of the loop."""
        self.transport.abort()

    # ---- asyncio.Protocol --------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.heard = True
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                self.replied(reply)
        except hiredis.ProtocolError:
            logger.exception("the store sent data that is not RESP; the connection is dropped")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        connection = self._opened_by
        if connection is not None:
            connection._reader = connection._writer = None  # closed already: leaves its finalizer nothing to do
        if not self.closed.done():
            self.closed.set_result(None)
            self.lost()


def _ignore(reply: Any) -> None:
    """Ignore a reply that no command waits for."""


def _nothing() -> None:
    """Do nothing: no part waits for the end."""
