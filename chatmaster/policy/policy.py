"""The decisions of the master: event + now → actions. Pure: no process, no clock, no file.

Theory of operation. Every worker process is STARTING until it reports ready, then READY, then DRAINING once the master
has ordered its end. A STARTING process has a deadline; when it passes, the process must write its stack and die. A
DRAINING process has a deadline; when it passes, the process is killed. A process that is READY or DRAINING must also
send heartbeats; a process stopped by a signal is excused, and so are all processes after the master itself was stopped.

A process that dies without an order is replaced in its slot, with a back-off for slots whose processes die quickly
several times in a row. Reload, replacement and scaling are rollouts, of which one runs at a time. If a process that a
rollout waits for dies, that rollout fails and nothing else. During the first start, such a death ends the whole start.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from chatmaster.contract import ExitCode, Failed
from chatmaster.policy import events
from chatmaster.policy.pool import Pool
from chatmaster.policy.processes import Crash, PolicySnapshot, Process, Slot, State, trace
from chatmaster.policy.rollout import REPLACED, RollingUpdate, Rollout, Scaling

START_ATTEMPTS: Final = 3  # quick deaths in a row of one slot that fail the start
OWN_ABSENCE: Final = 3.0  # seconds between two TimePassed after which missing heartbeats prove nothing


class ServerPhase(Enum):
    """The phase of the whole server."""

    IDLE = auto()
    STARTING = auto()
    RUNNING = auto()
    STOPPING = auto()
    FINISHED = auto()


class Policy:
    """Knows all workers and decides what to do with them."""

    def __init__(self, timing: events.Timing, *, random: Callable[[], float] = lambda: 0.5) -> None:
        """`random` returns numbers from 0 to 1."""
        self.phase = ServerPhase.IDLE
        self.hangs = 0  # workers replaced because their loop gave no sign of life
        self.silences = 0  # workers killed because they did not answer another worker
        self.restarts = 0  # unplanned restarts of all slots, removed slots included
        self.crash: Crash | None = None  # the last one
        self._pool = Pool(timing, random)
        self._rollout: Rollout | None = None
        self._waiting: deque[Rollout] = deque()
        self._last_look: float | None = None

    @classmethod
    def restore(
        cls, view: PolicySnapshot, timing: events.Timing, *, random: Callable[[], float] = lambda: 0.5
    ) -> Policy:
        """Return a policy that goes on from a snapshot of a `settled` one."""
        made = cls(timing, random=random)
        made.phase, made.hangs, made.silences, made.crash = ServerPhase.RUNNING, view.hangs, view.silences, view.crash
        made.restarts = view.restarts
        pool = made._pool
        pool.generation, pool.counts, pool.last_number = view.generation, dict(view.counts), view.last_number
        pool.slots = {slot.number: slot for slot in view.slots}
        pool.processes = {process.number: process for slot in view.slots for process in slot.processes}
        return made

    @property
    def settled(self) -> bool:
        """True while no rollout runs or waits and no process is draining."""
        if self.phase is not ServerPhase.RUNNING or self._rollout is not None or self._waiting:
            return False
        return not any(process.phase is State.DRAINING for process in self.processes.values())

    def snapshot(self) -> PolicySnapshot:
        """Return all that the next image of the master needs; only while the policy is `settled`."""
        pool = self._pool
        slots = list(pool.slots.values())
        return PolicySnapshot(
            pool.generation, pool.counts, slots, pool.last_number, self.hangs, self.silences, self.restarts,
            self.crash,
        )  # fmt: skip

    def receive(self, event: events.Event, now: float) -> list[events.Action]:
        """Apply an event at the monotonic time `now`; return the actions to carry out, in order."""
        self._pool.now = now
        self._apply(event)
        self._advance()
        return self._pool.take_actions()

    def next_deadline(self) -> float | None:
        """Return the monotonic time of the next deadline, or None."""
        due = [process.deadline for process in self.processes.values() if process.deadline is not None]
        due += [slot.respawn for slot in self.slots.values() if slot.respawn is not None]
        return min(due, default=None)

    @property
    def slots(self) -> dict[int, Slot]:
        """The slots, by number."""
        return self._pool.slots

    @property
    def processes(self) -> dict[int, Process]:
        """The processes that have not been waited for, by number."""
        return self._pool.processes

    @property
    def counts(self) -> dict[str, int]:
        """The wanted count of workers of each name."""
        return self._pool.counts

    @property
    def generation(self) -> int:
        """The generation that every slot has reached."""
        return self._pool.generation

    # ---- events ------------------------------------------------------------------------------------

    def _apply(self, event: events.Event) -> None:
        match event:
            case events.StartRequested(counts, orphans):
                self._start(dict(counts), orphans)
            case events.BecameReady(number, version):
                self._for_process(number, lambda process: self._became_ready(process, version))
            case events.ReportedFailure(number, failure):
                self._for_process(number, lambda process: setattr(process, "failure", failure))
            case events.Exited(number, code):
                self._for_process(number, lambda process: self._exited(process, code))
            case events.CouldNotFork(number, reason):
                self._for_process(number, lambda process: self._not_forked(process, reason))
            case events.WasStopped(number):
                self._for_process(number, self._was_stopped)
            case events.WasContinued(number):
                self._for_process(number, self._was_continued)
            case events.ReplacementRequested(number, reason):
                self._for_process(number, lambda process: self._replace(process, reason))
            case events.FellSilent(number):
                self._for_process(number, self._fell_silent)
            case events.TimePassed():
                self._time_passed(event)
            case events.ReloadRequested(operation, generation, timing):
                self._enqueue(RollingUpdate(generation, operation, timing), operation)
            case events.ScaleRequested(operation, group, count):
                self._enqueue(Scaling(operation, group, count), operation)
            case events.StopRequested(seconds, restart):
                self._stop(seconds, final=not restart)
            case events.HurryRequested():
                self._hurry()

    def _for_process(self, number: int, act: Callable[[Process], object]) -> None:
        process = self.processes.get(number)
        if process is not None:
            act(process)

    def _start(self, counts: dict[str, int], orphans: tuple[events.ListenerKey, ...]) -> None:
        self.phase = ServerPhase.STARTING
        self._pool.starting = True
        self._pool.counts = counts
        for group, count in counts.items():
            slots = [self._pool.add_slot(group) for _ in range(count)]
            left = [key for key in orphans if key[0] == group and key[1] >= count]
            for number, key in enumerate(left):
                slots[number % count].adopted.append(key)
            for slot in slots:
                self._pool.spawn(slot)

    def _became_ready(self, process: Process, version: int) -> None:
        if process.phase is not State.STARTING or process.aborted or process.killed:
            return
        now, slot = self._pool.now, self.slots[process.slot]
        process.contract = version
        process.phase, process.ready, process.alive, process.deadline = State.READY, now, now, None
        if slot.current is process and self.phase is ServerPhase.RUNNING:
            self._pool.note(logging.INFO, f"{process.name} is ready")
        if slot.successor is process:
            old, slot.current, slot.successor = slot.current, process, None
            slot.generation = process.generation
            if old is not None:
                slot.leaving.append(old)
                self._pool.drain(old, REPLACED, heir=process, reload=old.generation != process.generation)
        self._pool.cover_waiting_slots(slot, process)
        self._pool.assign_heirs()
        if self._rollout is not None:
            self._rollout.awaited.discard(process.number)
        if self.phase is ServerPhase.STARTING and all(
            s.current and s.current.ready is not None for s in self.slots.values()
        ):
            self.phase = ServerPhase.RUNNING
            self._pool.starting = False
            self._pool.do(events.AnnounceReady())

    def _was_stopped(self, process: Process) -> None:
        process.stopped = True
        self._pool.note(logging.WARNING, f"{process.name} was stopped by a signal and waits for SIGCONT")

    def _was_continued(self, process: Process) -> None:
        if not process.stopped:
            return
        process.stopped, process.alive = False, self._pool.now
        if process.phase is State.STARTING and not process.aborted:
            process.deadline = self._pool.now + self._pool.timing.ready_timeout
        self._pool.note(logging.INFO, f"{process.name} was continued")

    # ---- deaths ------------------------------------------------------------------------------------

    def _not_forked(self, process: Process, reason: str) -> None:
        process.failure = Failed(ExitCode.FAILED, f"no new process: {reason}")
        self._exited(process, int(ExitCode.FAILED))

    def _exited(self, process: Process, code: int) -> None:
        del self.processes[process.number]
        slot = self.slots[process.slot]
        refused = slot.successor is process and slot.current is not None
        slot.remove(process)
        how, planned = process.exit_text(code), bool(process.ending)
        slot.last_exit = f"generation {process.generation} did not get ready: {how}" if refused else how
        slot.exited = self._pool.now
        self._pool.do(events.AnnounceDeath(process.number))
        self._pool.note(logging.INFO if planned else logging.ERROR, process.describe_end(code, refused=refused))
        if not planned and not refused:
            self.crash = Crash(slot.number, process.generation, how, self._pool.now)
        if self.phase is ServerPhase.STARTING and not planned:
            self._died_at_start(slot, process, code)
        elif self.phase is ServerPhase.RUNNING and not planned:
            self._died(slot, process)
        if self.phase is ServerPhase.RUNNING:
            self._pool.replace_heir(process)
        self._pool.drop_if_empty(slot)

    def _died_at_start(self, slot: Slot, process: Process, code: int) -> None:
        self.restarts += 1
        slot.count_death(process, self._pool.now)
        failure = process.failure
        if failure is None and code in (ExitCode.NOT_READY, ExitCode.STORE_UNREACHABLE):
            failure = Failed(code, "it gave no reason")
        if failure is None and slot.quick_deaths >= START_ATTEMPTS:
            failure = Failed(ExitCode.NOT_READY, f"it died {slot.quick_deaths} times in a row ({slot.last_exit})")
        if failure is None:
            self._pool.spawn(slot)
            return
        no_store = failure.exit_code == ExitCode.STORE_UNREACHABLE
        verdict = ExitCode.STORE_UNREACHABLE if no_store else ExitCode.NOT_READY
        self._pool.do(events.FailStart(verdict, f"worker {slot.number}: {failure.reason}{trace(failure)}"))
        self._stop(0.0, final=True)
        self._hurry()

    def _died(self, slot: Slot, process: Process) -> None:
        # If the slot still has a current process, the dead one was its replacement: no restart is counted.
        self.restarts += slot.current is None
        delay = 0.0 if slot.current is not None else slot.count_death(process, self._pool.now)
        if self._rollout is not None and self._rollout.concerns(process, self._pool):
            self._give_up(self._rollout, f"worker {slot.number}: {slot.last_exit}{trace(process.failure)}")
        if slot.removed or slot.current is not None or slot.successor is not None:
            return
        if not delay:
            self._pool.spawn(slot)
            return
        slot.respawn = self._pool.now + delay
        self._pool.shorten_wait(slot.group, slot)
        seconds = slot.respawn - self._pool.now
        deaths = f"worker {slot.number} died quickly {slot.quick_deaths} times in a row"
        text = f"{deaths}: its replacement starts in {seconds:g} s"
        self._pool.note(logging.ERROR, text)
        self._pool.reassign_listeners(slot.listeners, slot.group, keep=False)

    # ---- the clock ---------------------------------------------------------------------------------

    def _time_passed(self, event: events.TimePassed) -> None:
        now = self._pool.now
        absent = self._last_look is not None and now - self._last_look > OWN_ABSENCE
        self._last_look = now
        for process in list(self.processes.values()):
            process.alive = now if absent else max(process.alive, event.beats.get(process.number, 0.0))
            if process.deadline is not None and process.deadline <= now:
                self._overdue(process)
            elif self._is_hung(process):
                self.hangs += 1
                silence = now - process.alive
                self._pool.abort(process, f"{process.name} hangs: no sign of life for {silence:.1f} s")
        if self.phase in (ServerPhase.STARTING, ServerPhase.RUNNING):
            for slot in list(self.slots.values()):
                if slot.respawn is not None and slot.respawn <= now:
                    self._pool.spawn(slot)
        if self.phase is ServerPhase.RUNNING and self._rollout is None and not self._waiting:
            self._recycle(event)

    def _is_hung(self, process: Process) -> bool:
        if process.phase is State.STARTING or process.stopped or process.aborted or process.killed:
            return False
        return self._pool.now - process.alive > self._pool.timing.hang_timeout

    def _overdue(self, process: Process) -> None:
        if process.phase is not State.STARTING or process.aborted:
            if not process.aborted:
                self._pool.note(logging.WARNING, f"{process.name} is overdue and is killed")
            self._pool.kill(process)
        elif not process.stopped:
            reason = f"was not ready within {self._pool.timing.ready_timeout:g} s"
            process.failure = Failed(ExitCode.NOT_READY, reason)
            self._pool.abort(process, f"{process.name} {reason}")

    def _recycle(self, event: events.TimePassed) -> None:
        """Replace the first process that is too old or too large."""
        for slot in self.slots.values():
            why = self._due(slot, event)
            if why and slot.current is not None:
                self._replace(slot.current, why)
                return

    def _replace(self, process: Process, why: str) -> None:
        """Start a replacement for this slot alone. Ignored while anything else runs; the worker asks again."""
        slot = self.slots[process.slot]
        idle = self.phase is ServerPhase.RUNNING and self._rollout is None and not self._waiting
        if idle and slot.current is process and not slot.removed:
            self._pool.note(logging.INFO, f"worker {slot.number} is replaced: {why}")
            self._waiting.append(RollingUpdate(slot.generation, slots=deque([slot.number])))

    def _fell_silent(self, process: Process) -> None:
        self.silences += not process.killed
        self._pool.note(logging.ERROR, f"{process.name} does not answer another worker and is killed")
        self._pool.kill(process)

    def _due(self, slot: Slot, event: events.TimePassed) -> str:
        process, timing, now = slot.current, self._pool.timing, self._pool.now
        if process is None or not process.serves or slot.removed or now < slot.patience:
            return ""
        if process.lifetime is not None and now - process.spawned > process.lifetime:
            return f"it is older than server.max_lifetime ({timing.max_lifetime:g} s, with jitter)"
        size = event.memory.get(process.number, 0)
        if timing.max_memory and size > timing.max_memory:
            return f"it has {size} bytes, more than server.max_memory ({timing.max_memory})"
        return ""

    # ---- rollouts ------------------------------------------------------------------------------

    def _enqueue(self, rollout: Rollout, operation: int) -> None:
        if self.phase is ServerPhase.RUNNING:
            self._waiting.append(rollout)
        else:
            reason = f"the server is {self.phase.name.lower()}"
            self._pool.do(events.EndOperation(operation, ExitCode.FAILED, reason))

    def _advance(self) -> None:
        """Advance the rollout or begin the next one; end the master once a stop is complete."""
        while self.phase is ServerPhase.RUNNING:
            if self._rollout is None:
                if not self._waiting:
                    return
                self._rollout = self._waiting.popleft()
                refusal = self._rollout.begin(self._pool)
                if refusal:
                    self._end(ExitCode.USAGE, refusal)
            elif self._rollout.advance(self._pool):
                self._end(ExitCode.DONE, "")
            else:
                return
        if self.phase is ServerPhase.STOPPING and not self.processes:
            self.phase = ServerPhase.FINISHED
            self._pool.do(events.EndMaster())

    def _give_up(self, rollout: Rollout, reason: str) -> None:
        rollout.give_up(self._pool)
        reason = "\n".join(filter(None, (reason, rollout.partial_result(self._pool))))
        if rollout.operation is None:
            self._pool.note(logging.ERROR, f"replacing a worker failed: {reason}")
        self._end(ExitCode.NOT_READY, reason)

    def _end(self, code: ExitCode, reason: str) -> None:
        ended, self._rollout = self._rollout, None
        if ended is not None and ended.operation is not None:
            self._pool.do(events.EndOperation(ended.operation, code, reason))

    # ---- the end -----------------------------------------------------------------------------------

    def _stop(self, seconds: float | None, *, final: bool) -> None:
        if self.phase is ServerPhase.FINISHED:
            return
        self.phase = ServerPhase.STOPPING
        for rollout in (self._rollout, *self._waiting):
            if rollout is not None and rollout.operation is not None:
                self._pool.do(events.EndOperation(rollout.operation, ExitCode.FAILED, "the server is stopping"))
        self._rollout = None
        self._waiting.clear()
        for slot in self.slots.values():
            slot.respawn = None
        for process in list(self.processes.values()):
            self._pool.send_away(process, process.ending or "stopped", seconds, final=final)

    def _hurry(self) -> None:
        if self.phase is ServerPhase.STOPPING:
            for process in self.processes.values():
                if not process.killed:
                    self._pool.kill(process)
