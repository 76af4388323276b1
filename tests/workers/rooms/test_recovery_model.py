"""Lineage against random rollbacks: a reader is told exactly when what it saw is no longer what the log says.

The model keeps what was really written; each mutant is a rule that somebody might think is enough, and must be caught.
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
        st.tuples(st.just("move"), st.just(0)),  # of the shard to the other of two nodes, which loses nothing
    ),
    max_size=40,
)


@dataclass
class Log:
    """What the store has; `reigns` is rolled back together with it, as in the scripts."""

    entries: list[int] = field(default_factory=list)  # the identity of each message, by offset - 1
    history: list[tuple[int, list[tuple[str, int]]]] = field(default_factory=list)
    reigns: list[tuple[str, int]] = field(default_factory=lambda: [("r0", 1)])
    reign: int = 0  # of all nodes, the last one that began
    nodes: list[str] = field(default_factory=lambda: ["r0", "s0"])  # the reign of each
    at: int = 0  # the node that has the log
    aliases: int = 0
    alias: tuple[str, str] = ("", "")  # the present reign, and what it is called where it came back
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
        self.nodes[self.at] = f"r{self.reign}"
        del self.entries[max(len(self.entries) - lost, 0) :]
        self.first = min(self.first, len(self.entries) + 1)
        if not lost:
            return
        self.history = [one for one in self.history if one[0] <= len(self.entries)]
        self.reigns = list(self.history[-1][1]) if self.history else [("r0", 1)]

    def state(self, epoch: Callable[[Log], str]) -> LogState:
        reigns = list(self.reigns)
        if reigns[-1][0] != epoch(self):
            reigns.append((epoch(self), len(self.entries) + 1))
            self.reigns = reigns  # a look writes it down
        return LogState(reigns[-1][0], len(self.entries), self.first, tuple(Reign(*one) for one in reigns))


def present_reign(log: Log) -> str:
    """The reign of the node; one that comes back gets an alias, as in log.lua."""
    reign = log.nodes[log.at]
    listed = log.reigns[-1][0]
    if listed == reign or (log.alias == (reign, listed)):
        return listed
    if reign in [name for name, _ in log.reigns]:
        log.aliases += 1
        log.alias = (reign, f"a{log.aliases}")
        return log.alias[1]
    return reign


def reign_without_alias(log: Log) -> str:
    """Mutant: a reign that comes back is called as before."""
    return log.nodes[log.at]


def one_epoch(log: Log) -> str:
    """Mutant: the log has one epoch for ever."""
    return "r0"


def counted_epoch(log: Log) -> str:
    """Mutant: a number that is kept in the log and grows at each restart is rolled back with it."""
    return f"r{min(log.reign, len(log.reigns))}"


def judge_by_top(position: Position, state: LogState) -> Verdict:
    """Mutant: only a position above the top is a reset."""
    if position.offset > state.top:
        return HistoryReset(state.top)
    return judge(Position(state.epoch, position.offset), state)


def judge_one_too_far(position: Position, state: LogState) -> Verdict:
    """Mutant: the first offset of the next reign itself still counts as the reader's own."""
    if position.offset > 0 and isinstance(judge(position, state), HistoryReset):
        return judge(Position(position.epoch, position.offset - 1), state)
    return judge(position, state)


def play(steps, epoch: Callable[[Log], str], judge_: Callable[[Position, LogState], Verdict]) -> None:
    log = Log()
    positions = [Position("r0", 0)] * 3
    seen: list[dict[int, int]] = [{}, {}, {}]
    for what, number in steps:
        if what == "publish":
            for _ in range(number):
                log.publish(epoch)
        elif what == "restart":
            log.restart(number)
        elif what == "trim":
            log.first = min(log.first + number, len(log.entries) + 1)
        elif what == "move":
            log.at = 1 - log.at
        else:
            _read(log, number, positions, seen, epoch, judge_)


def _read(log, reader, positions, seen, epoch, judge_) -> None:
    state = log.state(epoch)
    verdict = judge_(positions[reader], state)
    mine = seen[reader]
    true_line = all(offset <= state.top and log.entries[offset - 1] == entry for offset, entry in mine.items())
    if isinstance(verdict, HistoryReset):
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
    model(present_reign, judge, 800)()


@pytest.mark.parametrize(
    ("epoch", "judge_"),
    [
        (one_epoch, judge),
        (counted_epoch, judge),
        (reign_without_alias, judge),
        (present_reign, judge_by_top),
        (present_reign, judge_one_too_far),
    ],
    ids=["one epoch for ever", "a counter", "no alias", "only the top", "one too far"],
)
def test_the_model_finds_what_weaker_rules_get_wrong(epoch, judge_):
    with pytest.raises(AssertionError):
        model(epoch, judge_, 4000)()
