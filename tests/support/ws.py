"""WebSocket clients for tests: `RawSocket` can send any bytes, right or wrong; `ChatSocket` speaks the chat's JSON.

Both are plain asyncio streams, so that what is on the wire is what the test wrote. Every wait has a deadline.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

TIMEOUT = 10.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class Closed(Exception):
    """The server ended the connection: with a close frame (`code`), or without one (1006)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The answer to the handshake was not 101."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        super().__init__(f"HTTP {status}: {body[:200]!r}")
        self.status = status
        self.headers = headers
        self.body = body


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it came."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True, length: int | None = None
) -> bytes:
    """A client's frame. `length` overrides what the header claims, and then it takes eight bytes."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload) if length is None else length
    mark = 0x80 if masked else 0
    if size < 126 and length is None:
        head = struct.pack("!BB", first, mark | size)
    elif size < 65_536 and length is None:
        head = struct.pack("!BBH", first, mark | 126, size)
    else:
        head = struct.pack("!BBQ", first, mark | 127, size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    stream = (mask * (len(payload) // 4 + 1))[: len(payload)]
    hidden = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + mask + hidden.to_bytes(len(payload), "big")


class RawSocket:
    """A connection that is a WebSocket after `open`; before it, `dial` gives a bare TCP one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.headers: dict[str, str] = {}  # of the server's answer, names in lower case

    @classmethod
    async def dial(cls, url: str, *, receive_buffer: int = 0, source: str = "") -> Self:
        """Connect only. `receive_buffer` bytes make a reader that the kernel buffers little for."""
        place = urlsplit(url)
        sock = socket.socket()
        try:
            sock.setblocking(False)
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                sock.bind((source, 0))
            loop = asyncio.get_running_loop()
            await asyncio.wait_for(loop.sock_connect(sock, (place.hostname, place.port)), TIMEOUT)
        except BaseException:
            sock.close()
            raise
        limit = receive_buffer or 2**16
        reader, writer = await asyncio.open_connection(sock=sock, limit=limit)
        return cls(reader, writer)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: Iterable[str] = (),
        receive_buffer: int = 0,
        source: str = "",
    ) -> Self:
        """Connect and shake hands. Raises Refused."""
        self = await cls.dial(url, receive_buffer=receive_buffer, source=source)
        try:
            await self.shake_hands(url, headers or {}, tuple(subprotocols))
        except BaseException:
            self.abort()
            raise
        return self

    async def shake_hands(self, url: str, headers: Mapping[str, str], subprotocols: tuple[str, ...]) -> None:
        place = urlsplit(url)
        key = base64.b64encode(os.urandom(16)).decode()
        path = (place.path or "/") + (f"?{place.query}" if place.query else "")
        lines = [f"GET {path} HTTP/1.1", f"Host: {place.netloc}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        lines += [f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}"] if subprotocols else []
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.send_bytes("\r\n".join([*lines, "", ""]).encode())
        status, self.headers = await self.read_head()
        if status != 101:
            raise Refused(status, self.headers, await asyncio.wait_for(self.reader.read(), TIMEOUT))
        expected = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
        assert self.headers["sec-websocket-accept"] == expected

    async def read_head(self, timeout: float = TIMEOUT) -> tuple[int, dict[str, str]]:
        """The status line and headers of an HTTP answer. Raises Closed where none came."""
        try:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), timeout)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Closed(1006, f"no answer to the handshake: {error}") from None
        first, *rest = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        fields = (line.split(":", 1) for line in rest)
        return int(first.split()[1]), {name.strip().lower(): value.strip() for name, value in fields}

    def send_bytes(self, data: bytes) -> None:
        """Any bytes, as they are."""
        self.writer.write(data)

    def send_frame(self, opcode: int, payload: bytes = b"", **how: Any) -> None:
        self.writer.write(frame(opcode, payload, **how))

    def send_text(self, text: str) -> None:
        self.writer.write(frame(TEXT, text.encode()))

    async def drain(self, timeout: float = TIMEOUT) -> None:
        """Wait until the kernel has taken all sent data."""
        await asyncio.wait_for(self.writer.drain(), timeout)

    async def read_frame(self, timeout: float = TIMEOUT) -> Frame:
        """The next frame of any kind. Raises Closed where the connection ends instead."""
        async with asyncio.timeout(timeout):
            try:
                return await self._read_frame()
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise Closed(1006, str(error)) from None

    async def _read_frame(self) -> Frame:
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        assert not second & 0x80, "a server's frame must not be masked"
        payload = await self.reader.readexactly(size)
        return Frame(first & 0x0F, payload, bool(first & 0x80), first >> 4 & 7)

    async def read_message(self, timeout: float = TIMEOUT) -> str | bytes:
        """The next whole message; pings are answered meanwhile. Raises Closed."""
        parts: list[Frame] = []
        async with asyncio.timeout(timeout):
            while True:
                got = await self.read_frame(timeout)
                if got.opcode == PING:
                    self.send_frame(PONG, got.payload)
                elif got.opcode == CLOSE:
                    self.send_frame(CLOSE, got.payload[:2])
                    raise Closed(*_close_of(got.payload))
                elif got.opcode != PONG:
                    parts.append(got)
                    if got.fin:
                        break
        whole = b"".join(part.payload for part in parts)
        return whole.decode() if parts[0].opcode == TEXT else whole

    async def wait_closed(self, timeout: float = TIMEOUT) -> Closed:
        """Read until the server ends it, and return how."""
        async with asyncio.timeout(timeout):
            while True:
                try:
                    await self.read_message(timeout)
                except Closed as closed:
                    return closed

    async def close(self, code: int = 1000, timeout: float = TIMEOUT) -> Closed:
        """The closing handshake; returns the server's answer."""
        self.send_frame(CLOSE, struct.pack("!H", code))
        try:
            return await self.wait_closed(timeout)
        finally:
            self.abort()

    def abort(self) -> None:
        """Cut the connection without a word."""
        self.writer.transport.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class ChatSocket(RawSocket):
    """A client of the chat that does nothing by itself: the test says and reads every message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.passed: list[dict[str, Any]] = []  # messages that `expect` read and did not want
        self._before: list[dict[str, Any]] = []  # messages before the answer to the last `ask`
        self.welcome: dict[str, Any] = {}

    @classmethod
    async def enter(cls, url: str, *rooms: str, name: str = "", token: str = "", **how: Any) -> Self:
        """Connect, say hello with these rooms, and wait for the welcome."""
        self = await cls.open(url, **how)
        optional = {"name": name, "token": token}
        hello = {"type": "hello", "rooms": [{"room": room} for room in rooms]}
        try:
            self.send_json({**hello, **{key: value for key, value in optional.items() if value}})
            self.welcome = await self.expect("welcome")
        except BaseException:
            self.abort()
            raise
        return self

    @property
    def user(self) -> str:
        return str(self.welcome["user"])

    def send_json(self, value: Any) -> None:
        self.send_text(value if isinstance(value, str) else json.dumps(value))

    async def receive_json(self, timeout: float = TIMEOUT) -> dict[str, Any]:
        """The very next message. Raises Closed."""
        value = json.loads(await self.read_message(timeout))
        assert isinstance(value, dict)
        return value

    async def expect(self, kind: str, timeout: float = TIMEOUT, **fields: Any) -> dict[str, Any]:
        """The next message of this type with these fields; what comes before it is kept in `passed`.

        One that came before the answer to an `ask` is found, too: an answer and a message may come in any order.
        """
        before, self._before = self._before, []
        for at, message in enumerate(before):
            if _is(message, kind, fields):
                self._before = before[at + 1 :]
                return message
        try:
            async with asyncio.timeout(timeout):
                while True:
                    message = await self.receive_json(timeout)
                    if _is(message, kind, fields):
                        return message
                    self.passed.append(message)
        except (TimeoutError, Closed) as error:
            raise AssertionError(f"no {kind} {fields or ''}: {error!r}; read so far: {self.passed[-5:]}") from error

    async def ask(self, timeout: float = TIMEOUT, **request: Any) -> dict[str, Any]:
        """Send a request and return the message that carries its id."""
        number = f"t{os.urandom(4).hex()}"
        self.send_json({**request, "id": number})
        self._before = []
        async with asyncio.timeout(timeout):
            while True:
                message = await self.receive_json(timeout)
                if message.get("id") == number:
                    return message
                self.passed.append(message)
                self._before.append(message)


def _is(message: dict[str, Any], kind: str, fields: dict[str, Any]) -> bool:
    return message.get("type") == kind and all(message.get(name) == value for name, value in fields.items())


def _close_of(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame; 1005: it had none (RFC 6455, section 7.1.5)."""
    if len(payload) < 2:
        return 1005, ""
    return struct.unpack("!H", payload[:2])[0], payload[2:].decode(errors="replace")
