"""Owns how connections are taken from one listening socket: several in a turn of the loop.

libuv takes one connection a turn from each descriptor that it listens on, which makes a storm of connects a turn for
each of them: a look at the kernel, and everything that is done once a turn. So a socket is listened on by several
descriptors, each of which gives one. When one client comes alone the others find nothing, which costs half a
microsecond each.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from workers.transport.config import EndpointConfig

A_TURN = 8  # connections


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """A server's context with Python's defaults, for HTTP/1.1. `key` may be empty if the file has both.

    Raises OSError for files that cannot be read, ssl.SSLError for what they hold.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key or None)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Acceptor:
    """Accepts from a listening socket until it is closed. The socket itself stays the caller's."""

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
        """Begin to accept; `make` gives each connection its protocol."""
        loop = asyncio.get_running_loop()
        serve = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
        timeout = config.handshake_timeout if tls is not None else None
        by_libuv = type(loop).__module__.startswith("uvloop")  # asyncio's own loop takes all that there are
        door = cls([])
        try:
            for _ in range(A_TURN if by_libuv else 1):
                server = await serve(
                    make,
                    sock=sock.dup(),
                    backlog=config.backlog,
                    ssl=tls,
                    ssl_handshake_timeout=timeout,
                    start_serving=False,  # once it is known who has to close it
                )
                door._servers.append(server)
                await server.start_serving()
        except BaseException:
            door.close()
            raise
        return door

    def close(self) -> None:
        """Accept no more; what waits in the accept queue stays there."""
        for server in self._servers:
            server.close()
        self._servers.clear()
