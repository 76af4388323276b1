"""What takes many steps: a reload or a replacement for age and size, and a scaling. Pure.

The policy has one of them at a time. It begins, goes on with every event until it has come to its end, or is given up
when a process dies that it waits for.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from chatmaster.policy.events import Timing
from chatmaster.policy.pool import Roster
from chatmaster.policy.processes import Process
from chatmaster.stats import MOST_WORKERS

RECYCLE_PAUSE: Final = 60.0  # seconds until a slot may be replaced again for age or size, whether or not it failed

REPLACED: Final = "replaced"


@dataclass(slots=True)
class Rolling:
    """New before old, one slot after another.

    The next slot's turn comes when the new process is ready; the old ones leave meanwhile, together, so that a
    client that is sent away does not come back to another old one.
    """

    generation: int
    operation: int | None = None  # None: nobody waits, it is a replacement for age or size
    timing: Timing | None = None
    slots: deque[int] = field(default_factory=deque)
    awaited: set[int] = field(default_factory=set)  # processes that have to get ready: one at most

    def begin(self, roster: Roster) -> str:
        """Returns why it cannot."""
        self.slots = self.slots or deque(sorted(n for n, slot in roster.slots.items() if not slot.removed))
        roster.timing = self.timing or roster.timing
        return ""

    def go_on(self, roster: Roster) -> bool:
        """Whether it has come to its end."""
        if self.awaited:
            return False
        if self.slots:
            slot = roster.slots[self.slots.popleft()]
            slot.patience = roster.now + RECYCLE_PAUSE
            self.awaited = {roster.spawn(slot, successor_of=self.generation).number}
            return False
        if any(process.ending == REPLACED for process in roster.processes.values()):
            return False
        if self.operation is not None:
            roster.generation = self.generation
        return True

    def concerns(self, process: Process, roster: Roster) -> bool:
        """Whether this unplanned death is the fault of what we do: it is awaited, or of the new generation."""
        new = self.generation != roster.generation and process.generation == self.generation
        return new or process.number in self.awaited

    def half_done(self, roster: Roster) -> str:
        """Which slots have come as far as the new generation, in words; "": none."""
        new = sorted(slot.number for slot in roster.slots.values() if slot.generation == self.generation)
        if not new or self.generation == roster.generation:
            return ""
        return f"generation {self.generation} runs already in {', '.join(map(str, new))}; the others stay as they were"

    def give_up(self, roster: Roster) -> None:
        """The old workers stay; a new one that is still starting goes."""
        for slot in roster.slots.values():
            slot.patience = roster.now + RECYCLE_PAUSE
            if slot.successor is not None:
                slot.successor.ending = "given up"
                roster.kill(slot.successor)
                slot.leaving.append(slot.successor)
                slot.successor = None
                if slot.current is None and not slot.removed:
                    slot.respawn = roster.now


@dataclass(slots=True)
class Scaling:
    """More or fewer slots for one Worker of the program."""

    operation: int
    group: str
    count: int
    awaited: set[int] = field(default_factory=set)  # processes that have to get ready
    added: set[int] = field(default_factory=set)  # slots
    removed: set[int] = field(default_factory=set)  # slots

    def begin(self, roster: Roster) -> str:
        """Returns why it cannot."""
        total = sum(roster.counts.values()) - roster.counts.get(self.group, 0) + self.count
        if self.group not in roster.counts or self.count < 1 or total > MOST_WORKERS:
            return f"allowed: 1 to {MOST_WORKERS} workers of {', '.join(roster.counts)}"
        roster.counts[self.group] = self.count
        present = roster.group(self.group)
        for _ in range(self.count - len(present)):
            slot = roster.add_slot(self.group)
            self.added.add(slot.number)
            self.awaited.add(roster.spawn(slot).number)
        # All of them at first, so that none inherits what another one leaves.
        for slot in present[self.count :]:
            slot.removed = True
        for slot in present[self.count :]:
            self.removed.add(slot.number)
            roster.remove_slot(slot)
        return ""

    def go_on(self, roster: Roster) -> bool:
        """Whether it has come to its end."""
        return not self.awaited and not any(number in roster.slots for number in self.removed)

    def concerns(self, process: Process, roster: Roster) -> bool:
        """Whether this unplanned death is the fault of what we do."""
        return process.number in self.awaited

    def half_done(self, roster: Roster) -> str:
        """The count says it."""
        return ""

    def give_up(self, roster: Roster) -> None:
        """What did not get ready is not wanted any more."""
        for slot in roster.group(self.group):
            missing = slot.current is None or slot.current.number in self.awaited
            if missing and slot.number in self.added:
                roster.remove_slot(slot)
        roster.counts[self.group] = len(roster.group(self.group))


Undertaking = Rolling | Scaling
