"""What is on its way to a large room: everybody gets everything once, in order, in the form that is meant for them."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import pytest

from workers.bus.port import Entry
from workers.rooms.fanout import Fanout, joined
from workers.rooms.log_item import Item, item_of
from workers.rooms.room import Room
from workers.rooms.types import Transport
from workers.transport.socket_transport import write_to_all

EPOCH = "0123456789abcdef"


class Reader:
    """A member and its transport at once, which keeps what was written to it."""

    def __init__(self, number: int) -> None:
        self.id = f"c{number}"
        self.user = f"u{number % 7}"
        self.deflate = number % 3 == 0
        self.got = b""
        self.writes = 0

    @property
    def ws(self) -> Reader:
        return self

    @property
    def transport(self) -> Reader:
        return self

    def write(self, data: bytes) -> None:
        self.got += data
        self.writes += 1


class Said:
    """Readers, and what is said to them."""

    def __init__(self, readers: int) -> None:
        self.readers = [Reader(number) for number in range(readers)]
        self.said: list[Item] = []
        self.counted = 0
        plain: Any = {one: one for one in self.readers if not one.deflate}
        squeezed: Any = {one: one for one in self.readers if one.deflate}
        self.classes = ((plain, False), (squeezed, True))
        self.flight: Fanout

    def say(self, chance: random.Random) -> tuple[list[Item], dict[Any, Any]]:
        """Some items, now and then with a key or an exclusion, and who gets them otherwise."""
        items = [self._item(chance) for _ in range(chance.choice((1, 1, 3)))]
        self.said += items
        special = [one for item in items if item.special for one in self.readers if _special(item, one)]
        return items, {one: one for one in special}

    def _item(self, chance: random.Random) -> Item:
        payload = b'{"type":"message","text":"%b"}' % (b"x" * chance.choice((10, 600)))
        author, key = (f"u{chance.randrange(9)}", "k") if chance.random() < 0.3 else ("", "")
        exclude = f"c{chance.randrange(40)}" if chance.random() < 0.1 else ""
        return item_of(EPOCH, Entry(len(self.said) + 1, 0, "j", payload, author, key, exclude))

    def begin(self, chance: random.Random, *, at_once: int) -> None:
        items, apart = self.say(chance)
        self.flight = Fanout(items, self.classes, apart, at_once=at_once, written=self._written)

    def _written(self, items: list[Item], members: int, size: int) -> None:
        self.counted += len(items) * members


def _special(item: Item, one: Reader) -> bool:
    return one.id in item.exclude.split(",") or (bool(item.key) and item.author == one.user)


@pytest.mark.parametrize("seed", range(60))
def test_everybody_gets_everything_once_and_in_order_whatever_comes_meanwhile(seed: int) -> None:
    chance = random.Random(seed)
    room = Said(chance.choice((1, 2, 5, 40)))
    room.begin(chance, at_once=chance.choice((1, 3, 16)))
    for _ in range(chance.randrange(60)):
        if chance.random() < 0.3:
            room.flight.absorb(*room.say(chance))
        else:
            next(room.flight, 0)
    while next(room.flight, 0):
        """To the end."""
    for one in room.readers:
        meant = [item.frame_for(one.user, one.id, deflate=one.deflate) for item in room.said]
        assert one.got == b"".join(meant)
    if not any(item.exclude for item in room.said):
        assert room.counted == len(room.said) * len(room.readers)


def test_what_comes_in_the_middle_costs_each_member_one_more_write_at_most() -> None:
    room = Said(0)
    room.readers = [Reader(3 * number + 1) for number in range(100)]
    members: Any = {one: one for one in room.readers}
    items = [item_of(EPOCH, Entry(number, 0, "j", b'{"n":1}')) for number in range(1, 11)]
    room.flight = Fanout(items[:1], ((members, False),), {}, at_once=10, written=room._written)
    for item in items[1:]:
        assert next(room.flight) == 10
        room.flight.absorb([item], {})
    while next(room.flight, 0):
        """To the end."""
    assert {one.got for one in room.readers} == {b"".join(item.frame for item in items)}
    assert max(one.writes for one in room.readers) == 2  # and not ten, one for each item


@pytest.mark.parametrize("apart", [False, True], ids=["", "apart"])
def test_whoever_leaves_gets_all_of_it_at_once_and_nothing_again(apart: bool) -> None:
    room = Said(12)
    items = [item_of(EPOCH, Entry(1, 0, "j", b'{"n":1}', "u4" if apart else "", "k" if apart else ""))]
    leaver = room.readers[4]
    special: Any = {leaver: leaver} if apart else {}
    room.flight = Fanout(items, room.classes, special, at_once=2, written=room._written)
    next(room.flight)
    room.flight.finish(leaver)  # type: ignore[arg-type]
    had = leaver.got
    assert had == items[0].frame_for(leaver.user, leaver.id, deflate=leaver.deflate) and not room.flight.open
    while next(room.flight, 0):
        """To the end."""
    assert leaver.got == had


def test_the_newest_members_get_it_first() -> None:
    """A connection that moves is the newest where it comes to, and would else have to wait for all others there."""
    room = Said(0)
    room.readers = [Reader(3 * number + 1) for number in range(6)]
    members: Any = {one: one for one in room.readers}
    items = [item_of(EPOCH, Entry(1, 0, "j", b'{"n":1}'))]
    room.flight = Fanout(items, ((members, False),), {}, at_once=2, written=room._written)
    had = []
    while next(room.flight, 0):
        had.append({one.id for one in room.readers if one.got})
    newest = [one.id for one in reversed(room.readers)]
    assert had == [set(newest[:2]), set(newest[:4]), set(newest)]


class Flushes:
    """In the place of the flush queue."""

    def write(self, transports: Collection[Transport], items: list[Item]) -> int:
        write_to_all(transports, joined(items, squeeze=False))
        return len(transports)

    def mark(self, room: Room) -> None: ...

    def written(self, items: list[Item], members: int, size: int) -> None: ...


def test_what_comes_when_all_have_left_in_the_middle_waits_for_who_becomes_live_at_the_place_before() -> None:
    flushes: Any = Flushes()
    room = Room("lobby", flushes, lambda item: ())
    readers: list[Any] = [Reader(3 * number + 1) for number in range(300)]
    items = [item_of(EPOCH, Entry(number, 0, "j", b'{"n":1}')) for number in (1, 2, 3)]

    def deliver(item: Item) -> None:
        if room.gathers:
            room.put((item,))
        room.epoch, room.offset = EPOCH, item.offset

    for one in readers:
        room.enliven(one)
    deliver(items[0])
    room.flush(256)
    assert room.busy
    for one in readers:
        assert room.finish(one)
        room.remove(one)
    deliver(items[1])
    late: Any = Reader(1)
    assert room.takes_in and room.goal == 1
    room.enliven(late)
    deliver(items[2])
    while room.busy or room.batch:
        room.flush(256)
    assert late.got == b"".join(item.frame for item in items[1:])
