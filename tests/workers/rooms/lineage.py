"""A model of a log whose store begins anew, and of readers who come back: what was really written, and what each saw.

The tests give the log further events, and the rules by which readers are told; `test_recovery_model.py` has the nodes
of a cluster, `test_forgotten_model.py` logs with several lives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from workers.bus.port import LogState, Position, Reign
from workers.rooms.recovery import HistoryReset, Verdict, epoch_at

Judge = Callable[[Position, LogState], Verdict]


def steps_with(*others: st.SearchStrategy[tuple[str, int]]) -> st.SearchStrategy[list[tuple[str, int]]]:
    """Events in any order: those of every log, and others."""
    return st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.integers(1, 4)),
            st.tuples(st.just("restart"), st.integers(0, 6)),  # and lose so many entries
            st.tuples(st.just("read"), st.integers(0, 2)),  # one of three readers reads to the top
            st.tuples(st.just("trim"), st.integers(0, 3)),
            *others,
        ),
        max_size=40,
    )


@dataclass
class Log:
    """What the store has; `reigns` is rolled back together with it, as in the scripts. `epoch` names the present."""

    epoch: Callable[[Any], str]
    born: str  # the epoch in which it began
    entries: list[int] = field(default_factory=list)  # the identity of each message, by offset - 1
    history: list[tuple[int, list[tuple[str, int]]]] = field(default_factory=list)
    reigns: list[tuple[str, int]] = field(init=False)
    reign: int = 0  # the last one that began
    written: int = 0
    first: int = 1

    def __post_init__(self) -> None:
        self.reigns = [(self.born, 1)]

    def publish(self, count: int) -> None:
        for _ in range(count):
            if self.reigns[-1][0] != self.epoch(self):
                self.reigns.append((self.epoch(self), len(self.entries) + 1))
            self.written += 1
            self.entries.append(self.written)
            self.history.append((len(self.entries), list(self.reigns)))

    def restart(self, lost: int) -> None:
        self.reign += 1
        del self.entries[max(len(self.entries) - lost, 0) :]
        self.first = min(self.first, len(self.entries) + 1)
        if lost:
            self.history = [one for one in self.history if one[0] <= len(self.entries)]
            self.reigns = list(self.history[-1][1]) if self.history else [(self.born, 1)]

    def trim(self, count: int) -> None:
        self.first = min(self.first + count, len(self.entries) + 1)

    def state(self) -> LogState:
        reigns = list(self.reigns)
        if reigns[-1][0] != self.epoch(self):
            reigns.append((self.epoch(self), len(self.entries) + 1))
            self.reigns = reigns  # a look writes it down
        return LogState(reigns[-1][0], len(self.entries), self.first, tuple(Reign(*one) for one in reigns))

    def judged(self, reader: int, position: Position, verdict: Verdict, state: LogState) -> None:
        """Check what else is promised about a verdict."""


class Readers:
    """Three, each with a position and with what it saw by offset."""

    def __init__(self, log: Log, judge_: Judge) -> None:
        self._log, self._judge = log, judge_
        self._positions = [Position(log.born, 0)] * 3
        self._seen: list[dict[int, int]] = [{}, {}, {}]

    def read(self, reader: int) -> None:
        """Read to the top, and check what was told before."""
        log, position, mine = self._log, self._positions[reader], self._seen[reader]
        state = log.state()
        verdict = self._judge(position, state)
        true_line = all(offset <= state.top and log.entries[offset - 1] == entry for offset, entry in mine.items())
        log.judged(reader, position, verdict, state)
        if isinstance(verdict, HistoryReset):
            # What may be lost besides messages is that somebody looked.
            known = position.epoch in [reign.epoch for reign in state.reigns]
            assert not true_line or not known, "a reset although nothing was lost"
            self._seen[reader] = mine = {}
        else:
            assert true_line, "what was read is not what the log says, and nobody was told"
            if verdict.gap is not None:
                assert verdict.gap == (position.offset + 1, state.first - 1)
        for offset in range(verdict.after + 1, state.top + 1):
            assert log.entries[offset - 1] not in mine.values(), "the same message twice"
        # What a gap passed over was on the line too.
        mine.update(enumerate(log.entries, start=1))
        # Written under its own epoch, but at the top the present reign is the better one to remember.
        self._positions[reader] = Position(state.epoch, state.top)
        assert state.top == 0 or epoch_at(state.top, state) in [reign.epoch for reign in state.reigns]


def model(
    steps: st.SearchStrategy[list[tuple[str, int]]], make: Callable[[], Log], judge_: Judge, examples: int
) -> Callable[[], None]:
    """A test that plays so many lists of events on a log of `make`, each event by the log's method of that name."""

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(steps)
    def run(played: list[tuple[str, int]]) -> None:
        log = make()
        readers = Readers(log, judge_)
        for what, number in played:
            act = readers.read if what == "read" else getattr(log, what)
            act(number)

    return run
