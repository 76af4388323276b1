"""The running master: gives the policy the events of its loop and carries out the actions that the policy decides.

One `selectors` loop, no thread, nothing that waits. `boot.py` prepares what the first worker finds, `policy.py`
decides, `commands/` has what the operator asks for, `supervisor.py` has the workers.
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
from functools import partial
from typing import Any, Final

from chatmaster import __version__, contract
from chatmaster.config import diff
from chatmaster.config.groups import plain
from chatmaster.config.loader import Loaded
from chatmaster.contract import WORKERS_ENTRY, ExitCode
from chatmaster.errors import ApplicationError, ChatmasterError, StoreUnreachable
from chatmaster.master import exec_state
from chatmaster.master.boot import Boot, Interrupted, ServerResources, open_log
from chatmaster.master.checkup import Checkup
from chatmaster.master.commands.command import CommandContext
from chatmaster.master.commands.queue import CommandQueue
from chatmaster.master.control_server import CommandHandler, ControlPeer, ControlServer
from chatmaster.master.exec_state import ExecState, MasterProgram, MasterSnapshot
from chatmaster.master.report import Report
from chatmaster.master.startup_report import StartupReport
from chatmaster.master.supervisor import Supervisor
from chatmaster.master.worker_handle import WorkerHandle
from chatmaster.master.worker_queries import WorkerQueries
from chatmaster.plural import counted
from chatmaster.policy import events
from chatmaster.policy.policy import Policy, ServerPhase
from chatmaster.policy.processes import State
from chatmaster.runtime import fork, workdir
from chatmaster.runtime.child_watcher import ChildWatcher
from chatmaster.runtime.event_loop import EventLoop
from chatmaster.runtime.pidfile import TOUCH_EVERY
from chatmaster.runtime.systemd import Notifier
from chatmaster.settings import Settings
from chatmaster.stats import Field
from chatmaster.store.supervisor import StoreSupervisor

log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.5  # seconds between two checks of heartbeats and deadlines
SAMPLE_EVERY: Final = 1.0  # seconds between two samples for the rates
STORE_PATIENCE: Final = 2.0  # times hang_timeout without an answer of the embedded store: its disk may be slow


def run(
    loaded: Loaded,
    *,
    ready_fd: int | None = None,
    on_ready: Callable[[Mapping[str, Any]], None] | None = None,
    entry: str = WORKERS_ENTRY,
) -> int:
    """Run the master until the server has ended; return its exit code.

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
    readiness.failed(ExitCode.FAILED, "it was told to stop before it was ready")  # no effect after an answer
    return code


def _run(stack: ExitStack, loaded: Loaded, entry: str, readiness: StartupReport, left: ExecState | None) -> int:
    loop = EventLoop()
    stack.callback(loop.close)
    notifier = Notifier(os.environ)
    stack.callback(notifier.close)
    # From the start: after a restart, systemd's watchdog runs while the application is imported.
    notifier.keep_feeding(loop.call_later)
    children = ChildWatcher(loop)
    stack.callback(_end_children, children)
    boot = Boot(loaded, entry, loop, children, left)
    if left is not None and left.running is not None:
        try:
            resources = boot.restore(stack, left, left.running)
            arbiter = Arbiter(resources, entry, loop, children, notifier, readiness, left.running)
            arbiter.restore(left.running)
        except Exception as error:
            exec_state.roll_back(left, str(error) or repr(error))
            raise
    else:
        arbiter = Arbiter(boot.run(stack), entry, loop, children, notifier, readiness)
        arbiter.start()
    stack.callback(arbiter.close)
    return arbiter.run()


def _end_children(children: ChildWatcher) -> None:
    """Kill the children that are left where the master itself fails; the kernel would do so at its exit."""
    for pid in children.pids():
        os.kill(pid, signal.SIGKILL)
        fork.end_group(pid)


def _since(running: MasterSnapshot | None) -> float:
    """Return when the master began, by the monotonic clock."""
    now = time.monotonic()
    if running is None:
        return now
    return running.since or now - max(0.0, time.time() - running.started)


def _policy(resources: ServerResources, running: MasterSnapshot | None) -> Policy:
    timing = events.Timing.of(resources.settings)
    if running is None:
        return Policy(timing, random=random.random)
    return Policy.restore(running.view, timing, random=random.random)


def _keeper(resources: ServerResources, loop: EventLoop, children: ChildWatcher) -> StoreSupervisor | None:
    """What keeps the embedded store running; None where the settings name another store."""
    if resources.store is None:
        return None
    patience = STORE_PATIENCE * resources.settings.master.hang_timeout
    return StoreSupervisor(loop, children, resources.store, patience=patience)


class Arbiter:
    """The running master."""

    def __init__(
        self,
        resources: ServerResources,
        entry: str,
        loop: EventLoop,
        children: ChildWatcher,
        notifier: Notifier,
        readiness: StartupReport,
        running: MasterSnapshot | None = None,
    ) -> None:
        """`running`: what the previous image has left; `restore` follows."""
        self._resources = resources
        self._loop = loop
        self._children = children
        self._notifier = notifier
        self._readiness = readiness
        self._policy = _policy(resources, running)
        generations = {self._policy.generation, *(slot.generation for slot in self._policy.slots.values())}
        self._settings_of = dict.fromkeys(generations, resources.settings)
        self._supervisor = Supervisor(loop, children, resources, entry, decide=self.decide, receive=self._receive)
        self._keeper = _keeper(resources, loop, children)
        self._started = time.time() if running is None else running.started
        self._since = _since(running)
        context = CommandContext(
            master=self,
            resources=resources,
            policy=self._policy,
            supervisor=self._supervisor,
            loop=loop,
            children=children,
            notifier=notifier,
            entry=entry,
            generation=self._policy.generation,
        )
        self._commands = CommandQueue(context)
        self._report = Report(
            resources,
            self._policy,
            self._supervisor,
            self._keeper,
            self._commands,
            started=self._started,
            since=self._since,
        )
        self._checkup = Checkup(resources, self._report, self._supervisor, loop, children)
        self._queries = WorkerQueries(loop, self._askable, self._groups, self._report.store_trouble)
        self._failure: ChatmasterError | None = None
        self._over = False
        self._sampled = self._touched = 0.0
        listening = socket.socket(fileno=running.control) if running is not None else None
        self._control = ControlServer(loop, resources.loaded.control_socket, self._handlers(), listening)

    def start(self) -> None:
        """Start the store, then the workers."""
        self._listen_to_signals()
        if self._keeper is not None:
            patience = self._resources.settings.master.ready_timeout
            self._keeper.start(patience=patience, ready=self._start_workers, failed=self._fail_start)
        else:
            self._start_workers()

    def restore(self, running: MasterSnapshot) -> None:
        """Go on with what the previous image has left."""
        self._supervisor.restore(running.workers, running.tables)
        if self._keeper is not None and running.store is not None:
            self._keeper.restore(running.store)
        self._control.restore(running.visitors)
        for number in self._policy.processes.keys() - self._supervisor.handles.keys():
            # The previous image could not fork the process, and had no time to tell the policy.
            self._loop.call_later(0.0, partial(self.decide, events.CouldNotFork(number, "the fork failed")))
        # Some children may have ended while no handler for SIGCHLD was installed.
        self._loop.call_later(0.0, self._children.look)
        self._commands.restore(running, self._control)
        self._listen_to_signals()
        exec_state.release_signals()

    def snapshot(self, refused: str = "") -> ExecState:
        """Return all that the next image needs. `refused`: why this image, the new program, gives it back."""
        resources, commands, supervisor = self._resources, self._commands, self._supervisor
        running = MasterSnapshot(
            view=self._policy.snapshot(),
            groups=resources.groups,
            workers=supervisor.snapshot(),
            tables=supervisor.rows.tables,
            store=self._keeper.snapshot() if self._keeper is not None else None,
            settings=diff.restart_settings(resources.settings),
            durability=resources.durability,
            started=self._started,
            generation=commands.generation,
            scaled=tuple(commands.scaled),
            control=self._control.fileno(),
            visitors=self._control.visitors(),
            jobs=commands.snapshot(),
            since=self._since,
            back=exec_state.own_program(),
            refused=refused,
        )
        return ExecState(
            os.getpid(), resources.pid_file.fileno(), tuple(resources.listeners.snapshot()), running=running
        )

    def execute(self, program: MasterProgram, refused: str = "") -> None:
        """Become that program. Raises OSError where it cannot be executed; then the server goes on as before."""
        self._queries.refuse_all("the master is being upgraded: ask again")
        exec_state.execute(self.snapshot(refused), program)

    def run(self) -> int:
        """Run until everything has ended; return the exit code. Raises the ChatmasterError of a failed start."""
        self._look()
        self._loop.run_until(lambda: self._over)
        if self._failure is not None:
            raise self._failure
        if self._commands.restarting:
            self._execute_again()
        self._commands.stop.answer()
        return ExitCode.DONE

    def close(self) -> None:
        """Remove the control socket."""
        self._control.close()

    # ---- the policy --------------------------------------------------------------------------------

    def decide(self, event: events.Event) -> None:
        """Give the policy an event and carry out its actions."""
        for action in self._policy.receive(event, time.monotonic()):
            self._carry_out(action)

    def _carry_out(self, action: events.Action) -> None:
        match action:
            case events.Spawn():
                self._supervisor.spawn(action, self._settings_of[action.generation])
            case events.DrainWorker(number, seconds, graceful, final, reload):
                self._supervisor.send(number, contract.Drain(seconds, graceful, final, reload))
            case events.HandOverSlot():
                self._supervisor.hand_over(action)
            case events.Kill():
                self._supervisor.kill(action)
            case events.AdoptListener():
                self._supervisor.adopt(action)
            case events.AnnounceDeath(number):
                self._queries.remove_worker(number)
                self._supervisor.forget(number)
            case events.AnnounceReady():
                self._announce()
            case events.FailStart(code, reason):
                kind = StoreUnreachable if code is ExitCode.STORE_UNREACHABLE else ApplicationError
                self._failure = kind(reason)
            case events.EndOperation(operation, code, reason):
                self._commands.end_operation(operation, code, reason)
            case events.LogLine(level, text):
                log.log(level, "%s", text)
            case events.EndMaster():
                self._stop_store()

    # ---- workers ---------------------------------------------------------------------------------

    def _receive(self, handle: WorkerHandle, message: contract.FromWorker) -> None:
        match message:
            case contract.Ready(version):
                self.decide(events.BecameReady(handle.number, version))
            case contract.Failed():
                self.decide(events.ReportedFailure(handle.number, message))
            case contract.Answer():
                self._queries.receive_answer(handle.number, message)
            case contract.Replace(reason):
                self.decide(events.ReplacementRequested(handle.number, reason))
            case contract.HostOrder():
                self._follow_host_order(message)
            case contract.KillPeer(incarnation):
                if (peer := self._supervisor.find(incarnation)) is not None:
                    self.decide(events.FellSilent(peer.number))
            case contract.Drained() | contract.Declares():
                """The exit of the process follows and tells the same."""

    def _follow_host_order(self, order: contract.HostOrder) -> None:
        """A worker has read in the store that this host is drained, or is no longer."""
        self._report.drain = {"by": order.by, "since": order.since} if order.by else None
        if order.stop:
            self._commands.stop.stop(f"the drain of this host by {order.by}")

    def _groups(self) -> Sequence[str]:
        """Return the names of the program's Workers, first the one with the instance's own rooms."""
        own = plain(self._resources.groups)
        return sorted((group.name for group in self._resources.groups), key=lambda name: name != own)

    def _askable(self) -> tuple[Sequence[WorkerHandle], Sequence[WorkerHandle]]:
        able: list[WorkerHandle] = []
        unable: list[WorkerHandle] = []
        for number, handle in sorted(self._supervisor.handles.items(), key=lambda item: -item[1].beat):
            process = self._policy.processes[number]
            handle.group = self._policy.slots[process.slot].group
            if process.state is not State.STARTING:
                (able if process.state in (State.READY, State.DRAINING) else unable).append(handle)
        able.sort(key=lambda handle: self._policy.processes[handle.number].state is State.DRAINING)
        return able, unable

    # ---- beginning and end -------------------------------------------------------------------------

    def _start_workers(self) -> None:
        if self._policy.phase is ServerPhase.IDLE:
            counts = {group.name: group.count for group in self._resources.groups}
            self.decide(events.StartRequested(counts, self._resources.listeners.keys()))

    def _announce(self) -> None:
        self._resources.record.forget_left()
        self._readiness.ready(self._resources.addresses, self._resources.pages)
        self._notifier.ready(self.summary())
        name, addresses = self._resources.settings.master.name, ", ".join(self._resources.addresses)
        api = self._resources.settings.api.listen
        verbs = f", the verbs on {api}" if api else ""
        log.info("%s runs: %s, on %s%s (chatmaster %s)", name, self.summary(), addresses, verbs, __version__)
        self._loop.call_later(0.0, self._commands.advance)

    def _fail_start(self, code: ExitCode, reason: str) -> None:
        self._failure = StoreUnreachable(reason)
        self.decide(events.StopRequested(0.0))

    def _stop_store(self) -> None:
        if self._keeper is not None:
            self._keeper.stop(self._finish)
        else:
            self._finish()

    def _finish(self) -> None:
        self._over = True

    def _execute_again(self) -> None:
        """Execute the program again: same pid, same sockets, same lock."""
        left = ExecState(
            pid=os.getpid(),
            pid_file=self._resources.pid_file.keep_over_exec(),
            listeners=tuple(self._resources.listeners.snapshot()),
            askers=self._commands.give_requesters_away(),
        )
        self._control.close()
        self._loop.close()
        exec_state.execute(left)

    # ---- now and then ------------------------------------------------------------------------------

    def _look(self) -> None:
        """Check heartbeats and deadlines, sample the rates, and schedule the next check."""
        now = time.monotonic()
        if now - self._sampled >= SAMPLE_EVERY:
            self._sampled = now
            for handle in self._supervisor.handles.values():
                handle.look(now)
        if now - self._touched >= TOUCH_EVERY:
            self._touched = now
            self._resources.pid_file.touch()
        self._report.note(now)
        self.decide(
            events.TimePassed(
                {number: handle.beat for number, handle in self._supervisor.handles.items()},
                {number: handle.row[Field.MEMORY] for number, handle in self._supervisor.handles.items()},
            )
        )
        due = self._policy.next_deadline()
        self._loop.call_at(min(now + LOOK_EVERY, max(due or now + LOOK_EVERY, now + 0.01)), self._look)

    # ---- signals and commands ----------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        commands, stop = self._commands, self._commands.stop
        for number, act in {
            signal.SIGTERM: lambda: stop.stop("SIGTERM"),
            signal.SIGINT: stop.interrupt,
            signal.SIGQUIT: lambda: stop.stop("SIGQUIT", graceful=True),
            signal.SIGHUP: commands.reload,
            signal.SIGUSR1: self._reopen_logs,
            signal.SIGUSR2: commands.upgrade,
            signal.SIGTTIN: lambda: commands.scale(by=1),
            signal.SIGTTOU: lambda: commands.scale(by=-1),
        }.items():
            self._loop.on_signal(number, act)

    def _handlers(self) -> dict[str, CommandHandler]:
        return {
            "status": lambda peer, args: peer.done(self._report.status()),
            "settings": self._settings_command,
            "query": self._queries.command,
            "doctor": self._checkup.command,
            **self._commands.handlers(),
        }

    def _reopen_logs(self) -> None:
        """Open the log file again, after it was rotated."""
        try:
            self._resources.log_handler.reopen()
        except OSError as error:
            log.error("the log cannot be opened again, and stays at the old file: %s", error.strerror)
        self._supervisor.broadcast(contract.ReopenLogs())

    def _settings_command(self, peer: ControlPeer, args: Mapping[str, Any]) -> None:
        first, count = next(iter(self._policy.counts.items()))
        scaled = count if first in self._commands.scaled else None
        peer.done(diff.running_settings(self._resources.settings, str(args.get("salt")), scaled=scaled))

    # ---- for the commands --------------------------------------------------------------------------

    def use_settings(self, generation: int, settings: Settings) -> None:
        """Fork the workers of that generation with these settings."""
        self._settings_of[generation] = settings

    def reconfigure(self, loaded: Loaded, settings: Settings) -> None:
        """Make these the settings of the master itself."""
        resources = self._resources
        resources.loaded, resources.settings = loaded, settings
        # Only generations that a slot may still spawn are kept.
        used = {slot.generation for slot in self._policy.slots.values()} | {self._policy.generation}
        self._settings_of = {number: kept for number, kept in self._settings_of.items() if number in used}
        if self._keeper is not None:
            self._keeper.set_patience(STORE_PATIENCE * settings.master.hang_timeout)
        try:
            resources.log_handler = open_log(loaded)
        except ChatmasterError as error:
            log.error("%s; the log stays at the old file", error)

    def summary(self) -> str:
        """Describe the server in one line, for people."""
        ready = sum(process.serves for process in self._policy.processes.values())
        return f"{counted(ready, 'worker')} ready, generation {self._policy.generation}"
