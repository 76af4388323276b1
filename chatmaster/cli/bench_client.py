"""The connections of `chatctl bench`, and the functions that both loads measure with.

A connection implements only the part of WebSocket and of the chat's protocol that the load needs.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, Self, TypeVar, cast

from chatmaster.addresses import Address
from chatmaster.runtime import proc

AT_ONCE: Final = 32  # connections that are being opened at a time
OPEN_TIMEOUT: Final = 20.0  # seconds for all connections to open

_PROTOCOL: Final = "chat.v1.json"
_TEXT: Final = b'"text":"bench '
_TEXT_OP, _BINARY_OP, _CLOSE_OP, _PING_OP = 1, 2, 8, 9


class ConnectRefused(Exception):
    """The server refused or closed the connection; `code` is the error or close code."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}" if reason else code)
        self.code = code


class NotTheChat(Exception):
    """The server runs another application: it did not select the chat's subprotocol."""


class EchoObserver(Protocol):
    """Receives what a connection of the chat receives."""

    def on_message(self, mark: bytes) -> None:
        """A message of the load arrived."""

    def on_refused(self, mark: bytes) -> None:
        """The server refused a message of the load."""


class BenchPeer(asyncio.Protocol):
    """A client of the chat, created by `open`."""

    transport: asyncio.Transport
    subprotocol = _PROTOCOL

    def __init__(self, address: Address, room: str, token: str, observer: EchoObserver) -> None:
        self.address = address
        self.welcome: dict[str, Any] = {}
        self.lost = False
        self._room, self._token = room, token
        self._observer = observer
        self._data = b""
        self._shaken = self._closing = False
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, address: Address, room: str, token: str, observer: EchoObserver) -> Self:
        """Connect and join the room. Raises OSError, ConnectRefused, NotTheChat."""
        loop = asyncio.get_running_loop()
        peer = cls(address, room, token, observer)
        if address.is_unix:
            await loop.create_unix_connection(lambda: peer, address.path)
        else:
            await loop.create_connection(lambda: peer, _reachable(address.host), address.port)
        await peer._ready
        return peer

    def say(self, mark: bytes) -> None:
        """Send a message that contains `mark`; an error names `mark` as its id."""
        self._send(b'{"type":"say","id":"%b","room":"%b","text":"bench %b"}' % (mark, self._room.encode(), mark))

    def close(self) -> None:
        self._closing = True
        self.transport.write(_frame(_CLOSE_OP, struct.pack("!H", 1000)))
        self.transport.close()

    # ---- asyncio -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        host = "localhost" if self.address.is_unix else f"{_reachable(self.address.host)}:{self.address.port}"
        lines = ["GET / HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]
        lines += [f"Sec-WebSocket-Protocol: {self.subprotocol}"] if self.subprotocol else []
        self.transport.write("\r\n".join([*lines, "", ""]).encode())

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._shaken and not self._shake():
            return
        at, size = 0, len(self._data)
        while (found := _next_frame(self._data, at, size)) is not None:
            start, end = found
            self._frame(self._data[at] & 0x0F, self._data[start:end])
            at = end
        self._data = self._data[at:]

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = not self._closing
        self._give_up(ConnectRefused("the connection was lost", str(error or "")))

    # ---- receiving ---------------------------------------------------------------------------------

    def _shake(self) -> bool:
        head, end, rest = self._data.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            self._give_up(ConnectRefused(head.split(b"\r\n")[0].decode("latin-1"), ""))
            self.transport.abort()
            return False
        self._shaken, self._data = True, rest
        return self._greet(head)

    def _greet(self, head: bytes) -> bool:
        """Send the chat's hello. Returns False if the server is not the chat."""
        if f"sec-websocket-protocol: {_PROTOCOL}".encode() not in head.lower():
            self._give_up(NotTheChat())
            self.transport.abort()
            return False
        hello = {"type": "hello", "rooms": [{"room": self._room}], **({"token": self._token} if self._token else {})}
        self._send(json.dumps(hello).encode())
        return True

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode in (_TEXT_OP, _BINARY_OP):
            self._message(payload)
        elif opcode == _PING_OP:
            self.transport.write(_frame(10, payload))
        elif opcode == _CLOSE_OP:
            code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
            self._give_up(ConnectRefused(str(code), payload[2:].decode(errors="replace")))

    def _message(self, payload: bytes) -> None:
        at = payload.find(_TEXT)
        if at >= 0:
            start = at + len(_TEXT)
            self._observer.on_message(payload[start : payload.index(b'"', start)])
        elif b'"type":"error"' in payload:
            error = json.loads(payload)
            if self._ready.done():
                self._observer.on_refused(str(error.get("id", "")).encode())
            self._give_up(ConnectRefused(error.get("code", "error"), error.get("message", "")))
        elif not self._ready.done() and b'"type":"welcome"' in payload:
            self.welcome = json.loads(payload)
            self._ready.set_result(None)

    def _give_up(self, why: ConnectRefused | NotTheChat) -> None:
        if not self._ready.done():
            self._ready.set_exception(why)

    def _send(self, payload: bytes) -> None:
        self.transport.write(_frame(_TEXT_OP, payload))


Peer = TypeVar("Peer", bound=BenchPeer)


async def open_all(count: int, open_one: Callable[[], Awaitable[Peer]]) -> list[Peer]:
    """Open `count` connections, AT_ONCE of them at a time.

    The first one is opened alone: what the server refuses to that one, it would refuse to all.
    Raises TimeoutError after OPEN_TIMEOUT seconds, and whatever `open_one` raises.
    """
    gate = asyncio.Semaphore(AT_ONCE)

    async def wait_and_open() -> Peer:
        async with gate:
            return await open_one()

    async with asyncio.timeout(OPEN_TIMEOUT):
        return [await open_one(), *await asyncio.gather(*(wait_and_open() for _ in range(count - 1)))]


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of processes, in seconds; 0 for a process that has ended."""
    return sum(proc.cpu_seconds(pid) for pid in pids)


def quantile(ages: Sequence[int], part: float) -> float | None:
    """The quantile `part` (0 to 1) of sorted ages in nanoseconds, in milliseconds; None without ages."""
    return round(ages[min(int(len(ages) * part), len(ages) - 1)] / 1e6, 3) if ages else None


def _reachable(host: str) -> str:
    """The host that a client on this machine connects to, for a host that the server listens on."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame (RFC 6455, section 5.2)."""
    size = len(payload)
    head = bytes((0x80 | opcode, 0x80 | size)) if size < 126 else struct.pack("!BBH", 0x80 | opcode, 0xFE, size)
    mask = os.urandom(4)
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def _next_frame(data: bytes, at: int, size: int) -> tuple[int, int] | None:
    """Start and end of the payload of the frame at `at`; None while the frame is incomplete."""
    if size - at < 2:
        return None
    length, start = data[at + 1] & 0x7F, at + 2
    if length >= 126:
        width = 2 if length == 126 else 8
        length, start = int.from_bytes(data[start : start + width], "big"), start + width
    return (start, start + length) if start + length <= size else None
