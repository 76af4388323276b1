"""All slots and processes of the policy, and the single steps that can be taken with one of them. Pure.

Each step changes the view and appends the actions that make it true.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from typing import Final

from chatmaster.policy import events
from chatmaster.policy.processes import Process, Slot, State
from chatmaster.runtime.exit_status import FIRST_DELAY
from chatmaster.stats import MAX_SLOTS

ABORT_GRACE: Final = 2.0  # seconds for a hung worker to write its stack
JITTER: Final = 0.1  # of max_lifetime, either way
HAND_OVER_DRAINS: Final = 4  # drain_timeouts that a hand-over may take while it goes on


class Pool:
    """The view of all workers, and the actions that have been decided in this turn."""

    def __init__(self, timing: events.Timing, random: Callable[[], float]) -> None:
        self.timing = timing
        self.now = 0.0
        self.generation = 1  # of slots that are added
        self.counts: dict[str, int] = {}
        self.slots: dict[int, Slot] = {}
        self.processes: dict[int, Process] = {}
        self.starting = False  # for the first time
        self._random = random
        self._actions: list[events.Action] = []
        self.last_number = 0  # of a process

    # ---- actions -----------------------------------------------------------------------------------

    def do(self, action: events.Action) -> None:
        """Have it done."""
        self._actions.append(action)

    def note(self, level: int, text: str) -> None:
        """Have it logged."""
        self.do(events.LogLine(level, text))

    def take_actions(self) -> list[events.Action]:
        """What has been decided since the last call."""
        actions, self._actions = self._actions, []
        return actions

    # ---- slots -------------------------------------------------------------------------------------

    def group(self, name: str) -> list[Slot]:
        """The slots of a group that are to stay, by index."""
        present = [slot for slot in self.slots.values() if slot.group == name and not slot.removed]
        return sorted(present, key=lambda slot: slot.index)

    def add_slot(self, group: str) -> Slot:
        """The first free place of the group; its accept queues come home from whoever had adopted them."""
        used = {slot.index for slot in self.slots.values() if slot.group == group}
        index = next(i for i in _naturals() if i not in used)
        number = next(i for i in _naturals() if i not in self.slots)
        for other in self.slots.values():
            if (group, index) in other.adopted:
                other.adopted.remove((group, index))
        slot = self.slots[number] = Slot(number, group, index, self.generation)
        return slot

    def remove_slot(self, slot: Slot) -> None:
        """Scale it away: a sibling takes its accept queues first, then its clients are sent away."""
        slot.removed, slot.respawn = True, None
        keys, slot.adopted = slot.listeners, []
        heir = self.reassign_listeners(keys, slot.group)
        for process in slot.processes:
            if not process.ending:
                self.drain(process, "scaled away", heir=heir)
        self.drop_if_empty(slot)

    def drop_if_empty(self, slot: Slot) -> None:
        """A slot that was scaled away is gone with its last process."""
        if slot.removed and not slot.processes:
            self.slots.pop(slot.number, None)

    def reassign_listeners(
        self, keys: tuple[events.ListenerKey, ...], group: str, *, keep: bool = True
    ) -> Process | None:
        """Give each accept queue to the sibling that has the fewest; `keep`: its successors get them, too.

        Returns the process that got the first one.
        """
        first: Process | None = None
        siblings = [slot for slot in self.group(group) if slot.current is not None]
        for key in keys if siblings else ():
            serving = [slot for slot in siblings if slot.current is not None and slot.current.serves]
            heir = min(serving or siblings, key=lambda slot: (len(slot.adopted), slot.number))
            first = first or heir.current
            if keep:
                heir.adopted.append(key)
            for process in (heir.current, heir.successor):
                if process is not None:
                    self.do(events.AdoptListener(process.number, key))
        return first

    def cover_waiting_slots(self, slot: Slot, process: Process) -> None:
        """Give a process that has become ready the accept queues of siblings that wait for their next process.

        Whoever had them may have died, and nobody would answer there until the wait is over.
        """
        for other in self.group(slot.group):
            if other is not slot and other.respawn is not None:
                for key in other.listeners:
                    self.do(events.AdoptListener(process.number, key))

    def shorten_wait(self, group: str, died: Slot) -> None:
        """Where nobody is left in a group, the slot whose turn comes first waits no longer than FIRST_DELAY.

        `died` is the one whose wait is still to be said; that of another one was said, and is corrected.
        """
        slots = self.group(group)
        waiting = [slot for slot in slots if slot.respawn is not None]
        if waiting and not any(slot.current or slot.successor for slot in slots):
            first = min(waiting, key=lambda slot: slot.respawn or 0.0)
            before, first.respawn = first.respawn or 0.0, min(first.respawn or 0.0, self.now + FIRST_DELAY)
            if first is not died and first.respawn < before:
                self.note(
                    logging.WARNING,
                    f"worker {first.number} comes in {first.respawn - self.now:g} s already, instead of "
                    f"{before - self.now:.1f} s: no other worker of {group} is left",
                )

    # ---- processes ---------------------------------------------------------------------------------

    def spawn(self, slot: Slot, *, successor_of: int | None = None) -> Process:
        """Fork for a slot. `successor_of`: beside the one that is there, of that generation."""
        if slot.respawn is not None and slot.respawn > self.now:  # a reload, for example
            self.note(logging.INFO, f"worker {slot.number} comes now already, {slot.respawn - self.now:.1f} s early")
        slot.respawn = None
        self.last_number += 1
        process = Process(
            number=self.last_number,
            slot=slot.number,
            generation=slot.generation if successor_of is None else successor_of,
            spawned=self.now,
            alive=self.now,
            deadline=self.now + self.timing.ready_timeout,
        )
        if self.timing.max_lifetime:
            process.lifetime = self.timing.max_lifetime * (1 + JITTER * (2 * self._random() - 1))
        self.processes[process.number] = process
        if successor_of is None:
            slot.current = process
        else:
            slot.successor = process
        self.do(
            events.Spawn(
                process=process.number,
                slot=slot.number,
                group=slot.group,
                index=slot.index,
                generation=process.generation,
                listeners=slot.listeners,
                store_required=self.starting,
            )
        )
        return process

    def drain(self, process: Process, why: str, *, heir: Process | None, reload: bool = False) -> None:
        """Send a worker away, its connections to `heir`, where both can; after `stop_timeout` it is killed."""
        both = heir is not None and heir.serves and process.serves and heir.contract == process.contract
        chosen = heir if both else None
        self.send_away(process, why, self.timing.stop_timeout, final=False, heir=chosen, reload=reload)

    def send_away(
        self,
        process: Process,
        why: str,
        seconds: float | None,
        *,
        final: bool,
        heir: Process | None = None,
        reload: bool = False,
    ) -> None:
        """Have a worker end; after `seconds` it is killed. None: it waits until its clients have left."""
        process.ending = why
        process.heir, process.heirless = None, False
        if process.phase is State.STARTING:
            self.kill(process)  # it serves nobody
            return
        if process.aborted or process.killed:
            return
        process.phase = State.DRAINING
        process.deadline = None if seconds is None else self.now + seconds
        # The last clients need a moment for their closing handshakes.
        spread = self.timing.drain_timeout if seconds is None else min(self.timing.drain_timeout, seconds * 0.8)
        if heir is not None and seconds is not None:
            # Nobody waits for a client meanwhile: the worker itself ends it as soon as nothing moves any more.
            # After it there is the usual time for sending away those that could not be moved.
            moving = max(HAND_OVER_DRAINS * self.timing.drain_timeout, seconds * 0.4)
            process.deadline = self.now + moving + seconds
            process.heir = heir.number
            self.do(events.HandOverSlot(process.number, heir.number, moving, reload))
        else:
            self.do(events.DrainWorker(process.number, spread, graceful=seconds is None, final=final, reload=reload))

    def replace_heir(self, dead: Process) -> None:
        """Whoever was giving its connections to the dead needs another heir."""
        for process in self.processes.values():
            if process.heir == dead.number:
                process.heir, process.heirless = None, True
        self.assign_heirs()

    def assign_heirs(self) -> None:
        """Name one for those whose heir has died: their slot's own process if it serves, else a sibling."""
        for process in self.processes.values():
            heir = self._next_heir(process) if process.heirless and not process.killed else None
            if heir is not None and process.deadline is not None:
                process.heir, process.heirless = heir.number, False
                left = max(process.deadline - self.now - self.timing.stop_timeout, 0.0)
                self.do(events.HandOverSlot(process.number, heir.number, left))

    def _next_heir(self, process: Process) -> Process | None:
        slot = self.slots[process.slot]
        able = [
            one.current
            for one in sorted(self.group(slot.group), key=lambda one: (one is not slot, one.number))
            if one.current is not None and one.current.serves and one.current.contract == process.contract
        ]
        return able[0] if able else None

    def abort(self, process: Process, text: str) -> None:
        """Have it write its stack and die."""
        process.aborted = True
        process.deadline = self.now + ABORT_GRACE
        self.note(logging.ERROR, f"{text}; its stack follows")
        self.do(events.Kill(process.number, signal.SIGABRT))

    def kill(self, process: Process) -> None:
        """End it now."""
        process.killed, process.deadline = True, None
        self.do(events.Kill(process.number, signal.SIGKILL))


def _naturals() -> Iterator[int]:
    return iter(range(MAX_SLOTS))
