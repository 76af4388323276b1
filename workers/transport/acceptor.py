"""Accepts connections from one listening socket, several in a turn of the loop; and the TLS context of wss://.

libuv accepts one connection per turn from each descriptor that it listens on. A storm of connects would then cost one
turn per connection: a poll of the kernel, and everything else that happens once per turn. So the acceptor listens with
several descriptors of the same socket, and each of them accepts one connection per turn. A client that connects alone
makes the other descriptors look in vain, which costs half a microsecond each.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from workers.transport.config import EndpointConfig

A_TURN = 8  # connections that one turn of the loop accepts


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """A server's TLS context with Python's defaults, for HTTP/1.1. `key` is empty where `certificate` holds both.

    Raises OSError for files that cannot be read, ssl.SSLError for invalid contents.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key or None)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Acceptor:
    """Accepts from a listening socket until `close`. The socket itself stays the caller's."""

    def __init__(self, servers: list[asyncio.Server]) -> None:
        self._servers = servers

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        make: Callable[[], asyncio.BaseProtocol],
        config: EndpointConfig,
        tls: ssl.SSLContext | None = None,
    ) -> Acceptor:
        """Start to accept; `make` creates the protocol of each connection."""
        loop = asyncio.get_running_loop()
        serve = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
        timeout = config.handshake_timeout if tls is not None else None
        by_libuv = type(loop).__module__.startswith("uvloop")  # asyncio's own loop accepts all that wait
        acceptor = cls([])
        try:
            for _ in range(A_TURN if by_libuv else 1):
                server = await serve(
                    make,
                    sock=sock.dup(),
                    backlog=config.backlog,
                    ssl=tls,
                    ssl_handshake_timeout=timeout,
                    start_serving=False,  # only after `close` knows the server
                )
                acceptor._servers.append(server)
                await server.start_serving()
        except BaseException:
            acceptor.close()
            raise
        return acceptor

    def close(self) -> None:
        """Accept no more; connections in the kernel's accept queue stay there."""
        for server in self._servers:
            server.close()
        self._servers.clear()
