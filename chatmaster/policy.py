"""What the master decides: event + now → actions. Pure: no process, no clock, no file.

Theory of operation. Every worker process is STARTING until it reports ready, then READY, then DRAINING once it
was told to go. A deadline hangs over it while it is starting (then it must dump its stack and die) and while it is
draining (then it is killed). A worker that is ready or draining must also give signs of life; one that was stopped
by a signal is excused, as is everyone when the master itself was not running. A death that the master did not order
is replaced in its slot, with a back-off for slots that die quickly again and again. Reload, replacement and scaling
are operations, one at a time; a death of a process that an operation waits for fails the operation and
nothing else. While the server starts for the first time, such a death ends the whole start.
"""

from __future__ import annotations

import logging
import signal
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Final

from chatmaster import decisions as d
from chatmaster.contract import ExitCode, Failed
from chatmaster.crew import Process, Slot, State
from chatmaster.rolling import Operation, Rolling, Scaling
from chatmaster.stats import MAX_SLOTS

ABORT_GRACE: Final = 2.0  # seconds for a hung worker to write its stack
START_ATTEMPTS: Final = 3  # deaths in a row of one slot that make a crash loop at the start
OWN_ABSENCE: Final = 3.0  # seconds without a look at the clock: the master itself was stopped, nobody can be judged
RECYCLE_PAUSE: Final = 60.0  # seconds until a failed replacement for age or size is tried again
JITTER: Final = 0.1  # of max_lifetime, either way
MOST_WORKERS: Final = MAX_SLOTS // 2 - 1  # a reload has two processes for a slot, each with a row of counters


class Phase(Enum):
    """Of the whole server."""

    IDLE = auto()
    STARTING = auto()
    RUNNING = auto()
    STOPPING = auto()
    FINISHED = auto()


class Policy:
    """Holds the view of all workers and decides what to do with them."""

    def __init__(self, timing: d.Timing, *, random: Callable[[], float] = lambda: 0.5) -> None:
        """`random` gives numbers from 0 to 1."""
        self.phase = Phase.IDLE
        self.generation = 1
        self.counts: dict[str, int] = {}
        self.slots: dict[int, Slot] = {}
        self.processes: dict[int, Process] = {}
        self.hangs = 0  # workers replaced because their loop gave no sign of life
        self._timing = timing
        self._random = random
        self._operation: Operation | None = None
        self._waiting: deque[Operation] = deque()
        self._actions: list[d.Action] = []
        self._last_number = 0
        self._last_look: float | None = None
        self._now = 0.0

    def receive(self, event: d.Event, now: float) -> list[d.Action]:
        """Take note of an event at the monotonic time `now`; returns what is to be done, in order."""
        self._now = now
        self._take(event)
        self._advance()
        actions, self._actions = self._actions, []
        return actions

    def next_look(self) -> float | None:
        """The time of the next deadline; None: there is none."""
        due = [p.deadline for p in self.processes.values() if p.deadline is not None]
        due += [slot.respawn for slot in self.slots.values() if slot.respawn is not None]
        return min(due, default=None)

    @property
    def operating(self) -> Operation | None:
        """The operation that goes on, if any."""
        return self._operation

    # ---- events ------------------------------------------------------------------------------------

    def _take(self, event: d.Event) -> None:
        match event:
            case d.StartAsked(counts):
                self._start(dict(counts))
            case d.BecameReady(number):
                self._with(number, self._became_ready)
            case d.ReportedFailure(number, failure):
                self._with(number, lambda process: setattr(process, "failure", failure))
            case d.Exited(number, code):
                self._with(number, lambda process: self._exited(process, code))
            case d.CouldNotFork(number, reason):
                self._with(number, lambda process: self._not_forked(process, reason))
            case d.WasStopped(number):
                self._with(number, self._was_stopped)
            case d.WasContinued(number):
                self._with(number, self._was_continued)
            case d.TimePassed():
                self._time_passed(event)
            case d.ReloadAsked(operation, generation, timing):
                self._ask(Rolling(generation, deque(), operation, timing=timing))
            case d.ScaleAsked(operation, group, count):
                self._ask(Scaling(operation, group, count))
            case d.StopAsked(seconds, restart):
                self._stop(seconds, final=not restart)
            case d.HurryAsked():
                self._hurry()

    def _with(self, number: int, act: Callable[[Process], object]) -> None:
        process = self.processes.get(number)
        if process is not None:
            act(process)

    def _start(self, counts: dict[str, int]) -> None:
        self.phase = Phase.STARTING
        self.counts = counts
        for group, count in counts.items():
            for _ in range(count):
                self._spawn(self._add_slot(group))

    def _became_ready(self, process: Process) -> None:
        if process.phase is not State.STARTING or process.aborted:
            return
        process.phase, process.ready, process.alive, process.deadline = State.READY, self._now, self._now, None
        slot = self.slots[process.slot]
        if slot.successor is process:
            old, slot.current, slot.successor = slot.current, process, None
            slot.generation = process.generation
            if old is not None:
                slot.leaving.append(old)
                self._drain(old, "replaced")
        if self._operation is not None:
            self._operation.awaited.discard(process.number)
        if self.phase is Phase.STARTING and all(s.current and s.current.ready is not None for s in self.slots.values()):
            self.phase = Phase.RUNNING
            self._do(d.AnnounceReady())

    def _was_stopped(self, process: Process) -> None:
        process.stopped = True
        self._note(logging.WARNING, f"{_name(process)} was stopped by a signal; it stays, and waits for SIGCONT")

    def _was_continued(self, process: Process) -> None:
        if not process.stopped:
            return
        process.stopped, process.alive = False, self._now
        if process.phase is State.STARTING and not process.aborted:
            process.deadline = self._now + self._timing.ready_timeout
        self._note(logging.INFO, f"{_name(process)} was continued")

    def _not_forked(self, process: Process, reason: str) -> None:
        process.failure = Failed(ExitCode.FAILED, f"no new process: {reason}")
        self._exited(process, int(ExitCode.FAILED))

    def _exited(self, process: Process, code: int) -> None:
        del self.processes[process.number]
        slot = self.slots[process.slot]
        slot.forget(process)
        slot.last_exit = process.how_it_ended(code)
        self._do(d.TellReaped(process.number))
        planned = bool(process.ending)
        self._note(
            logging.INFO if planned else logging.ERROR,
            f"{_name(process)} ended: {slot.last_exit}" + _trace(process.failure),
        )
        if self.phase is Phase.STARTING and not planned:
            self._died_at_start(slot, process, code)
        elif self.phase is Phase.RUNNING and not planned:
            self._died(slot, process)
        if slot.removed and not slot.processes:
            self.slots.pop(slot.number, None)

    def _died_at_start(self, slot: Slot, process: Process, code: int) -> None:
        slot.count_death(process, self._now)
        failure = process.failure
        if failure is None and code in (ExitCode.NOT_READY, ExitCode.STORE_UNREACHABLE):
            failure = Failed(code, "it did not say why")
        if failure is None and slot.quick_deaths >= START_ATTEMPTS:
            failure = Failed(ExitCode.NOT_READY, f"it died {slot.quick_deaths} times in a row ({slot.last_exit})")
        if failure is None:
            self._spawn(slot)
            return
        code = ExitCode.STORE_UNREACHABLE if failure.exit_code == ExitCode.STORE_UNREACHABLE else ExitCode.NOT_READY
        self._do(d.FailStart(ExitCode(code), f"worker {slot.number}: {failure.reason}{_trace(failure)}"))
        self._stop(0.0, final=True)
        self._hurry()

    def _died(self, slot: Slot, process: Process) -> None:
        delay = slot.count_death(process, self._now)
        if self._concerns(process):
            self._fail_operation(f"worker {slot.number}: {slot.last_exit}{_trace(process.failure)}")
        if slot.removed or slot.current is not None or slot.successor is not None:
            return
        if delay:
            slot.respawn = self._now + delay
            self._note(logging.ERROR, f"worker {slot.number} died quickly {slot.quick_deaths} times: next in {delay} s")
            self._hand_on(slot.listeners, slot.group, keep=False)
        else:
            self._spawn(slot)

    def _concerns(self, process: Process) -> bool:
        """Whether this unplanned death is the fault of what the operation does."""
        operation = self._operation
        if operation is None:
            return False
        if process.number in operation.awaited:
            return True
        if isinstance(operation, Scaling) or operation.generation == self.generation:
            return False
        return process.generation == operation.generation

    # ---- the clock ---------------------------------------------------------------------------------

    def _time_passed(self, event: d.TimePassed) -> None:
        absent = self._last_look is not None and self._now - self._last_look > OWN_ABSENCE
        self._last_look = self._now
        for process in list(self.processes.values()):
            process.alive = self._now if absent else max(process.alive, event.beats.get(process.number, 0.0))
            if process.deadline is not None and process.deadline <= self._now:
                self._overdue(process)
            elif self._is_hung(process):
                self.hangs += 1
                silence = self._now - process.alive
                self._abort(process, f"{_name(process)} hangs: no sign of life for {silence:.1f} s; its stack follows")
        if self.phase in (Phase.STARTING, Phase.RUNNING):
            for slot in list(self.slots.values()):
                if slot.respawn is not None and slot.respawn <= self._now:
                    self._spawn(slot)
        if self.phase is Phase.RUNNING and self._operation is None:
            self._recycle(event)

    def _is_hung(self, process: Process) -> bool:
        if process.phase is State.STARTING or process.stopped or process.aborted or process.killed:
            return False
        return self._now - process.alive > self._timing.hang_timeout

    def _overdue(self, process: Process) -> None:
        if process.phase is State.STARTING and not process.aborted:
            if process.stopped:
                return
            reason = f"was not ready within {self._timing.ready_timeout:g} s"
            process.failure = Failed(ExitCode.NOT_READY, reason)
            self._abort(process, f"{_name(process)} {reason}; its stack follows")
            return
        if not process.aborted:
            self._note(logging.WARNING, f"{_name(process)} is overdue and is killed")
        self._kill(process)

    def _abort(self, process: Process, text: str) -> None:
        process.aborted = True
        process.deadline = self._now + ABORT_GRACE
        self._note(logging.ERROR, text)
        self._do(d.Kill(process.number, signal.SIGABRT))

    def _kill(self, process: Process) -> None:
        process.killed, process.deadline = True, None
        self._do(d.Kill(process.number, signal.SIGKILL))

    def _recycle(self, event: d.TimePassed) -> None:
        for slot in self.slots.values():
            why = self._due(slot, event)
            if why:
                self._note(logging.INFO, f"worker {slot.number} is replaced: {why}")
                self._operation = Rolling(slot.generation, deque([slot.number]), why=why)
                return

    def _due(self, slot: Slot, event: d.TimePassed) -> str:
        process, timing = slot.current, self._timing
        if process is None or not process.serves or slot.removed or self._now < slot.patience:
            return ""
        if process.lifetime is not None and self._now - process.spawned > process.lifetime:
            return f"it is older than server.max_lifetime ({timing.max_lifetime:g} s, with jitter)"
        size = event.memory.get(process.number, 0)
        if timing.max_memory and size > timing.max_memory:
            return f"it has {size} bytes, more than server.max_memory ({timing.max_memory})"
        return ""

    # ---- operations --------------------------------------------------------------------------------

    def _ask(self, operation: Operation) -> None:
        if self.phase is Phase.RUNNING:
            self._waiting.append(operation)
        elif operation.operation is not None:
            self._do(d.EndOperation(operation.operation, ExitCode.FAILED, f"the server is {self.phase.name.lower()}"))

    def _advance(self) -> None:
        """Go on with the operation, or begin the next one; and finish when all is over."""
        while self.phase is Phase.RUNNING:
            if self._operation is None:
                if not self._waiting:
                    return
                self._operation = self._waiting.popleft()
                self._begin(self._operation)
            elif not self._go_on(self._operation):
                return
        if self.phase is Phase.STOPPING and not self.processes:
            self.phase = Phase.FINISHED
            self._do(d.Finish())

    def _begin(self, operation: Operation) -> None:
        if isinstance(operation, Rolling):
            operation.slots = deque(sorted(number for number, slot in self.slots.items() if not slot.removed))
            self._timing = operation.timing or self._timing
        else:
            self._begin_scaling(operation)

    def _go_on(self, operation: Operation) -> bool:
        """Whether the operation has come to its end."""
        if operation.awaited:
            return False
        if isinstance(operation, Scaling):
            if any(number in self.slots for number in operation.removed):
                return False
        elif operation.slots:
            self._replace(operation, operation.slots.popleft())
            return False
        elif any(process.ending == "replaced" for process in self.processes.values()):
            return False
        elif operation.operation is not None:
            self.generation = operation.generation
        self._end_operation(ExitCode.DONE, "")
        return True

    def _replace(self, operation: Rolling, number: int) -> None:
        slot = self.slots[number]
        slot.respawn = None
        successor = self._spawn(slot, generation=operation.generation, successor=True)
        operation.awaited = {successor.number}

    def _fail_operation(self, reason: str) -> None:
        operation = self._operation
        assert operation is not None
        if isinstance(operation, Scaling):
            self._take_back(operation)
        else:
            self._give_up(operation)
        if operation.operation is None:
            self._note(logging.ERROR, f"the replacement failed: {reason}")
        self._end_operation(ExitCode.NOT_READY, reason)

    def _give_up(self, operation: Rolling) -> None:
        """The old workers stay; a new one that is still starting goes."""
        for slot in self.slots.values():
            slot.patience = self._now + RECYCLE_PAUSE
            if slot.successor is not None:
                slot.successor.ending = "given up"
                self._kill(slot.successor)
                slot.leaving.append(slot.successor)
                slot.successor = None
                if slot.current is None and not slot.removed:
                    slot.respawn = self._now

    def _end_operation(self, code: ExitCode, reason: str) -> None:
        if self._operation is not None and self._operation.operation is not None:
            self._do(d.EndOperation(self._operation.operation, code, reason))
        self._operation = None

    # ---- scaling -----------------------------------------------------------------------------------

    def _begin_scaling(self, operation: Scaling) -> None:
        group, count = operation.group, operation.count
        total = sum(self.counts.values()) - self.counts.get(group, 0) + count
        if group not in self.counts or count < 1 or total > MOST_WORKERS:
            known = ", ".join(self.counts)
            self._end_operation(ExitCode.USAGE, f"allowed: 1 to {MOST_WORKERS} workers of {known}")
            return
        self.counts[group] = count
        present = self._group(group)
        for _ in range(count - len(present)):
            slot = self._add_slot(group)
            operation.added.add(slot.number)
            operation.awaited.add(self._spawn(slot).number)
        for slot in present[count:]:
            operation.removed.add(slot.number)
            self._remove(slot)

    def _take_back(self, operation: Scaling) -> None:
        """What did not get ready is not wanted any more."""
        for slot in self._group(operation.group):
            missing = slot.current is None or slot.current.number in operation.awaited
            if missing and slot.number in operation.added:
                self._remove(slot)
        self.counts[operation.group] = len(self._group(operation.group))

    def _remove(self, slot: Slot) -> None:
        """Scale it away: a sibling takes its accept queues first, then its clients are sent away."""
        slot.removed, slot.respawn = True, None
        keys, slot.adopted = slot.listeners, []
        self._hand_on(keys, slot.group)
        for process in slot.processes:
            if not process.ending:
                self._drain(process, "scaled away")
        if not slot.processes:
            self.slots.pop(slot.number)

    def _hand_on(self, keys: tuple[d.ListenerKey, ...], group: str, *, keep: bool = True) -> None:
        """Give accept queues to the sibling that has the fewest; `keep`: its successors get them, too."""
        siblings = [slot for slot in self._group(group) if slot.current is not None]
        for key in keys if siblings else ():
            serving = [slot for slot in siblings if slot.current is not None and slot.current.serves]
            heir = min(serving or siblings, key=lambda slot: (len(slot.adopted), slot.number))
            if keep:
                heir.adopted.append(key)
            for process in (heir.current, heir.successor):
                if process is not None:
                    self._do(d.Adopt(process.number, key))

    def _group(self, group: str) -> list[Slot]:
        """The slots of a group that are to stay, by index."""
        present = [slot for slot in self.slots.values() if slot.group == group and not slot.removed]
        return sorted(present, key=lambda slot: slot.index)

    # ---- the end -----------------------------------------------------------------------------------

    def _stop(self, seconds: float | None, *, final: bool) -> None:
        if self.phase is Phase.FINISHED:
            return
        self.phase = Phase.STOPPING
        for operation in (self._operation, *self._waiting):
            if operation is not None and operation.operation is not None:
                self._do(d.EndOperation(operation.operation, ExitCode.FAILED, "the server is stopping"))
        self._operation = None
        self._waiting.clear()
        for slot in self.slots.values():
            slot.respawn = None
        for process in list(self.processes.values()):
            self._drain(process, process.ending or "stopped", seconds, graceful=seconds is None, final=final)

    def _hurry(self) -> None:
        if self.phase is Phase.STOPPING:
            for process in self.processes.values():
                self._kill(process)

    # ---- single steps ------------------------------------------------------------------------------

    def _add_slot(self, group: str) -> Slot:
        used = {slot.index for slot in self.slots.values() if slot.group == group}
        index = next(i for i in _naturals() if i not in used)
        number = next(i for i in _naturals() if i not in self.slots)
        for other in self.slots.values():
            if (group, index) in other.adopted:
                other.adopted.remove((group, index))
        slot = self.slots[number] = Slot(number, group, index, self.generation)
        return slot

    def _spawn(self, slot: Slot, *, generation: int | None = None, successor: bool = False) -> Process:
        slot.respawn = None
        self._last_number += 1
        process = Process(
            number=self._last_number,
            slot=slot.number,
            generation=slot.generation if generation is None else generation,
            spawned=self._now,
            alive=self._now,
            deadline=self._now + self._timing.ready_timeout,
        )
        if self._timing.max_lifetime:
            process.lifetime = self._timing.max_lifetime * (1 + JITTER * (2 * self._random() - 1))
        self.processes[process.number] = process
        if successor:
            slot.successor = process
        else:
            slot.current = process
        self._do(
            d.Spawn(
                process=process.number,
                slot=slot.number,
                group=slot.group,
                index=slot.index,
                generation=process.generation,
                listeners=slot.listeners,
                store_required=self.phase is Phase.STARTING,
            )
        )
        return process

    def _drain(
        self, process: Process, why: str, seconds: float | None = -1.0, *, graceful: bool = False, final: bool = False
    ) -> None:
        """Send a worker away. `seconds` until it is killed; None: never; without it `stop_timeout`."""
        process.ending = why
        if process.phase is State.STARTING:
            self._kill(process)  # it serves nobody
            return
        if process.aborted or process.killed:
            return
        limit = self._timing.stop_timeout if seconds == -1.0 else seconds
        process.phase = State.DRAINING
        process.deadline = None if limit is None else self._now + limit
        spread = self._timing.drain_timeout if limit is None else min(self._timing.drain_timeout, limit * 0.8)
        self._do(d.Drain(process.number, spread, graceful=graceful, final=final))

    def _do(self, action: d.Action) -> None:
        self._actions.append(action)

    def _note(self, level: int, text: str) -> None:
        self._do(d.Note(level, text))


def _name(process: Process) -> str:
    return f"worker {process.slot} (generation {process.generation})"


def _trace(failure: Failed | None) -> str:
    return f"\n{failure.traceback.rstrip()}" if failure is not None and failure.traceback else ""


def _naturals() -> Iterator[int]:
    return iter(range(MAX_SLOTS))
