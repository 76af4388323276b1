"""Changes that take many steps: rolling updates (reload, replacement for age and size) and scalings. Pure.

The policy runs one rollout at a time. A rollout begins, advances with every event until it is complete, and is given up
when a process that it waits for dies.
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
    """Replaces the processes of one slot after another, new before old.

    The next slot follows when the new process is ready. The old processes drain meanwhile, together, so that a client
    that has to reconnect does not reach another old process.
    """

    generation: int
    operation: int | None = None  # None: a replacement that no command asked for
    timing: Timing | None = None
    slots: deque[int] = field(default_factory=deque)
    awaited: set[int] = field(default_factory=set)  # processes that must become ready: one at most

    def begin(self, pool: Pool) -> str:
        """Begin; return why the rollout is refused, or ""."""
        self.slots = self.slots or deque(sorted(n for n, slot in pool.slots.items() if not slot.removed))
        pool.timing = self.timing or pool.timing
        return ""

    def advance(self, pool: Pool) -> bool:
        """Take the next steps; return True when the rollout is complete."""
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
        """Return True if the rollout fails by this unplanned death: of an awaited process or of the new generation."""
        new = self.generation != pool.generation and process.generation == self.generation
        return new or process.number in self.awaited

    def partial_result(self, pool: Pool) -> str:
        """Describe which slots have reached the new generation; "" if none has."""
        new = sorted(slot.number for slot in pool.slots.values() if slot.generation == self.generation)
        if not new or self.generation == pool.generation:
            return ""
        return f"generation {self.generation} already runs in {', '.join(map(str, new))}; the others are unchanged"

    def give_up(self, pool: Pool) -> None:
        """Keep the old processes; kill a new one that is still starting."""
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
    """Adds or removes slots of one Worker of the program."""

    operation: int
    group: str
    count: int
    awaited: set[int] = field(default_factory=set)  # processes that must become ready
    added: set[int] = field(default_factory=set)  # slots
    removed: set[int] = field(default_factory=set)  # slots

    def begin(self, pool: Pool) -> str:
        """Begin; return why the rollout is refused, or ""."""
        total = sum(pool.counts.values()) - pool.counts.get(self.group, 0) + self.count
        if self.group not in pool.counts or self.count < 1 or total > MOST_WORKERS:
            return f"allowed: 1 to {MOST_WORKERS} workers of {', '.join(pool.counts)}"
        pool.counts[self.group] = self.count
        present = pool.group(self.group)
        for _ in range(self.count - len(present)):
            slot = pool.add_slot(self.group)
            self.added.add(slot.number)
            self.awaited.add(pool.spawn(slot).number)
        # Mark all slots first, so that no slot to be removed adopts the queues of another one.
        for slot in present[self.count :]:
            slot.removed = True
        for slot in present[self.count :]:
            self.removed.add(slot.number)
            pool.remove_slot(slot)
        return ""

    def advance(self, pool: Pool) -> bool:
        """Take the next steps; return True when the rollout is complete."""
        return not self.awaited and not any(number in pool.slots for number in self.removed)

    def concerns(self, process: Process, pool: Pool) -> bool:
        """Return True if the rollout fails by this unplanned death."""
        return process.number in self.awaited

    def partial_result(self, pool: Pool) -> str:
        """Return "": the count of workers already tells."""
        return ""

    def give_up(self, pool: Pool) -> None:
        """Remove the added slots that did not become ready."""
        for slot in pool.group(self.group):
            missing = slot.current is None or slot.current.number in self.awaited
            if missing and slot.number in self.added:
                pool.remove_slot(slot)
        pool.counts[self.group] = len(pool.group(self.group))


Rollout = RollingUpdate | Scaling
