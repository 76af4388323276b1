"""A crowd of cheap chat connections: hundreds in one process that note the offset of every message they get.

Where `workers.client` would take most of the machine, this reads frames with a few lines and keeps four bytes a
message. It neither reconnects nor forgives: a connection that is lost, or a gap, is for the test to find.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from array import array
from collections.abc import Callable, Iterable
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field

from tests.support import ws
from tests.support.wait import until_async


class Received(Struct):
    """As much of any message as is looked at."""

    type: str
    id: int | str | None = None
    room: str | None = None
    offset: int | None = None
    text: str | None = None
    rooms: list[dict[str, Any]] = field(default_factory=list)
    user: str | None = None


_decode = msgspec.json.Decoder(Received).decode


class Member(asyncio.Protocol):
    """One connection: says hello, records the messages it gets."""

    def __init__(self, crowd: Crowd, request: bytes, hello: bytes) -> None:
        self.crowd = crowd
        self.request, self.hello = request, hello
        self.offsets = array("L")  # of the messages, as they came
        self.acked: dict[str, int] = {}  # text to offset, of the connection's own messages
        self.others: list[Received] = []  # errors, gaps, resets, byes
        self.start = -1  # the room's top when it came in
        self.user = ""
        self.lost = False
        self.on_ack: Callable[[], None] | None = None
        self._said: dict[int, str] = {}
        self._rest = b""
        self._open = False

    # ---- towards the server ------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Say something in the room, with a key of its own."""
        number = len(self._said) + 1
        self._said[number] = text
        self.send({"type": "say", "id": number, "room": self.crowd.room, "text": text, "key": text})

    def send(self, value: Any) -> None:
        self.transport.write(ws.frame(ws.TEXT, json.dumps(value).encode()))

    @property
    def unanswered(self) -> int:
        return len(self._said) - len(self.acked)

    # ---- from the server ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self._open:
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = data
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._open, data = True, rest
            self.transport.write(self.hello)
        self._rest = data[self._read_frames(data) :]

    def _read_frames(self, data: bytes) -> int:
        """Handle every whole frame; how many bytes that took."""
        at, size = 0, len(data)
        while size - at >= 2:
            length, begin = data[at + 1], at + 2
            if length >= 126:
                width = 2 if length == 126 else 8
                begin += width
                length = int.from_bytes(data[at + 2 : begin], "big") if size >= begin else size
            if begin + length > size:
                break
            self._received(data[at] & 0x0F, data[begin : begin + length])
            at = begin + length
        return at

    def _received(self, opcode: int, payload: bytes) -> None:
        if opcode == ws.TEXT:
            self._heard(_decode(payload))
        elif opcode == ws.PING:
            self.transport.write(ws.frame(ws.PONG, payload))

    def _heard(self, message: Received) -> None:
        if message.type == "message" and message.room == self.crowd.room:
            assert message.offset is not None
            self.offsets.append(message.offset)
            self.crowd.compare(message.offset, message.text or "")
        elif message.type == "ack" and isinstance(message.id, int):
            self.acked[self._said[message.id]] = message.offset or 0
            if self.on_ack is not None:
                self.on_ack()
        elif message.type == "welcome":
            self.start = next(one["offset"] for one in message.rooms if one["room"] == self.crowd.room)
            self.user = message.user or ""
        elif message.type not in ("presence", "typing", "read"):
            self.others.append(message)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True


class Crowd:
    """Members of one room on one server."""

    def __init__(self, url: str, room: str) -> None:
        self.url, self.room = url, room
        self.members: list[Member] = []
        self.texts: dict[int, str] = {}  # the text at each offset, as the first receiver got it
        self.different = 0  # messages that another receiver got differently

    def compare(self, offset: int, text: str) -> None:
        if self.texts.setdefault(offset, text) != text:
            self.different += 1

    async def enter(self, count: int, at_once: int = 50) -> None:
        """So many more members, each welcomed."""
        for begin in range(0, count, at_once):
            fresh = await asyncio.gather(*(self._connect() for _ in range(min(at_once, count - begin))))
            self.members += fresh
            await until_async(lambda: all(one.start >= 0 for one in self.members), what="everyone is welcomed")

    async def _connect(self) -> Member:
        place = urlsplit(self.url)
        host, port = place.hostname, place.port
        assert host is not None
        assert port is not None
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ["GET / HTTP/1.1", f"Host: {place.netloc}", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
        hello = {"type": "hello", "rooms": [{"room": self.room}]}
        member = Member(self, "\r\n".join(lines).encode(), ws.frame(ws.TEXT, json.dumps(hello).encode()))
        await asyncio.get_running_loop().create_connection(lambda: member, host, port)
        return member

    async def say_all(self, senders: Iterable[Member], each: int, *, in_flight: int = 20, timeout: float = 60) -> None:
        """Every sender says so many messages, so many of them unanswered at a time; returns when all are acked."""
        them = list(senders)
        for number, member in enumerate(them):
            left = iter([f"{number}-{text}" for text in range(each)])

            def go_on(member: Member = member, left: Any = left) -> None:
                text = next(left, None)
                if text is not None:
                    member.say(text)

            member.on_ack = go_on
            for _ in range(min(in_flight, each)):
                go_on()
        wanted = each * len(them)
        await until_async(lambda: sum(len(one.acked) for one in them) == wanted, timeout, f"{wanted} acks")

    async def everyone_has(self, top: int, timeout: float = 60) -> None:
        """Wait until all members have got the message at `top`."""
        await until_async(lambda: all(one.offsets and one.offsets[-1] >= top for one in self.members), timeout)

    async def leave(self) -> None:
        """Cut all connections."""
        for member in self.members:
            member.transport.abort()
        await until_async(lambda: all(member.lost for member in self.members), what="all connections are gone")


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's: half the cost of asyncio's for so many connections."""
    import uvloop

    return uvloop.new_event_loop()
