"""A client's transport on a real socket, with the other end in the test's hand."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from tests.workers.transport.serving import until
from workers.transport.poller import SocketPoller
from workers.transport.socket_transport import SocketTransport


class Recorder(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.told: list[str] = []
        self.lost: list[Exception | None] = []
        self.keeps_open = False
        self.on_data: Callable[[bytes], None] = lambda data: None

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.on_data(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.keeps_open

    def pause_writing(self) -> None:
        self.told.append("paused")

    def resume_writing(self) -> None:
        self.told.append("resumed")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.lost.append(exc)


class Pair:
    """A transport, and the plain socket at the other end."""

    def __init__(self, poller: SocketPoller) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.peer = socket.create_connection(listener.getsockname())
            sock, self.address = listener.accept()
        self.protocol = Recorder()
        self.transport = SocketTransport(poller, sock.detach(), self.protocol)
        self.transport.resume_reading()

    async def read(self, size: int) -> bytes:
        """So many bytes at the other end, or fewer if it ends before."""
        self.peer.setblocking(False)
        data = b""
        while len(data) < size:
            part = await asyncio.get_running_loop().sock_recv(self.peer, 1 << 20)
            if not part:
                break
            data += part
        return data

    def reset(self) -> None:
        """Let the peer end the connection with RST."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()


async def ended(pair: Pair) -> None:
    pair.transport.abort()
    await until(lambda: pair.protocol.lost)
