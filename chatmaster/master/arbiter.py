"""The master: runs the loop, tells the policy what happened, carries out what it decides.

One `selectors` loop, no thread, nothing that waits. `boot.py` prepares what the first worker finds, `policy.py`
decides, `queue.py` carries reload, scaling and restart through their steps, `supervisor.py` has the workers.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from chatmaster import __version__, contract
from chatmaster.config import diff
from chatmaster.config.groups import plain
from chatmaster.config.loader import Loaded
from chatmaster.contract import WORKERS_ENTRY, ExitCode
from chatmaster.errors import ApplicationError, ChatmasterError, StoreUnreachable
from chatmaster.master import exec_state, takeover
from chatmaster.master.boot import Boot, Interrupted, Site, open_log
from chatmaster.master.checkup import Checkup
from chatmaster.master.commands.queue import CommandQueue
from chatmaster.master.control_server import ControlPeer, ControlServer
from chatmaster.master.report import Report
from chatmaster.master.startup_report import StartupReport
from chatmaster.master.supervisor import Supervisor
from chatmaster.master.worker_handle import WorkerHandle
from chatmaster.master.worker_queries import WorkerQueries
from chatmaster.policy import events
from chatmaster.policy.policy import Policy, ServerPhase
from chatmaster.policy.processes import State
from chatmaster.runtime import fork, workdir
from chatmaster.runtime.child_watcher import ChildWatcher
from chatmaster.runtime.event_loop import EventLoop
from chatmaster.runtime.pidfile import TOUCH_EVERY
from chatmaster.runtime.systemd import Notifier
from chatmaster.stats import Field
from chatmaster.store.supervisor import StoreSupervisor

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.5  # seconds between two looks at heartbeats and deadlines
SAMPLE_EVERY: Final = 1.0  # seconds between two samples for the rates
STORE_PATIENCE: Final = 2.0  # hang_timeouts without an answer of the embedded store: a disk may be slow


def run(
    loaded: Loaded,
    *,
    ready_fd: int | None = None,
    on_ready: Callable[[Mapping[str, Any]], None] | None = None,
    entry: str = WORKERS_ENTRY,
) -> int:
    """Be the master until the server has ended; returns its exit code.

    `ready_fd` gets one JSON line when every worker is ready, or when the start has failed (see `startup_report.py`);
    `on_ready` is called with the facts of the first.
    `entry` is what a worker runs. Raises ChatmasterError for a start that failed, after it was reported.
    """
    workdir.settle()
    left = exec_state.take(os.environ)
    askers = left.askers if left is not None else ()
    readiness = StartupReport([*([] if ready_fd is None else [ready_fd]), *askers], on_ready)
    try:
        with ExitStack() as stack:
            code = _run(stack, loaded, entry, readiness, left)
    except Interrupted:
        code = ExitCode.DONE
    except ChatmasterError as error:
        readiness.failed(error.exit_code, str(error))
        raise
    except BaseException as error:
        readiness.failed(ExitCode.FAILED, f"a bug in the master: {error!r}")
        raise
    readiness.failed(ExitCode.FAILED, "it was told to stop before it was ready")  # says nothing to who has an answer
    return code


def _run(
    stack: ExitStack, loaded: Loaded, entry: str, readiness: StartupReport, left: exec_state.ExecState | None
) -> int:
    reactor = EventLoop()
    stack.callback(reactor.close)
    notifier = Notifier(os.environ)
    stack.callback(notifier.close)
    # From the beginning: after a restart the supervisor watches while the application is imported.
    notifier.keep_feeding(reactor.call_later)
    reaper = ChildWatcher(reactor)
    stack.callback(_end_children, reaper)
    boot = Boot(loaded, entry, reactor, reaper, left)
    if left is not None and left.running is not None:
        try:
            site = boot.resume(stack, left, left.running)
            arbiter = Arbiter(site, entry, reactor, reaper, notifier, readiness, left.running)
            arbiter.resume(left.running)
        except Exception as error:
            exec_state.turn_back(left, str(error) or repr(error))
            raise
    else:
        arbiter = Arbiter(boot.run(stack), entry, reactor, reaper, notifier, readiness)
        arbiter.start()
    stack.callback(arbiter.close)
    return arbiter.run()


def _end_children(reaper: ChildWatcher) -> None:
    """Nobody is left but where the master itself fails; the kernel would do the same when we exit."""
    for pid in reaper.pids():
        os.kill(pid, signal.SIGKILL)
        fork.end_group(pid)


def _since(running: exec_state.MasterSnapshot | None) -> float:
    """When the master began, by the monotonic clock."""
    now = time.monotonic()
    if running is None:
        return now
    return running.since or now - max(0.0, time.time() - running.started)


class Arbiter:
    """The running master."""

    def __init__(
        self,
        site: Site,
        entry: str,
        reactor: EventLoop,
        reaper: ChildWatcher,
        notifier: Notifier,
        readiness: StartupReport,
        running: exec_state.MasterSnapshot | None = None,
    ) -> None:
        """`running`: what the image before this one has left, for `resume`."""
        self.site = site
        self.entry = entry
        self.reactor = reactor
        self.reaper = reaper
        timing = events.Timing.of(site.settings)
        if running is None:
            self.policy = Policy(timing, random=random.random)
        else:
            self.policy = Policy.of(running.view, timing, random=random.random)
        generations = {self.policy.generation, *(slot.generation for slot in self.policy.slots.values())}
        self.settings_of = dict.fromkeys(generations, site.settings)
        self.supervisor = Supervisor(reactor, reaper, site, entry, tell=self.decide, said=self._said)
        self.notifier = notifier
        self.operations = CommandQueue(self)
        self._readiness = readiness
        self.questions = WorkerQueries(reactor, self._askable, self._groups, lambda: self.report.store_trouble())
        self.keeper: StoreSupervisor | None = None
        if site.store is not None:
            patience = STORE_PATIENCE * site.settings.master.hang_timeout
            self.keeper = StoreSupervisor(reactor, reaper, site.store, patience=patience)
        self.started = time.time() if running is None else running.started
        self.since = _since(running)
        self.report = Report(self)
        self._failure: ChatmasterError | None = None
        self._over = False
        self._sampled = self._touched = 0.0
        listening = socket.socket(fileno=running.control) if running is not None else None
        self.control = ControlServer(reactor, site.loaded.control_socket, self._commands(), listening)

    def start(self) -> None:
        """Begin with the store, then the workers."""
        self._listen_to_signals()
        if self.keeper is not None:
            patience = self.site.settings.master.ready_timeout
            self.keeper.start(patience=patience, ready=self._start_workers, failed=self._fail_start)
        else:
            self._start_workers()

    def resume(self, running: exec_state.MasterSnapshot) -> None:
        """Begin where the image before this one has executed us."""
        takeover.put_back(self, running)
        self._listen_to_signals()
        exec_state.release_signals()

    def run(self) -> int:
        """Until everything has ended. Raises the ChatmasterError of a start that failed."""
        self._look()
        self.reactor.run_until(lambda: self._over)
        if self._failure is not None:
            raise self._failure
        if self.operations.restarting:
            self._execute_again()
        self.operations.tell_stopped()
        return ExitCode.DONE

    def close(self) -> None:
        """Let go of what other processes see of us."""
        self.control.close()

    # ---- the policy --------------------------------------------------------------------------------

    def decide(self, event: events.Event) -> None:
        """Tell the policy what happened and carry out what follows."""
        for action in self.policy.receive(event, time.monotonic()):
            self._carry_out(action)

    def _carry_out(self, action: events.Action) -> None:
        match action:
            case events.Spawn():
                self.supervisor.spawn(action, self.settings_of[action.generation])
            case events.DrainWorker(number, seconds, graceful, final, reload):
                self.supervisor.tell(number, contract.Drain(seconds, graceful, final, reload))
            case events.HandOverSlot():
                self.supervisor.hand_over(action)
            case events.Kill():
                self.supervisor.kill(action)
            case events.AdoptListener():
                self.supervisor.adopt(action)
            case events.TellReaped(number):
                self.questions.gone(number)
                self.supervisor.reaped(number)
            case events.AnnounceReady():
                self._announce()
            case events.FailStart(code, reason):
                self._failure = StoreUnreachable(reason) if code == 6 else ApplicationError(reason)
            case events.EndOperation(operation, code, reason):
                self.operations.ended(operation, code, reason)
            case events.LogLine(level, text):
                log.log(level, "%s", text)
            case events.Finish():
                self._stop_store()

    # ---- workers ---------------------------------------------------------------------------------

    def _said(self, handle: WorkerHandle, message: contract.FromWorker) -> None:
        match message:
            case contract.Ready(version):
                self.decide(events.BecameReady(handle.number, version))
            case contract.Failed():
                self.decide(events.ReportedFailure(handle.number, message))
            case contract.Answer():
                self.questions.answered(handle.number, message)
            case contract.Replace(reason):
                self.decide(events.ReplacementAsked(handle.number, reason))
            case contract.KillPeer(incarnation):
                if (peer := self.supervisor.called(incarnation)) is not None:
                    self.decide(events.FellSilent(peer.number))
            case contract.Drained() | contract.Declares():
                """Its exit says the same."""

    def _groups(self) -> Sequence[str]:
        """The program's Workers; that of the instance's own rooms first."""
        own = plain(self.site.groups)
        return sorted((group.name for group in self.site.groups), key=lambda name: name != own)

    def _askable(self) -> tuple[Sequence[WorkerHandle], Sequence[WorkerHandle]]:
        able: list[WorkerHandle] = []
        unable: list[WorkerHandle] = []
        for number, handle in sorted(self.supervisor.handles.items(), key=lambda item: -item[1].beat):
            process = self.policy.processes[number]
            handle.group = self.policy.slots[process.slot].group
            if process.state is not State.STARTING:
                (able if process.state in (State.READY, State.DRAINING) else unable).append(handle)
        able.sort(key=lambda handle: self.policy.processes[handle.number].state is State.DRAINING)
        return able, unable

    # ---- beginning and end -------------------------------------------------------------------------

    def _start_workers(self) -> None:
        if self.policy.phase is ServerPhase.IDLE:
            counts = {group.name: group.count for group in self.site.groups}
            self.decide(events.StartAsked(counts, self.site.listeners.keys()))

    def _announce(self) -> None:
        self.site.record.looked_after()
        self._readiness.ready(self.addresses)
        self.notifier.ready(self.summary())
        name = self.site.settings.master.name
        log.info("%s runs: %s, on %s (chatmaster %s)", name, self.summary(), ", ".join(self.addresses), __version__)
        self.reactor.call_later(0.0, self.operations.next)

    def _fail_start(self, code: ExitCode, reason: str) -> None:
        self._failure = StoreUnreachable(reason)
        self.decide(events.StopAsked(0.0))

    def _stop_store(self) -> None:
        if self.keeper is not None:
            self.keeper.stop(self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        self._over = True

    def _execute_again(self) -> None:
        """Become the program anew: same pid, same sockets, same lock."""
        left = exec_state.ExecState(
            pid=os.getpid(),
            pid_file=self.site.pid_file.keep_over_exec(),
            listeners=tuple(self.site.listeners.kept()),
            askers=self.operations.give_askers_away(),
        )
        self.control.close()
        self.reactor.close()
        exec_state.execute(left)

    # ---- now and then ------------------------------------------------------------------------------

    def _look(self) -> None:
        """Heartbeats, deadlines, rates. Comes again by itself."""
        now = time.monotonic()
        if now - self._sampled >= SAMPLE_EVERY:
            self._sampled = now
            for handle in self.supervisor.handles.values():
                handle.look(now)
        if now - self._touched >= TOUCH_EVERY:
            self._touched = now
            self.site.pid_file.touch()
        self.report.note(now)
        self.decide(
            events.TimePassed(
                {number: handle.beat for number, handle in self.supervisor.handles.items()},
                {number: handle.row[Field.MEMORY] for number, handle in self.supervisor.handles.items()},
            )
        )
        due = self.policy.next_look()
        self.reactor.call_at(min(now + LOOK_EVERY, max(due or now + LOOK_EVERY, now + 0.01)), self._look)

    # ---- signals and commands ----------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        operations = self.operations
        for number, act in {
            signal.SIGTERM: lambda: operations.stop("SIGTERM"),
            signal.SIGINT: operations.interrupt,
            signal.SIGQUIT: lambda: operations.stop("SIGQUIT", graceful=True),
            signal.SIGHUP: operations.reload,
            signal.SIGUSR1: self.reopen_logs,
            signal.SIGUSR2: operations.upgrade,
            signal.SIGTTIN: lambda: operations.scale(by=1),
            signal.SIGTTOU: lambda: operations.scale(by=-1),
        }.items():
            self.reactor.on_signal(number, act)

    def _commands(self) -> dict[str, Any]:
        return {
            "status": lambda peer, args: peer.done(self.report.status()),
            "settings": self._settings_command,
            "query": self.questions.command,
            "doctor": Checkup(self).command,
            **self.operations.commands(),
        }

    def reopen_logs(self) -> None:
        """The log file was rotated."""
        try:
            self.site.log_handler.reopen()
        except OSError as error:
            log.error("the log could not be opened again: %s", error.strerror)
        self.supervisor.tell_everyone(contract.ReopenLogs())

    def _settings_command(self, peer: ControlPeer, args: Mapping[str, Any]) -> None:
        first, count = next(iter(self.policy.counts.items()))
        scaled = count if first in self.operations.scaled else None
        peer.done(diff.running_settings(self.site.settings, str(args.get("salt")), scaled=scaled))

    def forget_settings(self) -> None:
        """Only generations that a slot may still spawn are kept."""
        used = {slot.generation for slot in self.policy.slots.values()} | {self.policy.generation}
        self.settings_of = {number: kept for number, kept in self.settings_of.items() if number in used}

    def reconfigure(self) -> None:
        """As the reloaded settings say."""
        if self.keeper is not None:
            self.keeper.be_patient(STORE_PATIENCE * self.site.settings.master.hang_timeout)
        try:
            self.site.log_handler = open_log(self.site.loaded)
        except ChatmasterError as error:
            log.error("%s; the log stays where it was", error)

    # ---- what is known -----------------------------------------------------------------------------

    @property
    def addresses(self) -> list[str]:
        """Everything that is listened on."""
        return [address for group in self.site.groups for address in group.listen]

    def summary(self) -> str:
        """One line for people."""
        ready = sum(process.serves for process in self.policy.processes.values())
        return f"{ready} worker{'s' * (ready != 1)} ready, generation {self.policy.generation}"
