"""The slots and processes that the policy knows, and the single steps it can take with one of them. Pure.

Each step changes the records here and appends the actions that change the real processes to match.
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
HAND_OVER_DRAINS: Final = 4  # drain_timeouts that a handover may take while it goes on


class Pool:
    """The records of all workers, and the actions decided since `take_actions`."""

    def __init__(self, timing: events.Timing, random: Callable[[], float]) -> None:
        self.timing = timing
        self.now = 0.0
        self.generation = 1  # of slots that are added
        self.counts: dict[str, int] = {}
        self.slots: dict[int, Slot] = {}
        self.processes: dict[int, Process] = {}
        self.starting = False  # the first start is not complete
        self._random = random
        self._actions: list[events.Action] = []
        self.last_number = 0  # of the last process

    # ---- actions -----------------------------------------------------------------------------------

    def do(self, action: events.Action) -> None:
        """Append an action."""
        self._actions.append(action)

    def note(self, level: int, text: str) -> None:
        """Append a log line."""
        self.do(events.LogLine(level, text))

    def take_actions(self) -> list[events.Action]:
        """Return the actions decided since the last call."""
        actions, self._actions = self._actions, []
        return actions

    # ---- slots -------------------------------------------------------------------------------------

    def group(self, name: str) -> list[Slot]:
        """Return the slots of a group that are not being removed, by index."""
        present = [slot for slot in self.slots.values() if slot.group == name and not slot.removed]
        return sorted(present, key=lambda slot: slot.index)

    def add_slot(self, group: str) -> Slot:
        """Add the first free slot of the group; it takes its accept queues back from slots that adopted them."""
        used = {slot.index for slot in self.slots.values() if slot.group == group}
        index = next(i for i in _naturals() if i not in used)
        number = next(i for i in _naturals() if i not in self.slots)
        for other in self.slots.values():
            if (group, index) in other.adopted:
                other.adopted.remove((group, index))
        slot = self.slots[number] = Slot(number, group, index, self.generation)
        return slot

    def remove_slot(self, slot: Slot) -> None:
        """Remove a slot: another slot adopts its accept queues first, then its processes drain."""
        slot.removed, slot.respawn = True, None
        keys, slot.adopted = slot.listeners, []
        heir = self.reassign_listeners(keys, slot.group)
        for process in slot.processes:
            if not process.ending:
                self.drain(process, "scaled away", heir=heir)
        self.drop_if_empty(slot)

    def drop_if_empty(self, slot: Slot) -> None:
        """Forget a removed slot once its last process has ended."""
        if slot.removed and not slot.processes:
            self.slots.pop(slot.number, None)

    def reassign_listeners(
        self, keys: tuple[events.ListenerKey, ...], group: str, *, keep: bool = True
    ) -> Process | None:
        """Give each accept queue to the slot of the group that has adopted the fewest.

        With `keep`, later processes of that slot serve the queue, too. Returns the process that got the first queue.
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
        """Give a process that has become ready the accept queues of slots that wait for their next process.

        The process that served them meanwhile may have died; then no process would accept until the wait is over.
        """
        for other in self.group(slot.group):
            if other is not slot and other.respawn is not None:
                for key in other.listeners:
                    self.do(events.AdoptListener(process.number, key))

    def shorten_wait(self, group: str, died: Slot) -> None:
        """If a group has no process left, limit the wait of the slot that is due first to FIRST_DELAY.

        The caller logs the wait of the slot `died`; the wait of another slot was logged before and is corrected.
        """
        slots = self.group(group)
        waiting = [slot for slot in slots if slot.respawn is not None]
        if waiting and not any(slot.current or slot.successor for slot in slots):
            first = min(waiting, key=lambda slot: slot.respawn or 0.0)
            before, first.respawn = first.respawn or 0.0, min(first.respawn or 0.0, self.now + FIRST_DELAY)
            if first is not died and first.respawn < before:
                self.note(
                    logging.WARNING,
                    f"worker {first.number} starts in {first.respawn - self.now:g} s instead of "
                    f"{before - self.now:.1f} s: no other worker of {group} is left",
                )

    # ---- processes ---------------------------------------------------------------------------------

    def spawn(self, slot: Slot, *, successor_of: int | None = None) -> Process:
        """Start a process for a slot; with `successor_of`, beside the current one, of that generation."""
        if slot.respawn is not None and slot.respawn > self.now:  # because of a reload, for example
            self.note(logging.INFO, f"worker {slot.number} starts {slot.respawn - self.now:.1f} s early")
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
        """End a process after a handover to `heir`, if both can; after `stop_timeout` the process is killed."""
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
        """End a process; after `seconds` it is killed. With None, the process ends when its clients have left."""
        process.ending = why
        process.heir, process.heirless = None, False
        if process.phase is State.STARTING:
            self.kill(process)  # a starting process has no clients
            return
        if process.aborted or process.killed:
            return
        process.phase = State.DRAINING
        process.deadline = None if seconds is None else self.now + seconds
        # The last clients need a moment for their closing handshakes.
        spread = self.timing.drain_timeout if seconds is None else min(self.timing.drain_timeout, seconds * 0.8)
        if heir is not None and seconds is not None:
            # A long limit costs nothing: the worker itself ends the handover as soon as no connection moves any more.
            # After the handover, connections that could not be moved get the usual time to close.
            moving = max(HAND_OVER_DRAINS * self.timing.drain_timeout, seconds * 0.4)
            process.deadline = self.now + moving + seconds
            process.heir = heir.number
            self.do(events.HandOverSlot(process.number, heir.number, moving, reload))
        else:
            self.do(events.DrainWorker(process.number, spread, graceful=seconds is None, final=final, reload=reload))

    def replace_heir(self, dead: Process) -> None:
        """Find another heir for each process that was handing its connections over to the dead one."""
        for process in self.processes.values():
            if process.heir == dead.number:
                process.heir, process.heirless = None, True
        self.assign_heirs()

    def assign_heirs(self) -> None:
        """Name a new heir where one has died: the process of the same slot if it serves, else one of another slot."""
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
        """Make a process write its stack and die."""
        process.aborted = True
        process.deadline = self.now + ABORT_GRACE
        self.note(logging.ERROR, f"{text}; its stack follows")
        self.do(events.Kill(process.number, signal.SIGABRT))

    def kill(self, process: Process) -> None:
        """Kill a process."""
        process.killed, process.deadline = True, None
        self.do(events.Kill(process.number, signal.SIGKILL))


def _naturals() -> Iterator[int]:
    return iter(range(MAX_SLOTS))
