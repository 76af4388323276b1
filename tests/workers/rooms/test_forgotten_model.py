"""Logs into which nobody wrote are forgotten: whoever has seen nothing has lost nothing, unless the store was wiped.

As `test_recovery_model.py`, with logs that have several lives, each with an id of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import strategies as st

from tests.workers.rooms.lineage import Log, model, steps_with
from workers.bus.port import LogState, Position
from workers.rooms.recovery import HistoryReset, Verdict, judge

# The log is forgotten if nobody wrote into it; the store begins anew, without its data.
STEPS = steps_with(st.tuples(st.sampled_from(["forget", "wipe"]), st.just(0)))
FIRST = "log-0000r0"  # an epoch: eight characters of the log's id, and the reign


@dataclass
class ForgottenLog(Log):
    """A log that has another id in each of its lives."""

    life: int = 0
    wiped: set[int] = field(default_factory=set)  # the readers that have to be told of a wipe

    def forget(self, _: int) -> None:
        if not self.entries and not self.history:
            self.life += 1
            self.born = self.epoch(self)
            self.reigns = [(self.born, 1)]

    def wipe(self, _: int) -> None:
        self.wiped = {0, 1, 2} if self.entries else self.wiped
        self.life, self.reign, self.first = self.life + 1, self.reign + 1, 1
        self.born = self.epoch(self)
        self.entries, self.history, self.reigns = [], [], [(self.born, 1)]

    def judged(self, reader: int, position: Position, verdict: Verdict, state: LogState) -> None:
        if reader in self.wiped:
            assert isinstance(verdict, HistoryReset), "the store lost what it had, and nobody was told"
        self.wiped = self.wiped - {reader}
        if isinstance(verdict, HistoryReset):
            nothing = position.offset == 0 and position.epoch[8:] == state.reigns[0].epoch[8:]
            assert not nothing, "a reset of a log into which nobody had written"


def present_reign(log: ForgottenLog) -> str:
    return f"log-{log.life:04}r{log.reign}"


def judge_nothing_seen(position: Position, state: LogState) -> Verdict:
    """Mutant: whoever has seen nothing has lost nothing, whatever log there is now."""
    return judge(Position(state.reigns[0].epoch, 0) if position.offset == 0 else position, state)


def judge_by_id(position: Position, state: LogState) -> Verdict:
    """Mutant: another id of the log is always a loss."""
    same = any(one.epoch[:8] == position.epoch[:8] for one in state.reigns)
    return judge(position, state) if same else HistoryReset(max(state.reigns[-1].first, state.first) - 1)


MAKE = partial(ForgottenLog, present_reign, FIRST)


def test_a_reader_is_told_exactly_when_what_it_saw_is_gone():
    model(STEPS, MAKE, judge, 400)()


@pytest.mark.parametrize("judge_", [judge_nothing_seen, judge_by_id], ids=["nothing seen, nothing lost", "ids alone"])
def test_the_model_finds_what_weaker_rules_get_wrong(judge_):
    with pytest.raises(AssertionError):
        model(STEPS, MAKE, judge_, 3000)()
