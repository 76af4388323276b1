"""Rooms over two workers on a real store: live delivery, joins with `since`, who sees what."""

from __future__ import annotations

import asyncio
import gc

from tests.workers.rooms.conftest import until
from tests.workers.rooms.modelbus import published
from workers.bus.port import Entry, Placed, Position
from workers.rooms import history_reader
from workers.rooms.join import JoinPart, PendingJoin


async def test_a_message_reaches_members_on_every_worker_once_and_in_order(sides, connect):
    one, two = await sides(), await sides()
    near, far = await connect(one), await connect(two)
    await near.join("lobby")
    await far.join("lobby")
    placed = await asyncio.gather(*(one.publish("lobby", str(n)) for n in range(200)))
    assert [one.offset for one in placed] == list(range(1, 201))
    for peer in (near, far):
        await peer.has("lobby", 200)
        assert peer.offsets("lobby") == list(range(1, 201))
        assert peer.messages()[0] == {
            "epoch": placed[0].epoch,
            "offset": 1,
            "time": placed[0].time,
            "type": "message",
            "room": "lobby",
            "text": "0",
        }


async def test_joining_with_since_brings_what_was_missed_before_what_is_new(sides, connect):
    one, two = await sides(), await sides()
    first = await one.publish("lobby", "0")
    for n in range(1, 1000):
        last = one.publish("lobby", str(n))
        if n % 100 == 0:
            await last
        else:
            task = asyncio.ensure_future(last)
    await task
    peer = await connect(two)
    (joined,) = await peer.join(("lobby", Position(first.epoch, 3)))
    assert (joined.offset, joined.recovered, joined.missing) == (1000, True, None)
    await one.publish("lobby", "new")
    await until(lambda: len(peer.offsets("lobby")) == 998)
    assert peer.offsets("lobby") == list(range(4, 1002))
    await until(lambda: two.hub.rooms["lobby"].slow_consumers == {})


async def test_a_since_that_another_worker_has_seen_and_this_one_not_yet_is_no_reset(sides, connect):
    one, two = await sides(), await sides()
    early = await connect(two)
    await early.join("lobby")
    placed = await one.publish("lobby", "0")
    peer = await connect(two)
    (joined,) = await peer.join(("lobby", Position(placed.epoch, placed.offset)))
    assert joined.recovered is True
    assert joined.offset == placed.offset


async def test_a_since_in_the_future_is_a_reset(sides, connect):
    side = await sides()
    placed = await side.publish("lobby", "0")
    peer = await connect(side)
    (joined,) = await peer.join(("lobby", Position(placed.epoch, 9)))
    assert joined.recovered is False
    await until(lambda: peer.messages())
    assert peer.messages()[0]["type"] == "reset"


async def test_what_history_no_longer_has_is_a_gap(sides, connect):
    side = await sides(history_size=10)
    first = await side.publish("lobby", "0")
    await asyncio.gather(*(side.publish("lobby", str(n)) for n in range(1, 30)))
    peer = await connect(side)
    (joined,) = await peer.join(("lobby", Position(first.epoch, 1)))
    assert joined.recovered is False
    await until(lambda: len(peer.messages()) == 11)
    assert peer.messages()[0] == {"type": "gap", "room": "lobby", "epoch": first.epoch, "from": 2, "to": 20}
    assert peer.offsets("lobby") == list(range(21, 31))


async def test_only_the_author_sees_the_key_and_a_retry_is_kept_once(sides, connect):
    side = await sides()
    author, other = await connect(side, user="ann"), await connect(side, user="bob")
    await author.join("lobby", "@ann")
    await other.join("lobby", "@bob")
    first = await side.publish("lobby", "hi", author="ann", key="k 1")
    again = await side.publish("lobby", "hi", author="ann", key="k 1")
    assert (again.offset, again.duplicate) == (first.offset, True)
    await until(lambda: author.messages() and other.messages())
    assert author.messages()[0]["key"] == "k 1"
    assert "key" not in other.messages()[0]
    assert len(author.messages()) == len(other.messages()) == 1


async def test_the_worker_itself_follows_a_room(sides):
    one, two = await sides(), await sides()
    seen: list[int] = []
    live = asyncio.Event()
    stop = two.hub.follow("!control", lambda entry: seen.append(entry.offset), live=live.set)
    await live.wait()
    for n in range(5):
        await one.publish("!control", str(n))
    await until(lambda: seen == [1, 2, 3, 4, 5])
    stop()
    assert two.hub.rooms["!control"].follower.phase.value == "linger"


async def test_a_room_whose_members_are_about_to_come_is_followed_until_it_is_dropped(sides):
    told: list[str] = []

    class Arrivals:
        def advance(self) -> None:
            told.append("current")

    side, arrivals = await sides(), Arrivals()
    members = side.hub.members
    room = members.keep_room("lobby", arrivals)
    assert not told and room.needed
    await until(lambda: told)
    assert room.current
    assert members.keep_room("lobby", arrivals) is room and len(told) == 2, "told at once, as the room is current"
    members.drop_room(room)
    assert room.needed and room.current
    members.drop_room(room)
    assert not room.needed and room.follower.phase.value == "linger"


async def test_a_join_that_is_over_leaves_nothing_for_the_collector(sides, connect):
    side = await sides()
    peer = await connect(side)
    gc.collect()
    gc.disable()
    try:
        await peer.join("lobby", ("other", Position("", 0)))
        await peer.join("@ann")
        left = [one for one in gc.get_objects() if isinstance(one, PendingJoin | JoinPart)]
    finally:
        gc.enable()
    assert not left


async def test_an_inbox_is_entered_without_a_subscription_where_what_it_shares_is_followed(sides, connect, monkeypatch):
    side, asked = await sides(), list[str]()
    await until(lambda: side.bus.follows("@ann"))
    assert not side.bus.follows("lobby")
    monkeypatch.setattr(side.bus, "subscribe", asked.append)
    peer = await connect(side)
    await peer.join("@ann")
    assert not asked and side.hub.rooms["@ann"].current
    await side.publish("@ann", "one")
    await peer.has("@ann", 1)


async def test_a_storm_of_joins_shares_the_questions_to_the_store(sides, connect, monkeypatch):
    side = await sides()
    asked: list[int] = []
    states = side.bus.states

    def counted(rooms, done):
        asked.append(len(rooms))
        states(rooms, done)

    monkeypatch.setattr(side.bus, "states", counted)
    monkeypatch.setattr(history_reader, "STATES_APART", 0.2)
    peers = [await connect(side) for _ in range(40)]
    joins = []
    for at, one in enumerate(peers):
        joins.append(asyncio.ensure_future(one.join(f"@user{at}")))
        await side.top("elsewhere")  # a round trip, in which a question could be answered
    await asyncio.gather(*joins)
    assert sum(asked) == 40 and len(asked) <= 10


async def test_who_leaves_a_room_before_being_in_stays_out_of_it_and_comes_into_the_others(sides, connect):
    side = await sides()
    peer = await connect(side)
    joining = asyncio.ensure_future(peer.join("lobby", "other"))
    await asyncio.sleep(0)
    assert side.hub.members.joining(peer)
    left: list[bool] = []
    side.hub.members.leave(peer, "lobby", lambda: left.append(True))
    assert left and [one.room for one in await joining] == ["other"]
    assert side.hub.members.rooms_of(peer) == ["other"]
    await side.publish("lobby", "secret")
    await side.publish("other", "for all")
    await peer.has("other", 1)
    assert peer.offsets("lobby") == []


class Asker:
    """A connection with an answer that waits."""

    def __init__(self, hub, transport) -> None:
        self.hub, self.transport = hub, transport
        self.alone: list[bytes] = []

    def write_answers(self) -> None:
        self.alone.append(self.hub.answers.take(self.transport))


async def placed_before_it_comes(side, peer) -> tuple[Asker, Placed]:
    """The store has answered a publication that has not come by pub/sub yet, and some turns have passed."""
    first = await side.publish("lobby", "0")
    await peer.has("lobby", 1)
    asker, place = Asker(side.hub, peer.transport), Placed(first.epoch, 2, first.time)
    side.hub.answers.add(asker, peer.transport, b"\x81\x0e" + b'{"type":"ack"}')
    side.hub.placed("lobby", place, 1, 0.001)
    for _ in range(5):
        await asyncio.sleep(0)
    return asker, place


async def test_an_ack_leaves_with_the_message_where_that_comes_a_moment_later(sides, connect, monkeypatch):
    monkeypatch.setattr("workers.transport.answers.LONGEST", 20.0)
    side = await sides()
    peer = await connect(side)
    await peer.join("lobby")
    asker, place = await placed_before_it_comes(side, peer)
    payload = b'{"type":"message","room":"lobby","text":"1"}'
    side.hub.received("lobby", published(place.epoch, [Entry(2, place.time, "j", payload)]))
    await peer.has("lobby", 2)
    assert not side.hub.answers.waiting and not asker.alone


async def test_an_ack_does_not_wait_for_the_fan_out_of_a_large_room(sides, connect, monkeypatch):
    monkeypatch.setattr("workers.rooms.hub.AT_ONCE", 0)
    side = await sides()
    peer = await connect(side)
    await peer.join("lobby")
    asker, _ = await placed_before_it_comes(side, peer)
    assert len(asker.alone) == 1
