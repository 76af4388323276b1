"""What a bare fan-out costs here: one process, uvloop, no store, no JSON, no order, no acks, no limits.

Run as ``python -m chatmaster.cli.bench_floor PORT``; of port 0 the line on standard output says which one it became.
`chatctl bench` and the benchmark of the tests measure a server beside this. A machine's `send` may cost 2 µs or 10, and
is most of what a delivery costs: how far a server is from the floor of the same run says more than its microseconds.
What one turn of the loop brings leaves by one write a connection and room, as it does in chatmaster; who waits for more
before it writes may cost less. A connection is in the room that its hello names first, and speaks to that one.
Compressed messages are passed on as they came: nothing here inflates or deflates.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import signal
import sys
from collections import defaultdict
from typing import cast

import uvloop

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_DEFLATE = b"permessage-deflate; client_no_context_takeover; server_no_context_takeover"  # what the load offers
_PROTOCOL = b"Sec-WebSocket-Protocol: chat.v1.json"
_TEXT, _COMPRESSED_TEXT = 0x81, 0xC1
_WELCOME = b"\x81\x12" + b'{"type":"welcome"}'


class FloorRoom:
    """Who is in it, and what this turn of the loop has brought for them."""

    def __init__(self) -> None:
        self.transports: dict[FloorConnection, asyncio.Transport] = {}
        self.batch: list[bytes] = []

    def say(self, message: bytes) -> None:
        if not self.batch:
            asyncio.get_running_loop().call_soon(self.flush)
        self.batch.append(message)

    def flush(self) -> None:
        data, self.batch = b"".join(self.batch), []
        for transport in self.transports.values():
            transport.write(data)


class FloorConnection(asyncio.Protocol):
    """Understands the benchmarks' own loads: one frame a message, below 64 KiB."""

    def __init__(self, rooms: defaultdict[bytes, FloorRoom]) -> None:
        self.rooms = rooms
        self.room: FloorRoom | None = None  # until its hello
        self.received = b""
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.room is not None:
            del self.room.transports[self]

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.open and not self.shake_hands():
            return
        while len(self.received) >= 2:
            size, at = self.received[1] & 0x7F, 2
            if size == 126:
                size, at = int.from_bytes(self.received[2:4]), 4
            if len(self.received) < at + 4 + size:
                return
            head, mask = self.received[:at], self.received[at : at + 4]
            payload = _unmasked(self.received[at + 4 : at + 4 + size], mask)
            self.received = self.received[at + 4 + size :]
            self.received_frame(bytes((head[0], head[1] & 0x7F)) + head[2:] + payload)

    def shake_hands(self) -> bool:
        head, end, rest = self.received.partition(b"\r\n\r\n")
        found = re.search(rb"Sec-WebSocket-Key: (\S+)", head) if end else None
        if found is None:
            return False
        accept = base64.b64encode(hashlib.sha1(found[1] + _GUID).digest())
        answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        if _PROTOCOL in head:
            answer += _PROTOCOL + b"\r\n"
        if _DEFLATE in head:
            answer += b"Sec-WebSocket-Extensions: " + _DEFLATE + b"\r\n"
        self.transport.write(answer + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        self.open, self.received = True, rest
        return True

    def received_frame(self, frame: bytes) -> None:
        if self.room is None:
            self.join(frame)
        elif frame[0] in (_TEXT, _COMPRESSED_TEXT):
            self.room.say(frame)

    def join(self, hello: bytes) -> None:
        found = re.search(rb'"room": ?"([^"]*)"', hello)
        if found is None:
            return self.transport.abort()
        self.room = self.rooms[found[1]]
        self.room.transports[self] = self.transport
        self.transport.write(_WELCOME)


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """The payload of a client's frame (RFC 6455, section 5.3); a mask of zero changes nothing."""
    if not any(mask):
        return payload
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


async def run(port: int) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    rooms: defaultdict[bytes, FloorRoom] = defaultdict(FloorRoom)
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(lambda: FloorConnection(rooms), "127.0.0.1", port, backlog=4096)
    if not port:
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
    await ended.wait()


if __name__ == "__main__":
    uvloop.run(run(int(sys.argv[1])))
