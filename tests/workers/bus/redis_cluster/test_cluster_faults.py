"""What happens to a cluster while a worker uses it: slots move, nodes die, freeze, come back, and are replaced.

Each test sends messages all the while, and at the end every log has every acknowledged message once and in order, and
the worker heard of each or can read it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from chatmaster.settings import Settings, Store
from chatmaster.store.layout import shard_of, slot_of
from tests.contract.conftest import Heard, until
from tests.support.cluster import ClusterNodeProcess, ClusterServer
from workers.bus.port import BusError, Change, Placed, Unavailable
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

    def __init__(self, cluster: ClusterServer, *, timeout: float = 3.0) -> None:
        self.heard = Heard()
        self.bus = ClusterBus(cluster.url, Settings(store=Store(url=cluster.url, timeout=timeout)), self.heard)
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

    async def start_one(cluster: ClusterServer, *, timeout: float = 3.0) -> Worker:
        worker = Worker(cluster, timeout=timeout)
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


def subscribed_since(worker: Worker, room: str, count: int) -> bool:
    return f"subscribed {room}" in worker.heard.events[count:]


def heard_more(worker: Worker, room: str, than: int) -> bool:
    return len(worker.heard.offsets(room)) > than


async def test_a_slot_that_moves_under_load_loses_nothing_and_keeps_the_order(cluster, start):
    worker = await start(cluster)
    room = ROOMS[0]
    slot = slot_of(shard_of(room))
    home = cluster.master_of(slot)
    away = next(node for node in cluster.masters if node is not home)
    worker.begin()
    for target in (away, home):  # there and back: the reign that comes back gets an alias
        await worker.flows()
        before = len(worker.heard.events)
        moving = asyncio.to_thread(cluster.move, slot, target, during=lambda: time.sleep(0.3))
        await moving
        await until(partial(subscribed_since, worker, room, before), within=20)
        await until(partial(heard_more, worker, room, len(worker.heard.offsets(room)) + 5), within=20)
    await worker.end()
    for one in ROOMS:
        assert await worker.failures(one) == []
    heard = worker.heard.offsets(room)
    assert heard == sorted(set(heard)), "heard twice or out of order"
    for other in ROOMS:
        if shard_of(other) != shard_of(room):
            assert worker.heard.offsets(other) == list(range(1, worker.sent[other] + 1)), "others hear everything live"
    state = (await worker.bus.read(room, after=0, limit=1, max_bytes=1)).state
    assert len(state.reigns) == 3 and len({reign.epoch for reign in state.reigns}) == 3


async def test_commands_of_one_key_are_asked_for_where_the_key_has_gone(cluster, start):
    worker = await start(cluster)
    room = next(one for one in ROOMS)
    slot = slot_of(shard_of(room))
    home = cluster.master_of(slot)
    away = next(node for node in cluster.masters if node is not home)
    done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    away.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", home.id)
    home.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", away.id)
    # A log that does not exist yet is at neither node: what concerns it waits until the slot has moved.
    worker.bus.publish(room, b'{"n":0}', form="j", author="ann", key="k", done=done.set_result)
    await asyncio.sleep(0.3)
    assert not done.done()
    for node in (away, home):
        node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", away.id)
    assert isinstance(await done, Placed)


async def test_a_node_that_is_away_makes_its_rooms_alone_unavailable_and_heals_alone(cluster, start):
    worker = await start(cluster, timeout=1.0)
    node = cluster.masters[1]
    theirs = rooms_of(cluster, node)
    others = [room for room in ROOMS if room not in theirs]
    assert theirs and others
    worker.begin()
    await worker.flows()
    node.kill()
    await until(lambda: any(isinstance(one, Unavailable) for room in theirs for one in worker.answers[room]), within=20)
    assert worker.bus.state == "ready" and worker.bus.why
    before = {room: len(worker.heard.offsets(room)) for room in others}
    await until(lambda: all(len(worker.heard.offsets(room)) > before[room] + 20 for room in others), within=20)
    node.start()
    marks = {room: len(worker.heard.offsets(room)) for room in theirs}
    await until(lambda: all(len(worker.heard.offsets(room)) > marks[room] + 5 for room in theirs), within=30)
    await worker.end()
    for room in others:
        assert await worker.failures(room) == [] and "disconnected" in worker.heard.events
        assert worker.heard.offsets(room) == list(range(1, worker.sent[room] + 1))
    for room in theirs:
        assert {type(one) for one in await worker.failures(room)} <= {Unavailable}
    await until(lambda: worker.bus.why == "")


async def test_a_node_that_stands_still_does_not_stop_the_others(cluster, start):
    worker = await start(cluster, timeout=1.0)
    node = cluster.masters[2]
    theirs = rooms_of(cluster, node)
    others = [room for room in ROOMS if room not in theirs]
    worker.begin()
    await worker.flows()
    node.freeze()
    await until(lambda: any(isinstance(one, Unavailable) for room in theirs for one in worker.answers[room]), within=20)
    node.thaw()
    marks = {room: len(worker.heard.offsets(room)) for room in theirs}
    await until(lambda: all(len(worker.heard.offsets(room)) > marks[room] + 5 for room in theirs), within=30)
    await worker.end()
    for room in others:
        assert await worker.failures(room) == []
    for room in theirs:
        await worker.failures(room)


async def test_a_replica_that_takes_over_is_found_and_counted_as_a_loss(replicated, start):
    worker = await start(replicated, timeout=8.0)
    node = replicated.masters[0]
    theirs = rooms_of(replicated, node)
    some = theirs[:2] + [room for room in ROOMS if room not in theirs][:2]
    worker.begin(some)
    await worker.flows(some)
    await worker.end()
    # WAIT counts what the same connection wrote; a write of its own comes behind all of theirs.
    own = f"{{{shard_of(theirs[0])}}}written"
    with node.client.pipeline(transaction=False) as pipeline:
        written = pipeline.set(own, 1).execute_command("WAIT", 1, 10_000).execute()
    assert written[-1] == 1, "what is acknowledged has reached the replica"
    worker.begin([room for room in ROOMS if room not in theirs][:2])
    node.kill()
    room = theirs[0]
    worker.publish(room)
    await worker.end()
    assert isinstance(worker.answers[room][-1], Placed), worker.answers[room][-1]
    await until(lambda: worker.bus.losses == 1, within=20)
    for one in ROOMS:
        assert await worker.failures(one) == []
    taken = replicated.master_of(slot_of(shard_of(room)))
    assert taken in replicated.nodes[3:]
    await until(lambda: worker.heard.offsets(room)[-1:] == [worker.sent[room]] or worker.bus.state == "ready")
    worker.publish(room)
    await until(lambda: worker.heard.offsets(room)[-1:] == [worker.sent[room]], within=20)


async def test_scripts_that_a_node_forgets_are_loaded_again(cluster, start):
    worker = await start(cluster)
    worker.begin()
    for _ in range(3):
        await worker.flows()
        for client in cluster.clients:
            client.script_flush()
    await worker.end()
    for room in ROOMS:
        assert await worker.failures(room) == []


@pytest.fixture(params=["sharded", "classic"])
def either(request: pytest.FixtureRequest, directory: Path) -> Iterator[ClusterServer]:
    """A cluster that knows sharded pub/sub, and one that does not, as before Redis 7."""
    before_7 = ("--rename-command", "SSUBSCRIBE", "", "--rename-command", "SPUBLISH", "")
    with ClusterServer(directory / "c", options=before_7 if request.param == "classic" else ()) as made:
        yield made


async def test_inboxes_notes_and_changes_work_as_on_one_store(either, start):
    one, two = await start(either), await start(either)
    users = [f"@user-{number}" for number in range(20)]
    two.heard.wanted.update(users)
    for inbox in users:
        two.bus.subscribe(inbox)
        placed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        one.bus.publish(inbox, b'{"n":1}', form="j", author="ann", done=placed.set_result)
        assert isinstance(await placed, Placed)
        changed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        change = Change("edit", 1)
        one.bus.publish(inbox, b'{"n":2}', form="j", author="ann", change=change, done=changed.set_result)
        assert isinstance(await changed, Placed)
        one.bus.publish_note(inbox, b"note")
    await until(lambda: len(two.heard.notes) == len(users))
    assert all(two.heard.offsets(inbox) == [1, 2] for inbox in users)
