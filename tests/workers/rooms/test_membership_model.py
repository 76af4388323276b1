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

from chatmaster.settings import Server, Settings
from tests.workers.rooms.conftest import tell
from tests.workers.rooms.modelbus import ModelBus, is_change
from workers.bus.port import LogState, Position
from workers.rooms import flush, history_reader, room, slow_consumer
from workers.rooms.fanout import Fanout, Segment
from workers.rooms.flush import Pace
from workers.rooms.follower import FollowPhase as FollowerPhase
from workers.rooms.hub import Hub
from workers.rooms.join import JoinPart
from workers.rooms.log_item import Item, Stretch
from workers.rooms.room import Room
from workers.rooms.slow_consumer import SlowConsumer
from workers.rooms.types import Gap, Joined, RoomMember
from workers.transport.frames import text_frame

ROOMS = ("a", "@b")  # one with a channel of its own, and one that shares it
TURN = 0.001  # seconds of the model's clock
ACTIONS = (
    ["write"] * 8 + ["hear"] * 8 + ["turn"] * 8 + ["answer"] * 4 + ["join"] * 4 + ["leave"] * 2
    + ["pause", "resume", "resume", "close", "cut", "save", "roll back", "trim", "pause while writing", "show"]
)  # fmt: skip
# Who returns from another worker, which was ahead of this one, while the store loses what that one had seen.
RETURNS = (
    ["write"] * 6 + ["hear"] * 3 + ["turn"] * 6 + ["answer"] * 5 + ["join"] * 4 + ["leave"]
    + ["see elsewhere"] * 4 + ["save"] * 2 + ["roll back"]
)  # fmt: skip
# Few are LIVE, and hardly ever all the time.
PAUSES = (
    ["write"] * 5 + ["hear"] * 8 + ["turn"] * 3 + ["answer"] * 2 + ["join"] * 3 + ["leave"]
    + ["pause", "resume", "resume"] * 2
)  # fmt: skip
# Whose connections go to another worker and come back, in the middle of whatever is being written.
MOVES = (
    ["write"] * 8 + ["hear"] * 8 + ["turn"] * 10 + ["answer"] * 4 + ["join"] * 4 + ["leave"] + ["depart"] * 5
    + ["arrive"] * 5 + ["pause", "resume", "resume", "save", "roll back", "trim"]
)  # fmt: skip
# Changes of messages are trimmed from among them while many read on from where they were.
HOLES = PAUSES + ["trim a change"] * 4 + ["trim", "cut", "save", "roll back"]


class Reader:
    """A member and its transport in one; it checks what it is sent."""

    def __init__(self, hub: Hub, number: int, bus: ModelBus) -> None:
        self.hub = hub
        self.bus = bus
        self.id = str(number)
        self.user = ""
        self.deflate = number % 3 == 0
        self.paused = False
        self.inside: tuple[Any, ...] = ()
        self.pause_in_write = False
        self.closed = False
        self.at: dict[str, int] = {}  # offset, by room
        self.seen: dict[str, dict[int, int]] = {}
        self.last: dict[str, Position] = {}  # where it would resume
        self.away: dict[str, Position] | None = None  # it has left its rooms, and will go on in them from there
        self.departing = False

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
            self.hub.members.pause(self)

    def take(self, message: dict[str, Any]) -> None:
        where = message["room"]
        if message["type"] == "typing":
            return
        assert where in self.at, "a message of a room that it is not in"
        if message["type"] == "gap":
            assert message["from"] == self.at[where] + 1, "the gap does not touch"
            self.judge_gap(where, message)
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

    def judge_gap(self, where: str, gap: dict[str, Any]) -> None:
        """It is of changes alone where it says so, and else of what was trimmed in front."""
        log = self.bus.log(where)
        if gap["epoch"] == self.bus.epoch():  # else it was read before a rollback
            kinds = {is_change(one) for one in log.entries[gap["from"] - 1 : gap["to"]]}
            assert kinds == {True} if gap.get("changes") else gap["to"] < log.first, "it says what it is not"

    def join(self, where: str, since: Position | None) -> None:
        def announce(joined: list[Joined]) -> None:
            assert not self.closed, "it joined after it was closed"
            if not joined or where in self.at:  # it left meanwhile, or was there already
                return
            (one,) = joined
            self.seen.setdefault(where, {})
            if since is None:
                self.seen[where].clear()
                self.last[where] = Position(one.epoch, one.offset)
            self.at[where] = since.offset if since is not None else one.offset

        self.hub.members.join(self, [(where, since)], announce, lambda error: None)

    def depart(self) -> None:
        def gone(stood: dict[str, Position]) -> None:
            self.departing = False
            for where, position in stood.items():
                assert position.offset == self.at[where], "it left without what it should have been sent"
            self.away = stood
            self.at.clear()

        self.departing = True
        self.hub.members.depart(self, gone)

    def arrive(self) -> None:
        """Come back to where it stood: at once, but for rooms that it has to join."""
        assert self.away is not None
        stood, self.away = list(self.away.items()), None
        self.at = {where: position.offset for where, position in stood}
        for where, position in self.hub.members.arrive(self, stood):
            del self.at[where]
            self.join(where, position)

    def saw_elsewhere(self, where: str, position: Position, entries: list[int]) -> None:
        """It was in the room at another worker, which was not behind."""
        self.seen[where] = dict(enumerate(entries, 1))
        self.last[where] = position

    def left(self, where: str) -> None:
        self.at.pop(where, None)

    def leave(self, where: str) -> None:
        self.hub.members.leave(self, where, lambda: self.left(where))


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock moves on with every turn of the model, and hardly otherwise: a late batch waits some turns."""

    now = 0.0
    failure: BaseException | None = None  # what a callback raised, which the loop would only log

    def time(self) -> float:
        self.now += TURN / 100
        return self.now

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failure = self.failure or context.get("exception")


class LatePace(Pace):
    """Every batch waits, however little the last one took."""

    def wait(self, now: float) -> float:
        return self._delay


async def turn() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop)
    loop.now += TURN
    await asyncio.sleep(0)
    if loop.failure is not None:
        raise loop.failure


GROUPS = (1,) * 20 + (3,)  # what one script appends; alone more often finds the rarer faults


async def play(seed: int, length: int, actions: list[str] | None) -> None:
    """`actions` are the ones to choose from; None: any of the mixes without holes."""
    chance = random.Random(seed)
    bus = ModelBus()
    hub = Hub(Settings(server=Server(max_batch_delay=chance.choice((0.0, 4 * TURN, 30 * TURN)))))
    bus.sink = hub
    hub.bind(bus)
    bus.start()
    hub.teller = tell
    readers = [Reader(hub, number, bus) for number in range(chance.choice((1, 2, 6)))]
    actions = actions or chance.choice((ACTIONS, RETURNS, PAUSES, MOVES))
    for _ in range(length):
        await step(bus, hub, readers, chance.choice(actions), chance)
    await settle(bus, readers)
    check(bus, hub, readers)
    await hub.stop()


async def step(bus: ModelBus, hub: Hub, readers: list[Reader], action: str, chance: random.Random) -> None:
    reader, where = chance.choice(readers), chance.choice(ROOMS)
    if reader.away is not None or reader.departing:  # nothing is begun for it then
        if action == "arrive" and reader.away is not None:
            reader.arrive()
        elif action in ("join", "leave", "pause", "resume"):
            return
    elif action == "depart" and not hub.members.joining(reader):
        reader.depart()
    if action == "write":
        bus.write(where, chance.choice(GROUPS))
    elif action == "hear":
        bus.hear()
    elif action == "answer":
        bus.answer()
    elif action == "turn":
        await turn()
    elif action == "join" and not reader.closed:
        since = reader.last.get(where) if where not in reader.at and chance.random() < 0.7 else None
        if not hub.members.joining(reader):
            reader.join(where, since)
    elif action == "leave":
        reader.leave(where)
    elif action == "pause" and not reader.paused:
        reader.paused = True
        hub.members.pause(reader)
    elif action == "pause while writing":
        reader.pause_in_write = True
    elif action == "resume" and reader.paused:
        reader.paused = False
        hub.members.resume(reader)
    elif action == "close" and chance.random() < 0.2:
        hub.members.leave_all(reader)
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
    elif action == "trim a change":
        log = bus.log(where)
        for _ in range(3):
            log.trim_change(chance.randint(1, len(log.entries) + 1))
    elif action == "see elsewhere" and where not in reader.at and not hub.members.joining(reader):
        state = bus.state(where)
        reader.saw_elsewhere(where, Position(state.epoch, state.top), bus.log(where).entries)
    elif action == "show":
        hub.show(where, b'{"type":"typing","room":"%b"}' % where.encode())


async def settle(bus: ModelBus, readers: list[Reader]) -> None:
    for reader in readers:
        reader.pause_in_write = False
        while reader.departing:
            await turn()
        if reader.away is not None:
            reader.arrive()
        if reader.paused:
            reader.paused = False
            reader.hub.members.resume(reader)
    quiet = 0
    for _ in range(3000):
        if bus.channel or bus.questions:
            quiet = 0
            bus.hear()
            bus.answer()
        quiet += 1
        if quiet > 40:
            return
        await turn()
    raise AssertionError("it does not come to an end")


def check(bus: ModelBus, hub: Hub, readers: list[Reader]) -> None:
    for reader in readers:
        assert not hub.members.joining(reader), "its join waits for ever"
        assert sorted(hub.members.rooms_of(reader)) == sorted(reader.at), "who is in a room"
        for where, offset in reader.at.items():
            entries = bus.log(where).entries
            assert offset == len(entries), f"it was sent up to {offset} of {len(entries)}"
            for at, identity in reader.seen[where].items():
                assert entries[at - 1] == identity, "what it was sent is not what the log says, and it was not told"
            assert reader in hub.members.of(where)
            assert hub.rooms[where].is_live(reader), "it does not lag any more"


def model(count: int, actions: list[str] | None = None):
    @examples(
        max_examples=count, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(0, 2**32), st.integers(10, 250))
    def run(seed, length):
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(play(seed, length, actions))

    return run


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Slices of one member, budgets of two, rings and pages of a few entries: every boundary is met all the time."""
    monkeypatch.setattr(room, "AT_ONCE", 1)
    monkeypatch.setattr(room, "SLICE", 1)
    monkeypatch.setattr(flush, "SLICE", 1)
    monkeypatch.setattr(flush, "MOST", 2)
    monkeypatch.setattr(flush, "Pace", LatePace)
    monkeypatch.setattr(slow_consumer, "STEP", 100)
    monkeypatch.setattr(slow_consumer, "TURN", 150)
    monkeypatch.setattr(history_reader, "RETRY", 0)
    monkeypatch.setattr(history_reader, "STATES_APART", 0)
    monkeypatch.setattr("workers.rooms.ring.ENTRIES", 4)


def test_every_member_gets_everything_once_and_in_order_or_is_told():
    model(700)()


def test_who_reads_what_changes_were_trimmed_from_is_told_which():
    model(700, HOLES)()


async def rolled_back_under_a_join(bus: ModelBus, hub: Hub) -> None:
    stays, returns = Reader(hub, 1, bus), Reader(hub, 2, bus)
    stays.join("a", None)
    await settle(bus, [stays])
    for _ in range(2):
        bus.write("a")
    await settle(bus, [stays])
    bus.save()
    for _ in range(2):
        bus.write("a")  # this worker does not hear of them
    returns.saw_elsewhere("a", Position(bus.state("a").epoch, 4), bus.log("a").entries)
    returns.join("a", returns.last["a"])
    while not bus.questions:
        await turn()
    bus.answer()  # its position is in the log
    while not bus.questions:  # the follower looks for what the member has seen
        await turn()
    bus.roll_back()
    bus.write("a")
    bus.write("a")  # others, in the same places
    await settle(bus, [stays, returns])
    assert "a" in returns.at
    check(bus, hub, [stays, returns])


def test_a_join_that_was_judged_before_a_rollback_is_judged_again():
    with asyncio.Runner(loop_factory=Loop) as runner:

        async def run() -> None:
            bus = ModelBus()
            hub = Hub(Settings())
            bus.sink = hub
            hub.bind(bus)
            hub.teller = tell
            await rolled_back_under_a_join(bus, hub)
            await hub.stop()

        runner.run(run())


async def lost_its_place_and_moves_away(bus: ModelBus, hub: Hub) -> None:
    stays, returns = Reader(hub, 1, bus), Reader(hub, 2, bus)
    stays.join("a", None)
    bus.write("a", 3)
    await settle(bus, [stays])
    returns.saw_elsewhere("a", Position("r0000009", 2), [7, 8])  # of a run of the store that nobody remembers
    returns.paused = True
    returns.join("a", returns.last["a"])
    while "a" not in returns.at:
        bus.answer()
        await turn()
    returns.paused = False  # its buffer has run empty, and the turn that goes on with it has not come
    hub.members.resume(returns)
    returns.depart()
    assert returns.away == returns.last, "it stood where it was last told that it stands"
    assert returns.last["a"].epoch == bus.epoch() and not returns.seen["a"]
    await settle(bus, [stays, returns])
    check(bus, hub, [stays, returns])


def test_who_moves_away_before_its_turn_is_told_first_that_its_place_was_lost():
    with asyncio.Runner(loop_factory=Loop) as runner:

        async def run() -> None:
            bus = ModelBus()
            hub = Hub(Settings())
            bus.sink = hub
            hub.bind(bus)
            bus.start()
            hub.teller = tell
            await lost_its_place_and_moves_away(bus, hub)
            await hub.stop()

        runner.run(run())


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


def gathers_for_live_members(self: Room) -> bool:
    """What comes while nobody is LIVE is left out of the batch that waits."""
    return bool(self.live or self.squeezed)


def leaves_unfinished(self: Room, member: Any) -> bool:
    """Whoever moves away is not given the batch that is being written."""
    return True


def written_again(self: Segment, transport: Any) -> bool:
    """Whoever leaves is given the batch, and again when its turn comes."""
    if transport in self.targets[self.at :]:
        transport.write(self.data)
    return False


def always_open(self: Fanout, is_open: bool) -> None:
    """A batch takes along what comes, although somebody has left or entered in the middle of it."""


def takes_along_for_the_rest(self: Fanout, items: list[Item], apart: dict[RoomMember, Any]) -> None:
    """What is taken along goes only to those who have still to be written to."""
    done, self._done = self._done, []
    absorb(self, items, apart)
    self._done += done


absorb = Fanout.absorb


def judged_once(self: JoinPart) -> bool:
    """A `since` that was judged stays judged, whatever the log loses meanwhile."""
    return self.cursor is not None


def no_lines(self: SlowConsumer) -> None:
    """A cursor from before a reset is taken for one after it."""
    self.line = self.room.line
    pump(self)


pump = SlowConsumer.pump


def told_in_its_turn(self: SlowConsumer) -> None:
    """Whoever cannot read just now and moves away is told neither here nor there of what it missed."""
    if not self.member.paused:
        write_notices(self)


write_notices = SlowConsumer.write_notices


def no_word_of_holes(self: SlowConsumer, state: LogState, last: int) -> None:
    """What was trimmed from among messages is passed over in silence."""
    self.epoch, self.offset = state.epoch, last


def holes_like_other_gaps(self: SlowConsumer, state: LogState, last: int) -> None:
    """What was trimmed from among messages is told as if messages were lost."""
    hole = Gap(state.epoch, self.offset + 1, last)
    self.epoch, self.offset = state.epoch, last
    self.member.ws.transport.write(text_frame(self._host.notice_of(self.room, self.member, hole) or b""))


def no_holes(self: SlowConsumer, state: LogState, page: Stretch) -> None:
    """A page is written only as far as nothing is missing from it."""
    items = page.items
    start = next((at for at, item in enumerate(items) if item.offset == self.offset + 1), len(items))
    stop = start
    while stop < len(items) and items[stop].offset == self.offset + 1 + stop - start <= self.room.goal:
        stop += 1
    if stop > start:
        self._write(items[start:stop])


def no_look_after_reconnect(self: Hub) -> None:
    """Inboxes are told of the first subscription to what they share, but not of that after a lost connection."""
    if not any(room.follower.phase is LIVE for room in self.rooms.values()):
        shared_subscribed(self)


shared_subscribed, LIVE = Hub.shared_subscribed, FollowerPhase.LIVE


@pytest.mark.parametrize(
    ("owner", "name", "mutant", "actions"),
    [
        (Room, "when_idle", changes_at_once, None),
        (Room, "position", property(newest_position), None),
        (Room, "goal", property(newest_goal), None),
        (Room, "gathers", property(gathers_for_live_members), PAUSES),
        (Room, "finish", leaves_unfinished, MOVES),
        (Segment, "finish", written_again, MOVES),
        (Fanout, "open", property(lambda self: True, always_open), MOVES),
        (Fanout, "absorb", takes_along_for_the_rest, None),
        (JoinPart, "judged", property(judged_once), RETURNS),
        (SlowConsumer, "pump", no_lines, None),
        (SlowConsumer, "write_notices", told_in_its_turn, MOVES),
        (Hub, "shared_subscribed", no_look_after_reconnect, None),
    ],
    ids=[
        "changes at once",
        "newest position",
        "newest goal",
        "gathers for LIVE members",
        "leaves unfinished",
        "written again",
        "always open",
        "takes along for the rest",
        "judged once",
        "no lines",
        "told in its turn",
        "no look after a reconnect",
    ],
)
def test_the_model_finds_the_fault_when_a_rule_is_left_out(monkeypatch, owner, name, mutant, actions):
    monkeypatch.setattr(owner, name, mutant)
    with pytest.raises((AssertionError, RuntimeError, KeyError)):
        model(8000, actions)()


@pytest.mark.parametrize(
    ("owner", "name", "mutant"),
    [
        (SlowConsumer, "_pass_hole", no_word_of_holes),
        (SlowConsumer, "_pass_hole", holes_like_other_gaps),
        (SlowConsumer, "_write_page", no_holes),
        (Stretch, "after", property(lambda self: 0)),
    ],
    ids=["no word of holes", "holes like other gaps", "no holes", "holes before the page"],
)
def test_the_model_finds_the_fault_when_a_rule_about_holes_is_left_out(monkeypatch, owner, name, mutant):
    monkeypatch.setattr(owner, name, mutant)
    with pytest.raises((AssertionError, RuntimeError, KeyError)):
        model(8000, HOLES)()
