"""A real run of what `reconnect.py` simulates: a host dies, and its clients come back to another one.

The clients are bare sockets with the real back-off (`ReconnectPolicy`); the host that takes them has a core of its own,
and what a newcomer costs it is measured in the same run, before.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import cast

import uvloop
from msgspec import Struct

from tests.bench import measure
from tests.bench.load_members import frame
from tests.bench.servers import pinned
from tests.sizing.cost import hosts_on, stores
from tests.support import processes
from tests.support.server import Chatmaster
from workers.client.reconnect import LOST, End, ReconnectPolicy

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MEMBERS = 12


class Measured(Struct, frozen=True):
    """How it went, beside what a newcomer cost meanwhile: seconds of CPU."""

    back_after: list[float]
    server_newcomer: float
    store_newcomer: float


class Crowd:
    """Clients that come back to the ports in `ports`, until all are welcome."""

    def __init__(self, count: int, seed: int) -> None:
        self.ports: list[int] = []
        self.lost_at = 0.0
        self.back_after: list[float] = []
        self.welcome = 0
        chance = random.Random(seed)
        self.clients = [
            Client(self, number, ReconnectPolicy(chance.random, renewable=False)) for number in range(count)
        ]

    async def all_welcome(self, seconds: float = 60.0) -> None:
        """Wait until everybody is in, after the loss once more. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while self.welcome < len(self.clients) or (self.lost_at and len(self.back_after) < len(self.clients)):
                await asyncio.sleep(0.01)

    def close(self) -> None:
        """End all connections; nobody comes back."""
        self.ports = []
        for client in self.clients:
            if client.transport is not None:
                client.transport.abort()


class Client(asyncio.Protocol):
    """One person."""

    def __init__(self, crowd: Crowd, number: int, policy: ReconnectPolicy) -> None:
        self._crowd, self._number, self._policy = crowd, number, policy
        self.transport: asyncio.Transport | None = None
        self._received, self._shaken, self._inside = b"", False, False
        self._loop = asyncio.get_running_loop()
        self._connecting: asyncio.Task[None] | None = None

    def connect(self) -> None:
        """Try once."""
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        if not self._crowd.ports:
            return
        try:
            await self._loop.create_connection(lambda: self, "127.0.0.1", self._crowd.ports[0])
        except OSError:
            self._come_back()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._received, self._shaken = b"", False
        if self._crowd.ports:
            self.transport.write(REQUEST % self._crowd.ports[0])
        else:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._inside:
            return
        self._received += data
        if not self._shaken and b"\r\n\r\n" in self._received:
            self._shaken = True
            hello = b'{"type":"hello","rooms":[{"room":"r%d"}]}' % (self._number // MEMBERS)
            assert self.transport is not None
            self.transport.write(frame(hello))
        if b'"welcome"' in self._received:
            self._inside, self._received = True, b""
            self._crowd.welcome += 1
            if self._crowd.lost_at:
                self._crowd.back_after.append(time.monotonic() - self._crowd.lost_at)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self._come_back()

    def _come_back(self) -> None:
        if not self._crowd.ports:
            return
        wait = self._policy.after(End(LOST, answered=self._inside))
        if self._inside:
            self._crowd.welcome -= 1
        self._inside = False
        if wait is not None:
            self._loop.call_later(wait, self.connect)


def run(people: int, seed: int = 1) -> Measured:
    """Let a host die under so many people. Takes two cores, and about ten seconds for 2,000."""
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        with pinned(cores[-1:]):
            store = stack.enter_context(stores(1))
        with pinned(cores[:1]):
            one, other = stack.enter_context(hosts_on(store.url, 2))
        with pinned(cores[-1:]), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_play(people, seed, one, other, lambda: store.cpu))


async def _play(people: int, seed: int, one: Chatmaster, other: Chatmaster, store_cpu: Callable[[], float]) -> Measured:
    crowd = Crowd(people, seed)
    try:
        crowd.ports = [one.port]
        for client in crowd.clients:
            client.connect()
        await crowd.all_welcome()
        await asyncio.sleep(1.0)
        before = measure.cpu_seconds(other.pid), store_cpu()
        crowd.ports = [other.port]
        crowd.lost_at = time.monotonic()
        for pid in processes.tree(one.pid):
            os.kill(pid, signal.SIGKILL)
        await crowd.all_welcome()
        await asyncio.sleep(0.5)
        server, store = measure.cpu_seconds(other.pid) - before[0], store_cpu() - before[1]
        return Measured(sorted(crowd.back_after), server / people, store / people)
    finally:
        crowd.close()
