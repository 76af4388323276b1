"""Prepares the start: state directory, lock, log, libraries, the program's declaration, sockets, privileges.

The order matters: the lock comes before anything that a running master owns is touched; sockets are bound before
privileges are dropped; the application is only ever imported in a child that has dropped them already.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import setproctitle

from chatmaster.config import diff, validation
from chatmaster.config.groups import Group, crowded, declarations, groups
from chatmaster.config.loader import Loaded
from chatmaster.contract import Answer, Failed
from chatmaster.errors import ChatmasterError, StoreUnreachable
from chatmaster.master import app_probe, exec_state, listeners
from chatmaster.master.listeners import AddressInUse, Listeners
from chatmaster.master.worker_record import WorkerRecord, left_in
from chatmaster.runtime import cores, fork, logs, privileges, statedir
from chatmaster.runtime.child_watcher import ChildWatcher
from chatmaster.runtime.event_loop import EventLoop
from chatmaster.runtime.pidfile import PidFile, PreviousMaster
from chatmaster.settings import Settings
from chatmaster.store import check, refusals
from chatmaster.store.binary import why_not_the_wheels
from chatmaster.store.embedded import EmbeddedStore

log = logging.getLogger(__name__)

# The kernel ends the workers of a killed master; they may hold its port for a moment longer.
OLD_WORKERS: Final = 2.0  # seconds


class Interrupted(Exception):
    """A signal asked for the end before any worker ran."""


@dataclass
class ServerResources:
    """What the master has opened and read before the first worker starts. A reload replaces the settings."""

    loaded: Loaded
    settings: Settings
    groups: tuple[Group, ...]
    listeners: Listeners
    pid_file: PidFile
    log_handler: logs.LogHandler
    store: EmbeddedStore | None  # None: store.url names one
    store_url: str
    durability: str
    record: WorkerRecord

    @property
    def addresses(self) -> list[str]:
        """Everything that the server listens on."""
        return [address for group in self.groups for address in group.listen]

    @property
    def pages(self) -> list[str]:
        """The addresses at which the chat page is served."""
        if not self.settings.http.page:
            return []
        return [address for group in self.groups if group.chat for address in group.listen]


@dataclass
class _Answers:
    application: app_probe.ProbeAnswer | None = None
    store: app_probe.ProbeAnswer | None = None


class Boot:
    """Prepares the resources step by step, in the loop, so that signals and exits of children are handled meanwhile."""

    def __init__(
        self, loaded: Loaded, entry: str, loop: EventLoop, children: ChildWatcher, left: exec_state.ExecState | None
    ) -> None:
        self._loaded = loaded
        self._entry = entry
        self._loop = loop
        self._children = children
        self._exec_state = left
        self._interrupted = False

    def run(self, stack: ExitStack) -> ServerResources:
        """Take all steps; put on the stack what must be undone at the end. Raises ChatmasterError or Interrupted."""
        self._listen_to_signals()
        settings = self._loaded.settings
        setproctitle.setproctitle(f"chatmaster: master [{settings.master.name}]")
        account = privileges.account(settings.master)
        statedir.prepare(self._loaded.state_dir, uid=account.uid, gid=account.gid)
        pid_file = self._lock(stack)
        handler = open_log(self._loaded, account)
        self._warn(pid_file)
        fork.preload(self._entry)
        durability = self._ask()
        settings = effective_settings(self._loaded)
        found = Listeners(settings.server.backlog, int(settings.server.unix_mode, 8))
        stack.callback(found.close)
        # The workers of a killed master may still be ending.
        made = self._listen(found, killed_before=pid_file.previous is not None)
        if warning := crowded(sum(group.count for group in made), cores.available()):
            log.warning("%s", warning)
        privileges.drop(account)
        store = self._embedded_store(settings)
        if store is not None:
            durability = store.durability
            if reason := why_not_the_wheels(store.program):
                log.warning("the embedded store is %s (%s): %s", store.program, store.program.path, reason)
        return ServerResources(
            loaded=self._loaded,
            settings=settings,
            groups=made,
            listeners=found,
            pid_file=pid_file,
            log_handler=handler,
            store=store,
            store_url=store.url if store is not None else settings.store.url,
            durability=durability,
            record=WorkerRecord(self._loaded.worker_record, left=left_in(self._loaded.worker_record)),
        )

    def restore(
        self, stack: ExitStack, left: exec_state.ExecState, running: exec_state.MasterSnapshot
    ) -> ServerResources:
        """Return the previous image's resources, after an upgrade. Nothing is probed or opened; a reload follows."""
        keep, _ = diff.keep_running(self._loaded.settings, running.settings)
        self._loaded = replace(self._loaded, settings=keep)
        settings = effective_settings(self._loaded)
        setproctitle.setproctitle(f"chatmaster: master [{settings.master.name}]")
        pid_file = self._lock(stack)
        handler = open_log(self._loaded)
        fork.preload(self._entry)
        found = Listeners(settings.server.backlog, int(settings.server.unix_mode, 8))
        stack.callback(found.close)
        found.restore(left.listeners)
        found.open(running.groups)
        store = self._embedded_store(settings)
        return ServerResources(
            loaded=self._loaded,
            settings=settings,
            groups=running.groups,
            listeners=found,
            pid_file=pid_file,
            log_handler=handler,
            store=store,
            store_url=store.url if store is not None else settings.store.url,
            durability=running.durability,
            record=WorkerRecord(self._loaded.worker_record),
        )

    # ---- steps -------------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self._loop.on_signal(number, self._interrupt)
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
            self._loop.on_signal(number, lambda: None)  # nothing runs yet that the signal could change
        exec_state.release_signals()

    def _warn(self, pid_file: PidFile) -> None:
        """Log what is odd about the configuration, and that the last master was killed."""
        for warning in (*self._loaded.warnings, *validation.warnings(self._loaded.settings)):
            log.warning("%s", warning)
        if (previous := pid_file.previous) is not None:
            log.warning("%s", crash_report(previous, booted=time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)))

    def _embedded_store(self, settings: Settings) -> EmbeddedStore | None:
        """The store to run; None where the settings name one. Raises StoreUnusable."""
        if settings.store.url != "embedded":
            return None
        return EmbeddedStore(settings.master.name, self._loaded.store_dir, max_memory=settings.store.max_memory)

    def _lock(self, stack: ExitStack) -> PidFile:
        path = self._loaded.pid_file
        if self._exec_state is not None:
            pid_file = PidFile.adopt(path, self._exec_state.pid_file)
        else:
            pid_file = PidFile.acquire(path)
        stack.callback(pid_file.release)
        return pid_file

    def _ask(self) -> str:
        """Ask the application what it declares and, at the same time, a configured store for its configuration."""
        answers = _Answers()
        self._fork(self._entry, lambda answer: setattr(answers, "application", answer))
        asks_store = self._loaded.settings.store.url != "embedded"
        if asks_store:
            self._fork(check.ENTRY, lambda answer: setattr(answers, "store", answer), what="asking the store")
        self._wait(lambda: answers.application is not None and (answers.store is not None or not asks_store))
        if isinstance(answers.store, Failed):
            raise StoreUnreachable(answers.store.reason)
        assert answers.application is not None
        self._declared = app_probe.declared(answers.application)
        app = self._loaded.settings.server.app
        self._loaded = self._loaded.declare(declarations(self._declared.workers), app)
        facts: list[dict[str, Any]] = answers.store.rows if isinstance(answers.store, Answer) else []
        policy = str(facts[0].get("maxmemory_policy", "")) if facts else ""
        if complaint := refusals.eviction(policy):
            log.warning("the store's maxmemory-policy: %s", complaint)
        return str(facts[0].get("durability", "")) if facts else ""

    def _fork(self, entry: str, done: Callable[[app_probe.ProbeAnswer], None], *, what: str = "") -> None:
        asking = app_probe.ProbeProcess(self._loop, effective_settings(self._loaded), entry, done, what=what)
        self._children.expect(asking.pid, lambda status: asking.exited(os.waitstatus_to_exitcode(status)))

    def _listen(self, found: Listeners, *, killed_before: bool) -> tuple[Group, ...]:
        settings = self._loaded.settings
        made = groups(self._declared.workers, settings, self._loaded.origins)
        if self._exec_state is not None:
            found.restore(one for one in self._exec_state.listeners if one.made)
            inherited = listeners.from_predecessor(self._exec_state.listeners)
        else:
            inherited = listeners.from_systemd(os.environ)
        if inherited:
            made = found.inherit(made, inherited, tls=bool(settings.server.tls_cert))
        deadline = time.monotonic() + (OLD_WORKERS if killed_before else 0.0)
        while True:
            try:
                found.open(made)
                return made
            except AddressInUse:
                if time.monotonic() >= deadline:
                    raise
            again = time.monotonic() + 0.05
            self._loop.call_at(again, lambda: None)
            self._wait(lambda again=again: time.monotonic() >= again)  # type: ignore[misc]

    def _wait(self, done: Callable[[], bool]) -> None:
        self._loop.run_until(lambda: self._interrupted or done())
        if self._interrupted:
            raise Interrupted

    def _interrupt(self) -> None:
        self._interrupted = True


def effective_settings(loaded: Loaded) -> Settings:
    """Return the settings with paths that do not depend on the working directory."""
    settings = loaded.settings
    file = str(loaded.log_file or "")
    return msgspec.structs.replace(settings, log=msgspec.structs.replace(settings.log, file=file))


def open_log(loaded: Loaded, account: privileges.UnixAccount | None = None) -> logs.LogHandler:
    """Open the master's own log. Raises ChatmasterError."""
    settings = effective_settings(loaded)
    try:
        handler = logs.configure(settings.log, "master", instance=settings.master.name, secrets=settings.secrets)
        if settings.log.file and account is not None and os.geteuid() == 0:
            # The workers, which are not root, open the file themselves.
            os.fchown(handler.fileno(), -1 if account.uid is None else account.uid, -1)
    except OSError as error:
        raise ChatmasterError(f"the log {settings.log.file} cannot be opened: {error.strerror}") from None
    return handler


def crash_report(left: PreviousMaster, *, booted: float) -> str:
    """Return the log line about a master that did not end in order; `booted` is Unix time."""
    seen = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(left.seen))
    how = "it was killed or crashed" if left.seen > booted else "the machine was restarted since"
    return f"the last master (pid {left.pid}) did not end properly: {how}; it was last seen alive at {seen}"


__all__ = ["Boot", "Interrupted", "ServerResources", "effective_settings", "open_log"]
