"""What takes many steps: a reload or a replacement for age and size, and a scaling. Pure.

The policy has one of them at a time. It begins, goes on with every event until it has come to its end, or is given up
when a process dies that it waits for.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from chatmaster.policy.events import Timing
from chatmaster.policy.pool import Pool
from chatmaster.policy.processes import Process
from chatmaster.stats import MOST_WORKERS

RECYCLE_PAUSE: Final = 60.0  # seconds until a slot may be replaced again for age or size, whether or not it failed

REPLACED: Final = "replaced"


@dataclass(slots=True)
class RollingUpdate:
    """New before old, one slot after another.

    The next slot's turn comes when the new process is ready; the old ones leave meanwhile, together, so that a
    client that is sent away does not come back to another old one.
    """

    generation: int
    operation: int | None = None  # None: nobody waits, it is a replacement for age or size
    timing: Timing | None = None
    slots: deque[int] = field(default_factory=deque)
    awaited: set[int] = field(default_factory=set)  # processes that have to get ready: one at most

    def begin(self, pool: Pool) -> str:
        """Returns why it cannot."""
        self.slots = self.slots or deque(sorted(n for n, slot in pool.slots.items() if not slot.removed))
        pool.timing = self.timing or pool.timing
        return ""

    def advance(self, pool: Pool) -> bool:
        """Whether it has come to its end."""
        if self.awaited:
            return False
        if self.slots:
            slot = pool.slots[self.slots.popleft()]
            slot.patience = pool.now + RECYCLE_PAUSE
            self.awaited = {pool.spawn(slot, successor_of=self.generation).number}
            return False
        if any(process.ending == REPLACED for process in pool.processes.values()):
            return False
        if self.operation is not None:
            pool.generation = self.generation
        return True

    def concerns(self, process: Process, pool: Pool) -> bool:
        """Whether this unplanned death is the fault of what we do: it is awaited, or of the new generation."""
        new = self.generation != pool.generation and process.generation == self.generation
        return new or process.number in self.awaited

    def partial_result(self, pool: Pool) -> str:
        """Which slots have come as far as the new generation, in words; "": none."""
        new = sorted(slot.number for slot in pool.slots.values() if slot.generation == self.generation)
        if not new or self.generation == pool.generation:
            return ""
        return f"generation {self.generation} runs already in {', '.join(map(str, new))}; the others stay as they were"

    def give_up(self, pool: Pool) -> None:
        """The old workers stay; a new one that is still starting goes."""
        for slot in pool.slots.values():
            slot.patience = pool.now + RECYCLE_PAUSE
            if slot.successor is not None:
                slot.successor.ending = "given up"
                pool.kill(slot.successor)
                slot.leaving.append(slot.successor)
                slot.successor = None
                if slot.current is None and not slot.removed:
                    slot.respawn = pool.now


@dataclass(slots=True)
class Scaling:
    """More or fewer slots for one Worker of the program."""

    operation: int
    group: str
    count: int
    awaited: set[int] = field(default_factory=set)  # processes that have to get ready
    added: set[int] = field(default_factory=set)  # slots
    removed: set[int] = field(default_factory=set)  # slots

    def begin(self, pool: Pool) -> str:
        """Returns why it cannot."""
        total = sum(pool.counts.values()) - pool.counts.get(self.group, 0) + self.count
        if self.group not in pool.counts or self.count < 1 or total > MOST_WORKERS:
            return f"allowed: 1 to {MOST_WORKERS} workers of {', '.join(pool.counts)}"
        pool.counts[self.group] = self.count
        present = pool.group(self.group)
        for _ in range(self.count - len(present)):
            slot = pool.add_slot(self.group)
            self.added.add(slot.number)
            self.awaited.add(pool.spawn(slot).number)
        # All of them at first, so that none inherits what another one leaves.
        for slot in present[self.count :]:
            slot.removed = True
        for slot in present[self.count :]:
            self.removed.add(slot.number)
            pool.remove_slot(slot)
        return ""

    def advance(self, pool: Pool) -> bool:
        """Whether it has come to its end."""
        return not self.awaited and not any(number in pool.slots for number in self.removed)

    def concerns(self, process: Process, pool: Pool) -> bool:
        """Whether this unplanned death is the fault of what we do."""
        return process.number in self.awaited

    def partial_result(self, pool: Pool) -> str:
        """The count says it."""
        return ""

    def give_up(self, pool: Pool) -> None:
        """What did not get ready is not wanted any more."""
        for slot in pool.group(self.group):
            missing = slot.current is None or slot.current.number in self.awaited
            if missing and slot.number in self.added:
                pool.remove_slot(slot)
        pool.counts[self.group] = len(pool.group(self.group))


Rollout = RollingUpdate | Scaling
