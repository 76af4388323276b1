"""Members that come, go, pause and resume at any moment, against batches that are written slice by slice.

What must hold for every member, whatever happens: from the offset that its join announced on it is sent every message
once and in order, or a gap or a reset says why not. Each mutant leaves out a rule and must be caught.
"""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from chatmaster.settings import Settings
from tests.workers.rooms.conftest import tell
from tests.workers.rooms.modelbus import ModelBus
from workers.bus.port import Position
from workers.rooms import delivery, lagger, reading, room
from workers.rooms.follower import Phase as FollowerPhase
from workers.rooms.hub import Hub
from workers.rooms.lagger import Lagger
from workers.rooms.member import Joined
from workers.rooms.room import Room

ROOMS = ("a", "@b")  # one with a channel of its own, and one that shares it
ACTIONS = (
    ["write"] * 8 + ["hear"] * 8 + ["turn"] * 8 + ["answer"] * 4 + ["join"] * 4 + ["leave"] * 2
    + ["pause", "resume", "resume", "close", "cut", "save", "roll back", "trim", "pause while writing", "show"]
)  # fmt: skip


class Reader:
    """A member and its transport in one; it checks what it is sent."""

    def __init__(self, hub: Hub, number: int) -> None:
        self.hub = hub
        self.id = str(number)
        self.user = ""
        self.deflate = number % 3 == 0
        self.paused = False
        self.pause_in_write = False
        self.closed = False
        self.at: dict[str, int] = {}  # offset, by room
        self.seen: dict[str, dict[int, int]] = {}
        self.last: dict[str, Position] = {}  # where it would resume

    @property
    def ws(self) -> Reader:
        return self

    @property
    def transport(self) -> Reader:
        return self

    def get_write_buffer_size(self) -> int:
        return 0

    def cut(self, code: int) -> None:
        raise AssertionError("nobody is cut here")

    def write(self, data: bytes) -> None:
        if self.closed:  # uvloop does so; only the rest of a batch that was being written may come
            assert any(self.hub.rooms[one].busy for one in ROOMS), "written to long after it was closed"
            raise RuntimeError("the transport is closed")
        while data:
            size = data[1]  # no frame of the model reaches 126 bytes
            self.take(json.loads(data[2 : 2 + size]))
            data = data[2 + size :]
        if self.pause_in_write and not self.paused:
            self.pause_in_write, self.paused = False, True
            self.hub.paused(self)

    def take(self, message: dict[str, Any]) -> None:
        where = message["room"]
        if message["type"] == "typing":
            return
        assert where in self.at, "a message of a room that it is not in"
        if message["type"] == "gap":
            assert message["from"] == self.at[where] + 1, "the gap does not touch"
            self.at[where] = message["to"]
        elif message["type"] == "reset":
            self.at[where] = message["offset"]
            self.seen[where].clear()
            self.last[where] = Position(message["epoch"], message["offset"])
        else:
            assert message["offset"] == self.at[where] + 1, f"{message['offset']} after {self.at[where]}"
            assert message["n"] not in self.seen[where].values(), "the same message twice"
            self.at[where] = message["offset"]
            self.seen[where][message["offset"]] = message["n"]
            self.last[where] = Position(message["epoch"], message["offset"])

    def join(self, where: str, since: Position | None) -> None:
        def announce(joined: list[Joined]) -> None:
            assert not self.closed, "it joined after it was closed"
            (one,) = joined
            if where in self.at:
                return
            self.seen.setdefault(where, {})
            if since is None:
                self.seen[where].clear()
                self.last[where] = Position(one.epoch, one.offset)
            self.at[where] = since.offset if since is not None else one.offset

        self.hub.join(self, [(where, since)], announce, lambda error: None)

    def left(self, where: str) -> None:
        self.at.pop(where, None)

    def leave(self, where: str) -> None:
        self.hub.leave(self, where, lambda: self.left(where))


async def play(seed: int, length: int) -> None:
    chance = random.Random(seed)
    bus = ModelBus()
    hub = Hub(Settings())
    bus.sink = hub
    hub.bind(bus)
    bus.start()
    hub.teller = tell
    readers = [Reader(hub, number) for number in range(6)]
    for _ in range(length):
        await step(bus, hub, readers, chance.choice(ACTIONS), chance)
    await settle(bus, readers)
    check(bus, hub, readers)
    await hub.stop()


async def step(bus: ModelBus, hub: Hub, readers: list[Reader], action: str, chance: random.Random) -> None:
    reader, where = chance.choice(readers), chance.choice(ROOMS)
    if action == "write":
        bus.write(where)
    elif action == "hear":
        bus.hear()
    elif action == "answer":
        bus.answer()
    elif action == "turn":
        await asyncio.sleep(0)
    elif action == "join" and not reader.closed:
        since = reader.last.get(where) if where not in reader.at and chance.random() < 0.7 else None
        if not hub.joining(reader):
            reader.join(where, since)
    elif action == "leave":
        reader.leave(where)
    elif action == "pause" and not reader.paused:
        reader.paused = True
        hub.paused(reader)
    elif action == "pause while writing":
        reader.pause_in_write = True
    elif action == "resume" and reader.paused:
        reader.paused = False
        hub.resumed(reader)
    elif action == "close" and chance.random() < 0.2:
        hub.leave_all(reader)
        reader.closed = True
        reader.at.clear()
    elif action == "cut":
        bus.cut()
    elif action == "save":
        bus.save()
    elif action == "roll back":
        bus.roll_back()
    elif action == "trim":
        log = bus.log(where)
        log.first = min(log.first + 2, len(log.entries) + 1)
    elif action == "show":
        hub.show(where, b'{"type":"typing","room":"%b"}' % where.encode())


async def settle(bus: ModelBus, readers: list[Reader]) -> None:
    for reader in readers:
        reader.pause_in_write = False
        if reader.paused:
            reader.paused = False
            reader.hub.resumed(reader)
    quiet = 0
    for _ in range(3000):
        if bus.channel or bus.questions:
            quiet = 0
            bus.hear()
            bus.answer()
        quiet += 1
        if quiet > 40:
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not come to an end")


def check(bus: ModelBus, hub: Hub, readers: list[Reader]) -> None:
    for reader in readers:
        assert sorted(hub.rooms_of(reader)) == sorted(reader.at), "who is in a room"
        for where, offset in reader.at.items():
            entries = bus.log(where).entries
            assert offset == len(entries), f"it was sent up to {offset} of {len(entries)}"
            for at, identity in reader.seen[where].items():
                assert entries[at - 1] == identity, "what it was sent is not what the log says, and it was not told"
            assert reader in hub.members(where)
            assert hub.rooms[where].is_live(reader), "it does not lag any more"


def model(count: int):
    @examples(
        max_examples=count, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(0, 2**32), st.integers(10, 250))
    def run(seed, length):
        asyncio.run(play(seed, length))

    return run


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Slices of one member, budgets of two, rings and pages of a few entries: every boundary is met all the time."""
    monkeypatch.setattr(room, "AT_ONCE", 1)
    monkeypatch.setattr(delivery, "AT_ONCE", 1)
    monkeypatch.setattr(delivery, "BUDGET", 2)
    monkeypatch.setattr(lagger, "STEP", 100)
    monkeypatch.setattr(lagger, "TURN", 150)
    monkeypatch.setattr(reading, "RETRY", 0)
    monkeypatch.setattr(reading, "STATES_APART", 0)
    monkeypatch.setattr("workers.rooms.ring.ENTRIES", 4)


def test_every_member_gets_everything_once_and_in_order_or_is_told():
    model(700)()


# ---- each rule, left out -----------------------------------------------------------------------------------


def changes_at_once(self: Room, change: Any) -> None:
    """A member comes or goes in the middle of a batch."""
    change()


def newest_position(self: Room) -> Position:
    """What has come in is taken for what was sent out."""
    return Position(self.epoch, self.offset)


def newest_goal(self: Room) -> int:
    """Somebody who has read what is still in the batch is given the batch too."""
    return self.offset


def no_lines(self: Lagger) -> None:
    """A cursor from before a reset is taken for one after it."""
    self.line = self.room.line
    pump(self)


pump = Lagger.pump


def no_look_after_reconnect(self: Hub) -> None:
    """Inboxes are told of the first subscription to what they share, but not of that after a lost connection."""
    if not any(room.follower.phase is LIVE for room in self.rooms.values()):
        shared_subscribed(self)


shared_subscribed, LIVE = Hub.shared_subscribed, FollowerPhase.LIVE


@pytest.mark.parametrize(
    ("owner", "name", "mutant"),
    [
        (Room, "when_idle", changes_at_once),
        (Room, "position", property(newest_position)),
        (Room, "goal", property(newest_goal)),
        (Lagger, "pump", no_lines),
        (Hub, "shared_subscribed", no_look_after_reconnect),
    ],
    ids=["changes at once", "newest position", "newest goal", "no lines", "no look after a reconnect"],
)
def test_the_model_finds_the_fault_when_a_rule_is_left_out(monkeypatch, owner, name, mutant):
    monkeypatch.setattr(owner, name, mutant)
    with pytest.raises((AssertionError, RuntimeError, KeyError)):
        model(700)()
