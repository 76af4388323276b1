"""Accepts connections from one listening socket, several in a turn of the loop; and the TLS context of wss://.

Plain connections are accepted here, TLS ones by the event loop, which has their transport. libuv accepts one connection
per turn from each descriptor that it listens on, and a storm of connects would then cost one turn per connection: a
poll of the kernel, and everything else that happens once per turn. So the loop listens with several descriptors of the
same socket.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
import socket
import ssl
from collections.abc import Callable
from socket import SocketType
from typing import Final, Protocol, cast

from workers.transport.config import EndpointConfig
from workers.transport.poller import SocketPoller
from workers.transport.socket_transport import SocketTransport

log = logging.getLogger(__name__)

A_TURN: Final = 8  # connections that one turn of the loop accepts
REST: Final = 1  # seconds without accepting, where the system has no descriptor, memory or watch left
_NOTHING_LEFT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC)


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """A server's TLS context with Python's defaults, for HTTP/1.1. `key` is empty where `certificate` holds both.

    Raises OSError for files that cannot be read, ssl.SSLError for invalid contents.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key or None)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Acceptor(Protocol):
    """Accepts from a listening socket until `close`. The socket itself stays the caller's."""

    def close(self) -> None:
        """Accept no more; connections in the kernel's accept queue stay there."""


class PlainAcceptor:
    """Accepts connections without TLS. Raises OSError for a dead socket.

    `make` creates the protocol of each, from the client's address as the kernel tells it with the connection: asking
    the socket would be a system call more, and fail for a client that has gone.
    """

    def __init__(self, sock: socket.socket, make: Callable[[object], asyncio.Protocol], poller: SocketPoller) -> None:
        self._make = make
        self._poller = poller
        # The C type, here and for each connection: half of the memory and two thirds of the time of `socket.socket`.
        self._socket = SocketType(sock.family, sock.type, sock.proto, os.dup(sock.fileno()))
        self._socket.setblocking(False)
        if sock.family != socket.AF_UNIX:  # the connections inherit it
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._resting: asyncio.TimerHandle | None = None
        self._listen()

    def _listen(self) -> None:
        self._resting = None
        try:
            self._poller.watch(self._socket.fileno(), select.EPOLLIN, self)
        except OSError as error:
            self._rest(error)

    def _rest(self, error: OSError) -> None:
        """Accept nothing for a while; the socket is not watched."""
        log.error("no connection can be accepted for %s s: %s", REST, error)
        self._resting = asyncio.get_running_loop().call_later(REST, self._listen)

    def close(self) -> None:
        """See `Acceptor`."""
        if self._resting is not None:
            self._resting.cancel()
        else:
            self._poller.forget(self._socket.fileno())
        self._socket.close()

    def on_ready(self, events: int) -> None:
        """Accept those that wait; other workers accept from the same socket."""
        kind = self._socket.family, self._socket.type, self._socket.proto
        try:
            for _ in range(A_TURN):
                # `socket.socket.accept` calls it
                descriptor, address = self._socket._accept()  # type: ignore[attr-defined]
                self._begin(descriptor, kind, address)
        except OSError as error:
            self._on_error(error)

    def _on_error(self, error: OSError) -> None:
        if error.errno in _NOTHING_LEFT:
            self._poller.forget(self._socket.fileno())
            self._rest(error)
        elif not isinstance(error, (BlockingIOError, InterruptedError, ConnectionAbortedError)):
            log.warning("a connection could not be accepted: %s", error)

    def _begin(self, descriptor: int, kind: tuple[int, int, int], address: object) -> None:
        protocol = self._make(address)
        transport = SocketTransport(self._poller, descriptor, protocol, kind)
        protocol.connection_made(cast(asyncio.Transport, transport))
        try:
            transport.begin_reading()
        except OSError:
            transport.abort()
            raise


class TlsAcceptor:
    """Accepts connections with TLS by the event loop."""

    def __init__(self, servers: list[asyncio.Server]) -> None:
        self._servers = servers

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        make: Callable[[], asyncio.BaseProtocol],
        config: EndpointConfig,
        tls: ssl.SSLContext,
    ) -> TlsAcceptor:
        """Start to accept; `make` creates the protocol of each connection."""
        loop = asyncio.get_running_loop()
        serve = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
        by_libuv = type(loop).__module__.startswith("uvloop")  # asyncio's own loop accepts all that wait
        acceptor = cls([])
        try:
            for _ in range(A_TURN if by_libuv else 1):
                server = await serve(
                    make,
                    sock=sock.dup(),
                    backlog=config.backlog,
                    ssl=tls,
                    ssl_handshake_timeout=config.handshake_timeout,
                    start_serving=False,  # only after `close` knows the server
                )
                acceptor._servers.append(server)
                await server.start_serving()
        except BaseException:
            acceptor.close()
            raise
        return acceptor

    def close(self) -> None:
        """See `Acceptor`."""
        for server in self._servers:
            server.close()
        self._servers.clear()
