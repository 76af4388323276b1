"""Readers that are slower than their room, over real sockets on a real store."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable

from tests.workers.rooms.conftest import until
from workers.bus.port import Position

KIB = 1024


def memory() -> int:
    """Resident bytes of this process now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


async def at_once(condition: Callable[[], object]) -> None:
    """Wait for what may hold for a few turns of the loop only. Fails after 20 seconds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def fill(side, room: str, total: int, size: int) -> None:
    """Publish `total` bytes in messages of `size`."""
    text = "x" * size
    for _ in range(total // size // 100):
        await asyncio.gather(*(side.publish(room, text) for _ in range(100)))


async def test_a_reader_that_pauses_gets_everything_once_it_reads_and_others_notice_nothing(sides, connect):
    side = await sides(history_size=10_000)
    slow = await connect(side, high_water=64 * KIB, buffer=8 * KIB)
    fast = await connect(side)
    for peer in (slow, fast):
        await peer.join("lobby")
    for _ in range(20):
        await fill(side, "lobby", 200 * KIB, 2 * KIB)
        fast.read_available()
    assert slow.paused
    assert side.hub.rooms["lobby"].slow_consumers
    await fast.has("lobby", 2000)
    await slow.has("lobby", 2000)
    assert slow.offsets("lobby") == fast.offsets("lobby") == list(range(1, 2001))
    await until(lambda: not side.hub.rooms["lobby"].slow_consumers)


async def test_one_that_never_reads_is_cut_and_costs_little_memory(sides, connect):
    side = await sides(lag_timeout=1.0, history_size=100_000)
    stuck = await connect(side, high_water=1 << 20, buffer=8 * KIB)
    other = await connect(side)
    await stuck.join("lobby")
    await other.join("lobby")
    await fill(side, "lobby", 2 << 20, 8 * KIB)
    other.read_available()
    before = memory()
    while stuck.cut_with is None:
        await fill(side, "lobby", 800 * KIB, 8 * KIB)
        other.read_available()
        other._received.clear()
    assert stuck.cut_with == 4008
    assert side.hub.tally.cut == 1
    # The ring and the other's socket have their share of it; a queue for the one that is stuck would be far more.
    assert memory() - before < 8 << 20
    assert side.hub.members.of("lobby") == [other]


async def test_one_that_lags_in_two_rooms_is_cut_once(sides, connect):
    side = await sides(lag_timeout=1.0, history_size=100_000)
    stuck = await connect(side, high_water=1 << 20, buffer=8 * KIB)
    await stuck.join("lobby", "hall")
    while stuck.cut_with is None:
        await fill(side, "lobby", 800 * KIB, 8 * KIB)
        await fill(side, "hall", 800 * KIB, 8 * KIB)
    assert side.hub.tally.cut == 1


async def test_one_that_is_far_behind_but_reads_is_not_cut(sides, connect):
    side = await sides(lag_timeout=0.5, history_size=20_000)
    first = await side.publish("lobby", "0")
    await fill(side, "lobby", 12 << 20, 4 * KIB)
    peer = await connect(side, high_water=64 * KIB, buffer=8 * KIB)
    (joined,) = await peer.join(("lobby", Position(first.epoch, first.offset)))
    assert joined.recovered is True
    loop = asyncio.get_running_loop()
    began = loop.time()
    taken = 0
    while taken < 12 << 20:  # 4 MiB/s, in the steps of a slow line
        taken += peer.read_available()
        wait = began + taken / (4 << 20) - loop.time()
        await asyncio.sleep(max(wait, 0.001))
    assert loop.time() - began > 2 * 0.5
    assert peer.cut_with is None
    await until(lambda: len(peer.offsets("lobby")) == joined.offset - 1)
    assert peer.offsets("lobby") == list(range(2, joined.offset + 1))


async def test_a_storm_of_returns_costs_few_reads(sides, connect, monkeypatch):
    one, two = await sides(), await sides()
    first = await one.publish("lobby", "0")
    await fill(one, "lobby", 40 * KIB, 100)
    reads = 0
    read = two.bus.read

    def counted(*args, **options):
        nonlocal reads
        reads += 1
        return read(*args, **options)

    monkeypatch.setattr(two.bus, "read", counted)
    peers = [await connect(two) for _ in range(200)]
    joined = await asyncio.gather(
        *(peer.join(("lobby", Position(first.epoch, n))) for n, peer in enumerate(peers, start=1))
    )
    top = joined[0][0].offset
    for n, peer in enumerate(peers, start=1):
        await peer.has("lobby", top - n)
        assert peer.offsets("lobby") == list(range(n + 1, top + 1))
    assert reads <= 3


async def test_positions_that_are_written_down_are_resumed_on_another_worker(sides, connect):
    one, two = await sides(), await sides()
    live = await connect(one)
    slow = await connect(one, high_water=16 * KIB, buffer=8 * KIB)
    for peer in (live, slow):
        await peer.join("lobby", "other")
    await one.publish("other", "x")
    await fill(one, "lobby", 400 * KIB, 1 * KIB)
    await until(lambda: one.hub.rooms["lobby"].offset == 400)
    assert slow.paused
    for peer in (live, slow):
        noted: list[dict[str, Position]] = []
        one.hub.members.depart(peer, noted.append)
        (positions,) = noted
        assert set(positions) == {"lobby", "other"}
        assert one.hub.members.rooms_of(peer) == []
        await one.publish("lobby", "meanwhile")
        peer.hub = two.hub
        await peer.join(*positions.items())
    assert slow.paused  # what its transport had buffered travels with it
    await one.publish("lobby", "later")
    top = await one.top("lobby")
    for peer in (live, slow):
        await peer.has("lobby", top)
        assert peer.offsets("lobby") == list(range(1, top + 1))


async def test_a_large_room_is_written_in_slices_and_changes_wait_for_whole_batches(sides, connect, monkeypatch):
    from workers.rooms import flush

    monkeypatch.setattr(flush, "MOST", 256)
    side = await sides()
    peers = [await connect(side) for _ in range(700)]
    await asyncio.gather(*(peer.join("lobby") for peer in peers))
    room = side.hub.rooms["lobby"]
    leaver, late = peers[-1], await connect(side)
    placed = asyncio.ensure_future(side.publish("lobby", "0"))
    await at_once(lambda: room.busy)
    gone: list[int] = []
    side.hub.members.leave(leaver, "lobby", lambda: gone.append(len(leaver.payloads())))
    assert not gone
    await late.join("lobby")
    assert gone == [1]
    assert late.joined[0].offset == (await placed).offset
    await side.publish("lobby", "1")
    for peer in peers[:-1]:
        await peer.has("lobby", 2)
    assert leaver.offsets("lobby") == [1]
    await until(lambda: late.offsets("lobby") == [2])


async def test_who_moves_leaves_and_enters_a_large_room_in_the_middle_of_a_batch_and_has_all_of_it(
    sides, connect, monkeypatch
):
    from workers.rooms import flush

    monkeypatch.setattr(flush, "MOST", 256)
    old, new = await sides(), await sides()
    peers = [await connect(side) for side in (old, new) for _ in range(700)]
    await asyncio.gather(*(peer.join("lobby") for peer in peers))
    mover, far = peers[0], old.hub.rooms["lobby"]
    placed = asyncio.ensure_future(new.publish("lobby", "0"))
    await at_once(lambda: far.busy)
    assert mover.payloads() == [], "its turn has not come yet"
    stood: list[dict[str, Position]] = []
    old.hub.members.depart(mover, stood.append)
    assert far.busy and stood, "it does not wait for the end of the batch"
    await until(lambda: mover.offsets("lobby") == [1])
    assert stood[0]["lobby"].offset == (await placed).offset == 1

    again = asyncio.ensure_future(new.publish("lobby", "1"))
    near = new.hub.rooms["lobby"]
    await at_once(lambda: near.busy)
    mover.hub = new.hub
    assert new.hub.members.arrive(mover, list(stood[0].items())) == []
    assert near.busy and near.is_live(mover), "nor does it wait for the end of one where it arrives"
    await until(lambda: mover.offsets("lobby") == [1, 2])
    await again
    await new.publish("lobby", "2")
    for peer in peers:
        await peer.has("lobby", 3)
        assert peer.offsets("lobby") == [1, 2, 3]


async def test_who_moves_with_its_own_message_still_to_be_written_gets_it_with_its_key(sides, connect):
    side = await sides()
    author = await connect(side, user="ann")
    await author.join("@ann", "lobby")  # the inbox first, as a hello does
    placed = asyncio.ensure_future(side.publish("lobby", "0", author="ann", key="k"))
    room = side.hub.rooms["lobby"]
    await at_once(lambda: room.batch)
    side.hub.members.depart(author, lambda positions: None)
    assert [message.get("key") for message in author.messages()] == ["k"]
    await placed
