"""Logs into which nobody wrote are forgotten: whoever has seen nothing has lost nothing, unless the store was wiped.

As `test_recovery_model.py`, with logs that have several lives, each with an id of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from workers.bus.port import LogState, Position, Reign
from workers.rooms.recovery import HistoryReset, Verdict, epoch_at, judge

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 4)),
        st.tuples(st.just("restart"), st.integers(0, 6)),  # and lose so many entries
        st.tuples(st.just("read"), st.integers(0, 2)),  # one of three readers reads to the top
        st.tuples(st.just("trim"), st.integers(0, 3)),
        # The log is forgotten if nobody wrote into it; the store begins anew, without its data.
        st.tuples(st.sampled_from(["forget", "wipe"]), st.just(0)),
    ),
    max_size=40,
)


FIRST = "log-0000r0"  # an epoch: eight characters of the log's id, and the reign


@dataclass
class Log:
    """What the store has; `reigns` is rolled back together with it, as in the scripts."""

    entries: list[int] = field(default_factory=list)  # the identity of each message, by offset - 1
    history: list[tuple[int, list[tuple[str, int]]]] = field(default_factory=list)
    reigns: list[tuple[str, int]] = field(default_factory=lambda: [(FIRST, 1)])
    born: str = FIRST  # the epoch in which it began
    reign: int = 0
    life: int = 0  # of the log, which has another id in each
    wiped: set[int] = field(default_factory=set)  # the readers that have to be told of a wipe
    written: int = 0
    first: int = 1

    def publish(self, epoch: Callable[[Log], str]) -> None:
        if self.reigns[-1][0] != epoch(self):
            self.reigns.append((epoch(self), len(self.entries) + 1))
        self.written += 1
        self.entries.append(self.written)
        self.history.append((len(self.entries), list(self.reigns)))

    def restart(self, lost: int) -> None:
        self.reign += 1
        del self.entries[max(len(self.entries) - lost, 0) :]
        self.first = min(self.first, len(self.entries) + 1)
        if not lost:
            return
        self.history = [one for one in self.history if one[0] <= len(self.entries)]
        self.reigns = list(self.history[-1][1]) if self.history else [(self.born, 1)]

    def forget(self, epoch: Callable[[Log], str]) -> None:
        if not self.entries and not self.history:
            self.life += 1
            self.born = epoch(self)
            self.reigns = [(self.born, 1)]

    def wipe(self, epoch: Callable[[Log], str]) -> None:
        self.wiped = {0, 1, 2} if self.entries else self.wiped
        self.life, self.reign, self.first = self.life + 1, self.reign + 1, 1
        self.born = epoch(self)
        self.entries, self.history, self.reigns = [], [], [(self.born, 1)]

    def state(self, epoch: Callable[[Log], str]) -> LogState:
        reigns = list(self.reigns)
        if reigns[-1][0] != epoch(self):
            reigns.append((epoch(self), len(self.entries) + 1))
            self.reigns = reigns  # a look writes it down
        return LogState(reigns[-1][0], len(self.entries), self.first, tuple(Reign(*one) for one in reigns))


def present_reign(log: Log) -> str:
    return f"log-{log.life:04}r{log.reign}"


def judge_nothing_seen(position: Position, state: LogState) -> Verdict:
    """Mutant: whoever has seen nothing has lost nothing, whatever log there is now."""
    return judge(Position(state.reigns[0].epoch, 0) if position.offset == 0 else position, state)


def judge_by_id(position: Position, state: LogState) -> Verdict:
    """Mutant: another id of the log is always a loss."""
    same = any(one.epoch[:8] == position.epoch[:8] for one in state.reigns)
    return judge(position, state) if same else HistoryReset(max(state.reigns[-1].first, state.first) - 1)


def play(steps, epoch: Callable[[Log], str], judge_: Callable[[Position, LogState], Verdict]) -> None:
    log = Log()
    positions = [Position(FIRST, 0)] * 3
    seen: list[dict[int, int]] = [{}, {}, {}]
    for what, number in steps:
        if what == "publish":
            for _ in range(number):
                log.publish(epoch)
        elif what == "restart":
            log.restart(number)
        elif what == "trim":
            log.first = min(log.first + number, len(log.entries) + 1)
        elif what == "forget":
            log.forget(epoch)
        elif what == "wipe":
            log.wipe(epoch)
        else:
            _read(log, number, positions, seen, epoch, judge_)


def _read(log, reader, positions, seen, epoch, judge_) -> None:
    state = log.state(epoch)
    verdict = judge_(positions[reader], state)
    mine = seen[reader]
    true_line = all(offset <= state.top and log.entries[offset - 1] == entry for offset, entry in mine.items())
    if reader in log.wiped:
        assert isinstance(verdict, HistoryReset), "the store lost what it had, and nobody was told"
    log.wiped = log.wiped - {reader}
    if isinstance(verdict, HistoryReset):
        nothing = positions[reader].offset == 0 and positions[reader].epoch[8:] == state.reigns[0].epoch[8:]
        assert not nothing, "a reset of a log into which nobody had written"
        # What may be lost besides messages is that somebody looked.
        known = positions[reader].epoch in [reign.epoch for reign in state.reigns]
        assert not true_line or not known, "a reset although nothing was lost"
        seen[reader] = mine = {}
    else:
        assert true_line, "what was read is not what the log says, and nobody was told"
        if verdict.gap is not None:
            assert verdict.gap == (positions[reader].offset + 1, state.first - 1)
    for offset in range(verdict.after + 1, state.top + 1):
        assert log.entries[offset - 1] not in mine.values(), "the same message twice"
    # What a gap passed over was on the line too.
    mine.update(enumerate(log.entries, start=1))
    # Written under its own epoch, but at the top the present reign is the better one to remember.
    positions[reader] = Position(state.epoch, state.top)
    assert state.top == 0 or epoch_at(state.top, state) in [reign.epoch for reign in state.reigns]


def model(epoch, judge_, examples: int):
    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(STEPS)
    def run(steps):
        play(steps, epoch, judge_)

    return run


def test_a_reader_is_told_exactly_when_what_it_saw_is_gone():
    model(present_reign, judge, 400)()


@pytest.mark.parametrize("judge_", [judge_nothing_seen, judge_by_id], ids=["nothing seen, nothing lost", "ids alone"])
def test_the_model_finds_what_weaker_rules_get_wrong(judge_):
    with pytest.raises(AssertionError):
        model(present_reign, judge_, 3000)()
