"""A slot that is half moved, a map that is out of date, a node that became a replica, a cluster without a majority."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import TryAgainError

from chatmaster.store import layout
from chatmaster.store.layout import shard_of, slot_of
from tests.contract.conftest import until
from tests.support.cluster import ClusterNodeProcess, ClusterServer
from tests.workers.bus.redis_cluster.conftest import ROOMS, Worker, nodes_of
from workers.bus.port import Change, Placed, Unavailable
from workers.bus.script import Script

GET = Script("get", "return redis.call('GET', KEYS[1])")
GET_TWO = Script("get_two", "return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])}")


@pytest.fixture(scope="module")
def shared() -> Iterator[ClusterServer]:
    """Three masters with a replica each, which the tests of this file share: each leaves it whole."""
    directory = Path(tempfile.mkdtemp(prefix="cluster-"))
    with ClusterServer(directory / "c", replicas=1) as made:
        yield made
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def cluster(shared: ClusterServer) -> ClusterServer:
    """The same, empty."""
    for node in shared.nodes:
        if is_master(node):
            node.client.flushall()
    return shared


@contextmanager
def half_moved(
    cluster: ClusterServer, room: str
) -> Iterator[tuple[ClusterNodeProcess, ClusterNodeProcess, Callable[[str], None]]]:
    """The slot of a room is being moved: from, to, and what moves a key. At the end it has moved."""
    slot = slot_of(shard_of(room))
    home = cluster.master_of(slot)
    away = next(node for node in cluster.nodes if node is not home and is_master(node))
    away.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", home.id)
    home.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", away.id)

    def carry(key: str) -> None:
        home.client.execute_command("MIGRATE", *away.address, key, 0, 5000)

    try:
        yield home, away, carry
    finally:
        for key in home.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            carry(key)
        for node in (away, home):
            node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", away.id)


def is_master(node: ClusterNodeProcess) -> bool:
    return bool(node.client.info("replication")["role"] == "master")


async def test_what_is_asked_of_a_slot_half_moved_is_answered_where_the_keys_are(cluster, start):
    worker: Worker = await start(cluster)
    get, get_two = worker.bus.script(GET), worker.bus.script(GET_TWO)
    room = ROOMS[0]
    one, two, none = layout.keys("chat", room, "one", "two", "none")
    client = cluster.master_of(slot_of(shard_of(room))).client
    client.mset({one: 1, two: 2})
    with half_moved(cluster, room) as (home, _, carry):
        assert await worker.bus.call_read(get_two, [one, two], []) == [b"1", b"2"]
        carry(one)
        assert await worker.bus.call_read(get, [one], []) == b"1", "asked for at the node that has it by now"
        assert await worker.bus.call_read(get, [two], []) == b"2", "and at the one that has it still"
        assert await worker.bus.call_read(get, [none], []) is None
        both = asyncio.ensure_future(worker.bus.call_read(get_two, [one, two], []))
        with pytest.raises(TryAgainError):
            home.client.eval(GET_TWO.source, 2, one, two)
        assert not both.done()
        carry(two)
        assert await both == [b"1", b"2"], "part here and part there was tried again"


async def test_messages_to_a_room_whose_keys_have_all_moved_are_kept_before_the_slot_has(cluster, start):
    """A room that has all its keys, for a room without one of them waits: see `test_cluster_faults.py`."""
    worker: Worker = await start(cluster)
    room = "half-moved"

    async def publish(number: int, **options: Any) -> Placed:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        worker.bus.publish(room, b'{"n":%d}' % number, form="j", author="ann", done=done.set_result, **options)
        placed = await done
        assert isinstance(placed, Placed), placed
        return placed

    worker.bus.subscribe(room)
    await publish(1)
    await publish(2, change=Change("edit", 1))
    with half_moved(cluster, room) as (home, away, carry):
        slot = slot_of(shard_of(room))
        for key in home.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            carry(key)
        asked = away.client.info("stats")["total_commands_processed"]
        answers = await asyncio.gather(*(publish(number) for number in range(3, 23)))
        assert [one.offset for one in answers] == list(range(3, 23)), "in the order in which they were said"
        assert away.client.info("stats")["total_commands_processed"] > asked
        assert not home.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000), "nothing is written at the old"
    subscribed = partial(worker.heard.events.count, f"subscribed {room}")
    await until(lambda: subscribed() > 1, within=20)  # from where on the room is read up to its top
    await publish(23)
    await until(lambda: worker.heard.offsets(room)[-1:] == [23], within=20)
    heard = worker.heard.offsets(room)
    assert heard == sorted(set(heard)), "heard twice or out of order"


async def test_a_batch_of_several_rooms_goes_whole_where_their_shard_has_gone(cluster, start):
    worker: Worker = await start(cluster)
    shard = shard_of(ROOMS[1])
    rooms = [room for room in (f"b{number}" for number in range(9999)) if shard_of(room) == shard][:5]
    others = [room for room in ROOMS if shard_of(room) != shard][:5]
    for name in (*rooms, *others):
        worker.sent.setdefault(name, 0)
        worker.answers.setdefault(name, [])
    for turn in range(2):  # away and back
        slot = slot_of(shard)
        home = cluster.master_of(slot)
        away = next(node for node in cluster.nodes if node is not home and is_master(node))
        before = {room: worker.sent[room] for room in rooms}
        await asyncio.to_thread(cluster.move, slot, away)
        for _ in range(20):  # in one turn of the loop: nobody has told this worker yet
            for room in (*rooms, *others):
                worker.publish(room)
        await until(
            lambda: all(len(worker.answers[room]) == worker.sent[room] for room in (*rooms, *others)), within=20
        )
        for room in rooms:
            offsets = [one.offset for one in worker.answers[room][before[room] :] if isinstance(one, Placed)]
            assert offsets == list(range(before[room] + 1, before[room] + 21)), (turn, worker.answers[room][-1])
    for room in (*rooms, *others):
        assert await worker.failures(room) == []


async def test_a_slot_that_no_node_has_is_told_and_makes_its_rooms_alone_unavailable(cluster, start):
    worker: Worker = await start(cluster, timeout=1.0)
    room = ROOMS[2]
    other = next(one for one in ROOMS if shard_of(one) != shard_of(room))
    slot = slot_of(shard_of(room))
    home = cluster.master_of(slot)
    for node in (home, *(one for one in cluster.nodes if one is not home)):
        node.client.execute_command("CLUSTER", "DELSLOTS", slot)
    try:
        worker.publish(room)
        worker.publish(other)
        await until(lambda: worker.answers[room] and worker.answers[other], within=20)
        assert isinstance(worker.answers[room][0], Unavailable) and isinstance(worker.answers[other][0], Placed)
        await until(lambda: "no node serves 1 of 256 shards" in worker.bus.why, within=20)
        await until(lambda: worker.bus.state == "ready")
    finally:
        home.client.execute_command("CLUSTER", "ADDSLOTS", slot)
    await until(lambda: not worker.bus.why, within=20)
    await asyncio.to_thread(cluster.settle)
    assert len(await worker.failures(room)) == 1 and not await worker.failures(other)


async def test_a_master_that_becomes_a_replica_in_order_costs_no_message(cluster, start):
    """CLUSTER FAILOVER, as before a node is updated: its connections stay open, and it answers as a replica."""
    worker: Worker = await start(cluster, timeout=10.0)
    node = cluster.master_of(slot_of(shard_of(ROOMS[0])))
    replica = next(one for one in cluster.nodes if not is_master(one) and follows(one, node))
    theirs = [room for room in ROOMS if node.owns(slot_of(shard_of(room)))]
    worker.begin()
    await worker.flows()
    replica.client.execute_command("CLUSTER", "FAILOVER")
    await until(lambda: is_master(replica) and not is_master(node), within=20)
    await worker.flows()
    await worker.end()
    for room in ROOMS:
        assert await worker.failures(room) == []
    assert replica.address in nodes_of(worker) and theirs
    await until(lambda: worker.bus.state == "ready", within=20)
    cluster.settle()


def follows(replica: ClusterNodeProcess, master: ClusterNodeProcess) -> bool:
    return int(replica.client.info("replication")["master_port"]) == master.port


async def test_a_cluster_without_a_majority_is_unavailable_says_why_and_heals(cluster, start):
    worker: Worker = await start(cluster, timeout=1.0)
    masters = [node for node in cluster.nodes if is_master(node)]
    left, dead = masters[0], [node for node in cluster.nodes if node is not masters[0]]
    room = next(one for one in ROOMS if left.owns(slot_of(shard_of(one))))
    for node in dead:
        node.kill()
    await until(lambda: left.info("cluster_state") == "fail", within=20)
    worker.publish(room)
    await until(lambda: worker.answers[room], within=20)
    assert isinstance(worker.answers[room][0], Unavailable)
    await until(lambda: worker.bus.why, within=20)
    for node in dead:
        node.start()
    await asyncio.to_thread(cluster.settle)
    await until(lambda: worker.bus.state == "ready" and not worker.bus.why, within=30)
    worker.begin()
    await worker.flows()
    await worker.end()
    for one in ROOMS:
        await worker.failures(one)
