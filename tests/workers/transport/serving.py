"""An endpoint with an application that records and echoes, and a raw client: what the transport's tests share."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from websockets.frames import Frame, Opcode
from wsproto.frame_protocol import Frame as WsprotoFrame
from wsproto.frame_protocol import FrameProtocol

from workers.transport.config import EndpointConfig
from workers.transport.endpoint import Endpoint

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


async def until(condition: Callable[[], object], deadline: float = 5.0) -> None:
    """Wait until the condition holds. Fails after `deadline` seconds."""
    end = asyncio.get_running_loop().time() + deadline
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it did not happen in time"
        await asyncio.sleep(0.002)


class Seen:
    """The owner of one connection: what the transport told it, in order."""

    def __init__(self, ws, app) -> None:
        self.ws = ws
        self.app = app
        self.messages: list[str | bytes] = []
        self.closes: list[tuple[int, str]] = []
        self.flow: list[str] = []

    def on_message(self, data: str | bytes) -> None:
        assert not self.closes, "received after closed"
        self.messages.append(data)
        self.app.on_message(self, data)

    def on_close(self, code: int, reason: str) -> None:
        self.closes.append((code, reason))

    def has(self, count: int) -> bool:
        """Whether so many messages came."""
        return len(self.messages) == count

    async def ended(self) -> None:
        """Wait until `closed` was called."""
        await until(lambda: self.closes)

    def on_write_paused(self) -> None:
        self.flow.append("paused")

    def on_write_resumed(self) -> None:
        self.flow.append("resumed")


class App:
    """Keeps an owner for each connection that was opened, and echoes."""

    def __init__(self, on_message=None) -> None:
        self.seen: list[Seen] = []
        self.on_message = on_message or (lambda seen, data: seen.ws.send(data))

    def on_open(self, ws) -> Seen:
        self.seen.append(Seen(ws, self))
        return self.seen[-1]


class Served:
    """A running endpoint."""

    def __init__(self, endpoint: Endpoint, app: App, listener: socket.socket) -> None:
        self.endpoint = endpoint
        self.app = app
        self.listener = listener
        self.peers: list[Peer] = []

    @classmethod
    async def start(cls, *, app=None, http=None, tls=None, descriptors=None, listener=None, **config) -> "Served":
        app = app or App()
        listener = listener or socket.create_server(("127.0.0.1", 0), backlog=128)
        endpoint = Endpoint(EndpointConfig(**config), app, http, tls=tls, descriptors=descriptors)
        await endpoint.listen(listener)
        return cls(endpoint, app, listener)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    async def close(self) -> None:
        self.endpoint.close()
        with suppress(AssertionError):
            await until(lambda: self.endpoint.shared.descriptors.used == 0, 2)
        for peer in self.peers:
            peer.writer.transport.abort()
        self.listener.close()
        await asyncio.sleep(0)  # lets the aborted transports close their sockets

    async def connect(self, source: str = "127.0.0.1") -> "Peer":
        connecting = asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
        self.peers.append(Peer(*await connecting))
        return self.peers[-1]

    async def open(self, *headers: str, path: str = "/", source: str = "127.0.0.1") -> "Peer":
        """A peer whose handshake is done."""
        peer = await self.connect(source)
        peer.write(upgrade(*headers, path=path))
        await peer.accepted()
        return peer


def upgrade(*headers: str, path: str = "/", host: str = "localhost", key: str = KEY) -> bytes:
    """The request of a client that wants a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "\r\n".join((*lines, "", "")).encode()


def frame(opcode: Opcode | int, data: bytes = b"", *, fin: bool = True, mask: bool = True) -> bytes:
    """A frame as a client sends it."""
    return Frame(Opcode(opcode), data, fin).serialize(mask=mask)


def text(message: str) -> bytes:
    return frame(Opcode.TEXT, message.encode())


class Peer:
    """The client's end of a connection: raw bytes out, and frames read by wsproto, an independent parser."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.headers = ""
        self._frames: list[WsprotoFrame] = []
        self._parser = FrameProtocol(client=True, extensions=[])

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self) -> tuple[int, str]:
        """Status and header block."""
        block = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        self.headers = block.decode()
        return int(self.headers.split(" ")[1]), self.headers

    async def accepted(self) -> str:
        status, headers = await self.response()
        assert status == 101, headers
        return headers

    async def refused(self) -> int:
        """The status of a response that ends the connection."""
        status, _ = await self.response()
        await self.rest()
        return status

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        return await asyncio.wait_for(self.reader.read(-1), 20)

    async def next(self) -> WsprotoFrame:
        """The next frame or part of one."""
        while not self._frames:
            data = await asyncio.wait_for(self.reader.read(65536), 20)
            assert data, "closed without a Close frame"
            self._parser.receive_bytes(data)
            self._frames.extend(self._parser.received_frames())
        return self._frames.pop(0)

    async def message(self) -> Any:
        """The next whole data message."""
        part = await self.next()
        whole: Any = part.payload
        while not part.message_finished:
            part = await self.next()
            whole += part.payload
        return whole

    async def close_code(self) -> int:
        """The code of the next frame, which must be a Close; then the server must end the connection."""
        received = await self.next()
        assert int(received.opcode) == 8, received
        return int(received.payload[0])

    async def closed_with(self) -> int:
        code = await self.close_code()
        assert await self.rest() == b""
        self.writer.close()
        return code
