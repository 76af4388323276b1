"""Members of two workers while the store and its connections go away, on a real store."""

from __future__ import annotations

import asyncio
import signal
from functools import partial

import pytest

from tests.workers.rooms.conftest import until
from workers.bus.port import Placed, Unavailable
from workers.rooms import maintenance


async def acked(side, count: int, *, prefix: str = "") -> list[Placed]:
    """Publish with keys until each is acknowledged, as a client does."""

    async def one(number: int) -> Placed:
        while True:
            try:
                placed: Placed = await side.publish("lobby", f"{prefix}{number}", author="ann", key=f"{prefix}{number}")
                return placed
            except Unavailable:
                pass

    return await asyncio.gather(*(one(number) for number in range(count)))


def seen_more_than(peer, count: int) -> bool:
    return len(peer.offsets("lobby")) > count


def texts(peer) -> list[str]:
    return [one["text"] for one in peer.messages() if one["type"] == "message"]


def told(peer) -> list[str]:
    return [one["type"] for one in peer.messages() if one["type"] != "message"]


async def test_cut_subscriptions_are_caught_up_and_nobody_notices(sides, connect, store):
    one, two = await sides(), await sides()
    peer = await connect(two)
    await peer.join("lobby")
    with store.client() as client:
        for round_ in range(10):
            publishing = asyncio.ensure_future(acked(one, 50, prefix=f"{round_}-"))
            await asyncio.sleep(0)
            client.client_kill_filter(_type="pubsub")
            await publishing
    await until(lambda: len(peer.offsets("lobby")) == 500)
    assert peer.offsets("lobby") == list(range(1, 501))
    assert not told(peer)


async def test_a_store_that_is_killed_under_load_loses_and_doubles_nothing(sides, connect, store):
    one, two = await sides(), await sides()
    peers = [await connect(side) for side in (one, two)]
    for peer in peers:
        await peer.join("lobby")
    for round_ in range(3):
        publishing = asyncio.ensure_future(acked(one, 300, prefix=f"{round_}-"))
        await until(partial(seen_more_than, peers[1], round_ * 300))
        store.kill()
        store.start()
        await publishing
    for peer in peers:
        await peer.has("lobby", 900)
        assert peer.offsets("lobby") == list(range(1, 901))
        assert len(set(texts(peer))) == 900
        assert not told(peer)


async def test_a_frozen_store_is_caught_up_with(sides, connect, store):
    one, two = await sides(timeout=1.0), await sides(timeout=1.0)
    peer = await connect(two)
    await peer.join("lobby")
    await acked(one, 10, prefix="a")
    store.signal(signal.SIGSTOP)
    publishing = asyncio.ensure_future(acked(one, 10, prefix="b"))
    await until(lambda: one.bus.publish_failures)
    store.signal(signal.SIGCONT)
    await publishing
    await until(lambda: len(peer.offsets("lobby")) == 20)
    assert sorted(texts(peer)) == sorted(f"{prefix}{n}" for prefix in "ab" for n in range(10))
    assert not told(peer)


async def test_what_a_store_forgot_is_told_and_nothing_new_is_taken_for_old(sides, connect, store, caplog):
    one, two = await sides(), await sides()
    peers = [await connect(side) for side in (one, two)]
    for peer in peers:
        await peer.join("lobby")
    await acked(one, 5, prefix="kept")
    files = store.directory / "appendonlydir"
    old = {path.name: path.read_bytes() for path in files.iterdir()}
    await acked(one, 5, prefix="lost")
    for peer in peers:
        await peer.has("lobby", 10)
    lost = one.hub.position("lobby")
    store.kill()
    for name, data in old.items():
        (files / name).write_bytes(data)
    store.start()
    await acked(one, 7, prefix="new")
    for peer in peers:
        await peer.has("lobby", 17)
        assert told(peer) == ["reset"]
        kinds = [one.get("text", one["type"])[:4] for one in peer.messages()]
        assert kinds == ["kept"] * 5 + ["lost"] * 5 + ["rese"] + ["new" + kind[3:] for kind in kinds[11:]]
        reset = next(one for one in peer.messages() if one["type"] == "reset")
        assert reset["offset"] == 5
    assert one.hub.tally.resets == two.hub.tally.resets == 1
    assert f"position 10 of {lost.epoch} is lost, the log goes on after offset 5 of " in caplog.text


async def test_a_wiped_store_is_told_as_a_reset(sides, connect, store):
    side = await sides()
    peer = await connect(side)
    await peer.join("lobby")
    await acked(side, 5)
    with store.client() as client:
        client.flushall()
    await acked(side, 3, prefix="new")
    await until(lambda: texts(peer)[5:] and len(texts(peer)) == 8)
    assert told(peer) == ["reset"]


async def test_a_tail_that_pub_sub_lost_is_found_by_the_ack(sides, connect, monkeypatch):
    side = await sides()
    peer = await connect(side)
    await peer.join("lobby")
    received = side.hub.received
    monkeypatch.setattr(side.hub, "received", lambda room, publication: None)
    await side.publish("lobby", "lost on the way")
    monkeypatch.setattr(side.hub, "received", received)
    await until(lambda: peer.offsets("lobby") == [1], within=3)
    assert not told(peer)


async def test_a_tail_that_is_lost_soon_after_a_message_that_came_late_is_found_by_its_ack(sides, connect, monkeypatch):
    side = await sides()
    peer = await connect(side)
    await peer.join("lobby")
    received, held = side.hub.received, []
    monkeypatch.setattr(side.hub, "received", lambda *publication: held.append(publication))
    await side.publish("lobby", "late")
    await until(lambda: held)
    received(*held[0])
    await side.publish("lobby", "lost on the way")
    await until(lambda: len(held) == 2)
    monkeypatch.setattr(side.hub, "received", received)
    await until(lambda: peer.offsets("lobby") == [1, 2], within=4)
    assert not told(peer)


async def test_a_tail_that_pub_sub_lost_is_found_by_looking(sides, connect, monkeypatch):
    monkeypatch.setattr(maintenance, "PATROL", 0.3)
    monkeypatch.setattr(maintenance, "ACK_WITHOUT_MESSAGE", 0.3)
    one, two = await sides(), await sides()
    peer = await connect(two)
    await peer.join("lobby")
    received = two.hub.received
    lost: list[str] = []
    monkeypatch.setattr(two.hub, "received", lambda room, publication: lost.append(room))
    await one.publish("lobby", "lost on the way")
    await until(lambda: lost == ["lobby"])
    monkeypatch.setattr(two.hub, "received", received)
    await until(lambda: peer.offsets("lobby") == [1], within=5)


@pytest.mark.parametrize("call", ["states", "read"])
async def test_an_unexpected_error_while_reading_costs_a_moment_and_not_the_room(sides, connect, monkeypatch, call):
    side = await sides()
    peer = await connect(side)
    works = getattr(side.bus, call)
    failures: list[str] = []

    def fails_once(*args, **options):
        if not failures:
            failures.append(call)
            raise ValueError("a bug")
        return works(*args, **options)

    monkeypatch.setattr(side.bus, call, fails_once)
    await peer.join("lobby")
    received = side.hub.received
    lost: list[str] = []
    monkeypatch.setattr(side.hub, "received", lambda room, publication: lost.append(room))
    await side.publish("lobby", "lost on the way: it has to be read")
    await until(lambda: lost == ["lobby"])
    monkeypatch.setattr(side.hub, "received", received)
    await until(lambda: peer.offsets("lobby") == [1], within=15)
    assert failures


async def test_rooms_nobody_is_in_are_given_up_and_can_be_joined_again(sides, connect, monkeypatch):
    monkeypatch.setattr(maintenance, "LINGER", 0.0)
    side = await sides()
    peer = await connect(side)
    await peer.join("lobby")
    side.hub.members.leave(peer, "lobby")
    await until(lambda: "lobby" not in side.hub.rooms)
    placed = await side.publish("lobby", "0")
    (joined,) = await peer.join("lobby")
    assert joined.offset == placed.offset


async def test_joining_while_the_store_is_away_fails_in_time_and_leaves_nothing(sides, connect, store):
    side = await sides(timeout=0.5)
    store.kill()
    await until(lambda: side.bus.state == "away")
    peer = await connect(side)
    try:
        await peer.join("lobby")
        raise AssertionError("it joined")
    except Unavailable:
        pass
    assert side.hub.members.rooms_of(peer) == []
    assert not side.hub.members.joining(peer)
