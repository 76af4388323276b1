"""Clusters, and workers that publish to many rooms of them at a steady pace."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from chatmaster.settings import Settings, Store
from chatmaster.store.layout import shard_of, slot_of
from tests.contract.conftest import Heard, until
from tests.support.cluster import ClusterNodeProcess, ClusterServer
from workers.bus.port import BusError, Placed
from workers.bus.redis_cluster.cluster_bus import ClusterBus

ROOMS = [f"room-{number}" for number in range(24)]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Not pytest's: its names are long."""
    made = Path(tempfile.mkdtemp(prefix="cluster-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def cluster(directory: Path) -> Iterator[ClusterServer]:
    with ClusterServer(directory / "c") as made:
        yield made


@pytest.fixture
def replicated(directory: Path) -> Iterator[ClusterServer]:
    """Three masters with a replica each."""
    with ClusterServer(directory / "c", replicas=1) as made:
        yield made


class Worker:
    """A bus on a cluster, which publishes to all rooms at a steady pace."""

    def __init__(self, url: str, *, timeout: float = 3.0) -> None:
        self.heard = Heard()
        self.bus = ClusterBus(url, Settings(store=Store(url=url, timeout=timeout)), self.heard)
        self.sent: dict[str, int] = dict.fromkeys(ROOMS, 0)
        self.answers: dict[str, list[Placed | BusError]] = {room: [] for room in ROOMS}
        self._pace: asyncio.Task[None] | None = None

    def publish(self, room: str) -> None:
        number = self.sent[room]
        self.sent[room] += 1
        payload = b'{"n":%d}' % number
        self.bus.publish(room, payload, form="j", author="ann", key=f"{room} {number}", done=self.answers[room].append)

    def begin(self, rooms: list[str] = ROOMS) -> None:
        """Publish to these rooms from now on, a hundred times a second to each."""
        self._pace = asyncio.get_running_loop().create_task(self._publish(rooms))

    async def _publish(self, rooms: list[str]) -> None:
        while True:
            for room in rooms:
                self.publish(room)
            await asyncio.sleep(0.01)

    async def flows(self, rooms: list[str] = ROOMS) -> None:
        """Wait until some more of what is published to each of these rooms has come."""
        before = {room: len(self.heard.offsets(room)) for room in rooms}
        await until(lambda: all(len(self.heard.offsets(room)) > before[room] + 5 for room in rooms), within=20)

    async def end(self) -> None:
        """Publish no more, and wait for all answers."""
        assert self._pace is not None
        self._pace.cancel()
        await asyncio.gather(self._pace, return_exceptions=True)
        await until(lambda: all(len(self.answers[room]) == self.sent[room] for room in ROOMS), within=20)

    async def failures(self, room: str) -> list[BusError]:
        """Publish what failed again, under the same keys, and check the room's log; returns what had failed."""
        failed = [at for at, one in enumerate(self.answers[room]) if isinstance(one, BusError)]
        for at in failed:
            again: asyncio.Future[Placed | BusError] = asyncio.get_running_loop().create_future()
            self.bus.publish(room, b'{"n":%d}' % at, form="j", author="ann", key=f"{room} {at}", done=again.set_result)
            assert isinstance(await again, Placed)
        read: list[bytes] = []
        while len(read) < self.sent[room]:
            page = await self.bus.read(room, after=len(read), limit=1000, max_bytes=1 << 20)
            assert page.entries, f"{room} ends after {len(read)} of {self.sent[room]}"
            read += [entry.payload for entry in page.entries]
        first = [b'{"n":%d}' % at for at in range(self.sent[room]) if at not in failed]
        assert [one for one in read if one in set(first)] == first, "out of order"
        assert sorted(read) == sorted(b'{"n":%d}' % at for at in range(self.sent[room])), "missing or doubled"
        return [one for one in self.answers[room] if isinstance(one, BusError)]


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Worker]]]:
    """Starts workers, which follow all rooms."""
    made: list[Worker] = []

    async def start_one(cluster: ClusterServer, *, timeout: float = 3.0, url: str = "") -> Worker:
        worker = Worker(url or cluster.url, timeout=timeout)
        made.append(worker)
        worker.bus.start()
        await worker.bus.ready(20)
        for room in ROOMS:
            worker.bus.subscribe(room)
        await until(lambda: len(worker.heard.events) == len(ROOMS))
        return worker

    yield start_one
    for worker in made:
        await worker.bus.stop()


def rooms_of(cluster: ClusterServer, node: ClusterNodeProcess) -> list[str]:
    """The rooms that a node has."""
    return [room for room in ROOMS if node.owns(slot_of(shard_of(room)))]


def nodes_of(worker: Worker) -> set[tuple[str, int]]:
    """The addresses of the nodes that have shards, as the worker calls them."""
    return {address for address, node in worker.bus._nodes.items() if node.shards}


def subscribed_since(worker: Worker, room: str, count: int) -> bool:
    return f"subscribed {room}" in worker.heard.events[count:]


def heard_more(worker: Worker, room: str, than: int) -> bool:
    return len(worker.heard.offsets(room)) > than
