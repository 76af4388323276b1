"""Members for tests of the rooms: real asyncio transports over socket pairs, and the far end that reads frames."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from typing import Any

_ids = itertools.count(1)


class Peer(asyncio.Protocol):
    """A member of rooms; `far` is the client's end of its connection."""

    def __init__(self, hub: Any, *, user: str = "", deflate: bool = False) -> None:
        self.hub = hub
        self.id = f"c{next(_ids)}"
        self.user = user
        self.deflate = deflate
        self.paused = False
        self.inside: tuple[Any, ...] = ()
        self.transport: Any = None
        self.cut_with: int | None = None
        self.joined: list[Any] = []
        self.failures: list[Any] = []
        self._received = bytearray()
        self._payloads: list[bytes] = []
        self._messages: list[dict[str, Any]] = []
        self.far: socket.socket

    @property
    def ws(self) -> Peer:
        return self

    @classmethod
    async def connect(cls, hub: Any, *, high_water: int = 1 << 20, buffer: int = 0, **options: Any) -> Peer:
        near, far = socket.socketpair()
        if buffer:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        near.setblocking(False)
        far.setblocking(False)
        peer = cls(hub, **options)
        peer.far = far
        peer.transport, _ = await asyncio.get_running_loop().create_connection(lambda: peer, sock=near)
        peer.transport.set_write_buffer_limits(high=high_water)
        return peer

    # ---- the server's side -------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self.paused = True
        self.hub.members.pause(self)

    def resume_writing(self) -> None:
        self.paused = False
        self.hub.members.resume(self)

    def cut(self, code: int) -> None:
        self.cut_with = code
        self.close()

    def close(self) -> None:
        self.hub.members.leave_all(self)
        self.transport.abort()
        self.far.close()

    async def join(self, *wanted: Any) -> list[Any]:
        """Join rooms: names, or (name, since). Raises the BusError that it failed with."""
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        pairs = [one if isinstance(one, tuple) else (one, None) for one in wanted]
        self.hub.members.join(self, pairs, done.set_result, done.set_exception)
        self.joined = await done
        return self.joined

    # ---- the client's side -------------------------------------------------------------------------

    async def has(self, room: str, count: int, *, within: float = 20.0) -> None:
        """Wait for so many messages of a room. Raises AssertionError after `within` seconds."""
        deadline = asyncio.get_running_loop().time() + within
        while len(self.offsets(room)) != count:
            assert asyncio.get_running_loop().time() < deadline, f"{len(self.offsets(room))} of {count} messages"
            await asyncio.sleep(0.005)

    def read_available(self) -> int:
        """Take what has come to the far end; the number of bytes."""
        taken = 0
        while True:
            try:
                data = self.far.recv(1 << 20)
            except BlockingIOError:
                return taken
            if not data:
                return taken
            self._received += data
            taken += len(data)

    def payloads(self) -> list[bytes]:
        """The payload of every whole frame so far."""
        self.read_available()
        data, at = self._received, 0
        while len(data) >= at + 2:
            size, head = data[at + 1], 2
            if size == 126:
                size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            elif size == 127:
                size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
            if len(data) < at + head + size:
                break
            self._payloads.append(bytes(data[at + head : at + head + size]))
            at += head + size
        del data[:at]
        return self._payloads

    def messages(self) -> list[dict[str, Any]]:
        payloads = self.payloads()
        self._messages += [json.loads(payload) for payload in payloads[len(self._messages) :]]
        return self._messages

    def offsets(self, room: str) -> list[int]:
        return [one["offset"] for one in self.messages() if one.get("room") == room and one["type"] == "message"]
