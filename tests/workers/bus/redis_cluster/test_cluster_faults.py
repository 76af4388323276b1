"""What happens to a cluster while a worker uses it: slots move, nodes die, freeze, come back, and are replaced.

Each test sends messages all the while, and at the end every log has every acknowledged message once and in order, and
the worker heard of each or can read it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from chatmaster.store.layout import shard_of, slot_of
from tests.contract.conftest import until
from tests.support.cluster import ClusterServer
from tests.workers.bus.redis_cluster.conftest import ROOMS, heard_more, rooms_of, subscribed_since
from workers.bus.port import Change, Placed, Unavailable


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
