"""Failovers against workers that write to one store and listen to another: what was acknowledged and is lost is told.

The model has one room, a master with a replica that lags, and two workers whose commands and subscription move to the
promoted replica at different times. Whoever was in the room when an entry was acknowledged that is lost later must have
been told after the acknowledgement; where nothing is lost, nobody may be told. Each mutant is a rule that somebody
might think is enough, and must be caught.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from workers.bus.port import LogState, Placed, Position, Reign
from workers.rooms.acknowledged import AckedEntry, Acknowledged
from workers.rooms.recovery import HistoryReset, judge

ROOM = "lobby"
WORKERS = 2
RUNS = 3000


@dataclass
class Log:
    """The room in one store."""

    reign: str
    entries: list[int] = field(default_factory=list)  # identities, by offset - 1
    reigns: list[tuple[str, int]] = field(default_factory=lambda: [("r0", 1)])
    noted: dict[str, float] = field(default_factory=dict)  # lost reigns, and when the last of it was acknowledged

    def append(self, identity: int) -> Placed:
        self.look()
        self.entries.append(identity)
        return Placed(self.reign, len(self.entries), 0)

    def look(self) -> LogState:
        if self.reigns[-1][0] != self.reign:
            self.reigns.append((self.reign, len(self.entries) + 1))
        return LogState(self.reign, len(self.entries), 1, tuple(Reign(*one) for one in self.reigns))

    def copy(self, other: Log) -> None:
        self.entries, self.reigns, self.noted = list(other.entries), list(other.reigns), dict(other.noted)

    def has(self, place: Position) -> bool:
        """As on_the_line in log.lua."""
        return not isinstance(judge(place, self.look()), HistoryReset)


@dataclass
class Worker:
    acknowledged: Acknowledged
    writes: int = 0  # which store takes its commands
    hears: int = 0
    position: Position = field(default_factory=lambda: Position("r0", 0))
    told: int = -1  # when its members were last told
    told_of: str = ""


class World:
    def __init__(self, chance: random.Random, make: Callable[[], Acknowledged], rules: Rules) -> None:
        self.chance, self.rules = chance, rules
        self.stores = [Log("r0"), Log("r0")]
        self.workers = [Worker(make()) for _ in range(WORKERS)]
        self.promoted = False
        self.now = self.written = self.reigns = 0
        self.acked: list[tuple[int, int]] = []  # when, identity
        self.losses: list[
            tuple[str, float]
        ] = []  # entry -1, -2 ...: the lost reign, and when the last of it was acknowledged

    def step(self) -> None:
        self.now += 1
        worker = self.chance.choice(self.workers)
        self.chance.choice((self.say, self.say, self.follow, self.replicate, self.fail_over, self.move, self.look))(
            worker
        )

    def say(self, worker: Worker) -> None:
        self.written += 1
        worker.acknowledged.placed(ROOM, self.stores[worker.writes].append(self.written), self.now)
        self.acked.append((self.now, self.written))

    def replicate(self, _: Worker) -> None:
        if not self.promoted:
            self.stores[1].copy(self.stores[0])

    def fail_over(self, _: Worker) -> None:
        """The replica is promoted. The old master goes on for those who are still there; it may have been restarted."""
        if not self.promoted:
            self.promoted = True
            self.reigns += 1
            self.stores[1].reign = f"r{self.reigns}"
            if self.chance.random() < 0.5:
                self.reigns += 1
                self.stores[0].reign = f"r{self.reigns}"

    def move(self, worker: Worker) -> None:
        if self.promoted and self.chance.random() < 0.5:
            worker.hears = 1
        elif self.promoted:
            worker.hears = worker.writes = 1

    def look(self, worker: Worker) -> None:
        """The worker notices that another store takes its commands; it may have written there before."""
        if worker.writes == 1:
            self.check(worker)

    def check(self, worker: Worker) -> None:
        log = self.stores[1]
        answers = worker.acknowledged.answers()
        for one in answers:
            noted = log.noted.get(one.epoch, -1)
            if not log.has(one.position) and not self.rules.known(noted, one.at):
                log.noted[one.epoch] = one.at
                self.losses.append((one.epoch, one.at))
                log.append(-len(self.losses))
                worker.acknowledged.noted(one)
        worker.acknowledged.confirmed(answers)

    def follow(self, worker: Worker) -> None:
        """Read up to the top, as after any sign that something is missing."""
        log = self.stores[worker.hears]
        state = log.look()
        verdict = judge(worker.position, state)
        if isinstance(verdict, HistoryReset):
            worker.told, worker.told_of = self.now, worker.position.epoch
        for entry in log.entries[verdict.after :]:
            if entry < 0 and self.rules.tells:
                epoch, at = self.losses[-entry - 1]
                if not self.rules.is_told(worker, epoch, at):
                    worker.told, worker.told_of = self.now, epoch
        worker.position = Position(state.epoch, state.top)

    def settle(self) -> None:
        for worker in self.workers:
            self.now += 1
            self.fail_over(worker)
            worker.hears = worker.writes = 1
            self.check(worker)
        self.now += 1
        for worker in self.workers:
            self.follow(worker)
        there = self.stores[1].entries
        lost = [when for when, identity in self.acked if identity not in there]
        for worker in self.workers:
            assert not lost or worker.told > max(lost), "what was acknowledged is lost, and nobody was told"
        assert lost or not self.losses, "a loss is noted although nothing is lost"
        for before, (epoch, at) in enumerate(self.losses):
            earlier = [when for lost_epoch, when in self.losses[:before] if lost_epoch == epoch]
            assert not earlier or at > max(earlier), "the same loss is noted twice"


@dataclass(frozen=True)
class Rules:
    """As they are in loss.lua and in losses.py, or a mutant's."""

    tells: bool = True
    known: Callable[[float, float], bool] = lambda noted, acked: noted >= acked
    is_told: Callable[[Worker, str, float], bool] = lambda one, epoch, at: one.told_of == epoch and one.told >= at


class NoAnswersCount(Acknowledged):
    """Mutant: only what was shown counts."""

    __slots__ = ()

    def placed(self, room: str, last: Placed, now: float) -> None:
        pass


class TheLatestAlone(Acknowledged):
    """Mutant: the answer of another store replaces what the last one had answered."""

    __slots__ = ()

    def placed(self, room: str, last: Placed, now: float) -> None:
        self._young[room] = last, now


class TheFirstAlone(Acknowledged):
    """Mutant: the first answer of an epoch stands for those after it."""

    __slots__ = ()

    def placed(self, room: str, last: Placed, now: float) -> None:
        known = self._young.get(room)
        if known is None or known[0].epoch != last.epoch:
            super().placed(room, last, now)


class ConfirmedForGood(Acknowledged):
    """Mutant: what was there once need not be asked for again, nor what came since."""

    __slots__ = ()

    def answers(self) -> list[AckedEntry]:
        return self._superseded


def play(make: Callable[[], Acknowledged], rules: Rules) -> None:
    for seed in range(RUNS):
        world = World(random.Random(seed), make, rules)
        for _ in range(world.chance.randint(1, 25)):
            world.step()
        world.settle()


def test_whoever_was_in_the_room_is_told_of_a_lost_answer() -> None:
    play(Acknowledged, Rules())


@pytest.mark.parametrize(
    ("make", "rules"),
    [
        (NoAnswersCount, Rules()),
        (TheLatestAlone, Rules()),
        (TheFirstAlone, Rules()),
        (ConfirmedForGood, Rules()),
        (Acknowledged, Rules(tells=False)),
        (Acknowledged, Rules(known=lambda noted, acked: False)),
        (Acknowledged, Rules(known=lambda noted, acked: noted >= 0)),
        (Acknowledged, Rules(is_told=lambda one, epoch, at: one.told_of == epoch)),
    ],
    ids=[
        "no answers",
        "the latest alone",
        "the first alone",
        "confirmed for good",
        "own position alone",
        "each worker notes",
        "noted once for ever",
        "told once for ever",
    ],
)
def test_the_model_finds_what_weaker_rules_miss(make: Callable[[], Acknowledged], rules: Rules) -> None:
    with pytest.raises(AssertionError):
        play(make, rules)


def test_what_is_old_and_what_is_too_much_is_forgotten() -> None:
    from workers.rooms import acknowledged

    kept = Acknowledged()
    kept.placed("a", Placed("r0", 1, 0), 1.0)
    kept.turn()
    kept.placed("a", Placed("r0", 2, 0), 2.0)
    kept.placed("a", Placed("r0", 1, 0, duplicate=True), 3.0)
    assert kept.answers() == [AckedEntry("a", "r0", 1, 1.0), AckedEntry("a", "r0", 2, 2.0)]
    kept.turn()
    kept.turn()
    assert kept.answers() == []
    for number in range(3 * acknowledged.ROOMS):
        kept.placed(f"room{number}", Placed("r0", 1, 0), 4.0)
    assert len(kept.answers()) <= 2 * acknowledged.ROOMS + 2
