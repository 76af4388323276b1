"""Lineage against random rollbacks: a reader is told exactly when what it saw is no longer what the log says.

The model keeps what was really written; each mutant is a rule that somebody might think is enough, and must be caught.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import strategies as st

from tests.workers.rooms.lineage import Log, model, steps_with
from workers.bus.port import LogState, Position
from workers.rooms.recovery import HistoryReset, Verdict, judge

# "move": of the shard to the other of two nodes, which loses nothing.
STEPS = steps_with(st.tuples(st.just("move"), st.just(0)))


@dataclass
class MovingLog(Log):
    """A log that one of two nodes has. A node forgets nothing of what came with the shard: that came whole."""

    nodes: list[str] = field(default_factory=lambda: ["r0", "s0"])  # the reign of each
    at: int = 0  # the node that has the log
    aliases: int = 0
    came_with: int = 0  # entries, when the node got the shard
    alias: tuple[str, str] = ("", "")  # the present reign, and what it is called where it came back

    def restart(self, lost: int) -> None:
        super().restart(min(lost, len(self.entries) - self.came_with))
        self.nodes[self.at] = f"r{self.reign}"

    def move(self, _: int) -> None:
        self.at, self.came_with = 1 - self.at, len(self.entries)


def present_reign(log: MovingLog) -> str:
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


def reign_without_alias(log: MovingLog) -> str:
    """Mutant: a reign that comes back is called as before."""
    return log.nodes[log.at]


def one_epoch(log: MovingLog) -> str:
    """Mutant: the log has one epoch for ever."""
    return "r0"


def counted_epoch(log: MovingLog) -> str:
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


def test_a_reader_is_told_exactly_when_what_it_saw_is_gone():
    model(STEPS, partial(MovingLog, present_reign, "r0"), judge, 800)()


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
        model(STEPS, partial(MovingLog, epoch, "r0"), judge_, 4000)()
