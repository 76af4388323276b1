"""Supervises the embedded store: starts it before the workers, restarts it, and stops it last.

A store that ends is restarted at once, after repeated quick deaths with the back-off of a worker. A store that does not
answer for a long time is killed. If the store ends before its first answer, the start of the server fails.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from chatmaster.contract import ExitCode
from chatmaster.runtime.child_watcher import ChildWatcher
from chatmaster.runtime.event_loop import READ, EventLoop, LoopTimer
from chatmaster.runtime.exit_status import QUICK_DEATH, backoff
from chatmaster.store.embedded import EmbeddedStore

log = logging.getLogger(__name__)

START_POLL: Final = 0.02  # seconds between two questions to a store that starts
PROBE_INTERVAL: Final = 1.0  # seconds between two questions to a store that runs
SPACE: Final = 256 * 1024  # bytes; with less free space the disk is full, and an ended store is not restarted
SPACE_EVERY: Final = 0.25  # seconds between two checks for free space
STOP_GRACE: Final = 5.0  # seconds to close its files; acknowledged messages are on the disk already


class StoreSnapshot(msgspec.Struct, frozen=True):
    """The state of the embedded store for the next image of the master."""

    pid: int | None
    state: str
    answered_at: float | None  # monotonic
    quick_deaths: int
    restarts: int
    stopped: bool
    reason: str = ""  # why it is not ready
    since: float = 0.0  # monotonic; when it became ready, or ceased to be


class StoreSupervisor:
    """Starts, watches, restarts and stops one embedded store."""

    def __init__(self, reactor: EventLoop, reaper: ChildWatcher, store: EmbeddedStore, *, patience: float) -> None:
        """`patience`: seconds without an answer after which the store is killed; `set_patience` changes it."""
        self.store = store
        self.state = "starting"  # starting, ready, away
        self.restarts = 0
        self.reason = ""  # why the store is not ready; "": it is ready, or was just started
        self.since = time.monotonic()  # when the store became ready, or stopped being ready
        self._reactor = reactor
        self._reaper = reaper
        self._ready: Callable[[], None] | None = None
        self._failed: Callable[[ExitCode, str], None] | None = None
        self._gone: Callable[[], None] | None = None
        self._answered_at: float | None = None
        self._quick_deaths = 0
        self._stopped = False  # by SIGSTOP
        self._timer: LoopTimer | None = None
        self._watch = StoreWatch(reactor, store.socket_path, patience=patience, hung=self._hangs)

    def set_patience(self, seconds: float) -> None:
        """Change the patience after a reload, in seconds."""
        self._watch.patience = seconds

    def start(self, *, patience: float, ready: Callable[[], None], failed: Callable[[ExitCode, str], None]) -> None:
        """Start the store, and call `ready` or `failed` within `patience` seconds."""
        self._ready, self._failed = ready, failed
        self._reactor.call_later(patience, self._out_of_patience)
        self._spawn()

    def snapshot(self) -> StoreSnapshot:
        """The state for the next image of the master."""
        return StoreSnapshot(
            self.store.pid, self.state, self._answered_at, self._quick_deaths, self.restarts, self._stopped,
            self.reason, self.since,
        )  # fmt: skip

    def restore(self, kept: StoreSnapshot) -> None:
        """Continue with the store of the previous image."""
        self.state, self.restarts = kept.state, kept.restarts
        self.reason, self.since = kept.reason, kept.since or self.since
        self._answered_at, self._quick_deaths, self._stopped = kept.answered_at, kept.quick_deaths, kept.stopped
        if kept.pid is None:
            self._timer = self._reactor.call_later(backoff(kept.quick_deaths), self._spawn)
            return
        self.store.pid = kept.pid
        self._reaper.expect(kept.pid, self._ended, stopped=self._was_stopped, continued=self._was_continued)
        if kept.answered_at is None:
            self._ask()
        elif not kept.stopped:
            self._watch.start()

    def stop(self, gone: Callable[[], None]) -> None:
        """Stop the store, and call `gone` when it has ended."""
        self._gone, self._ready, self._failed = gone, None, None
        self._cancel()
        self._watch.stop()
        if self.store.pid is None:
            gone()
            return
        self.store.terminate()
        # A store that SIGSTOP has stopped does not receive SIGTERM.
        self._timer = self._reactor.call_later(0.0 if self._stopped else STOP_GRACE, self.store.kill)

    def _spawn(self) -> None:
        self.state, self._answered_at, self._stopped = "starting", None, False
        try:
            pid = self.store.spawn()
        except OSError as error:
            log.error("the store could not be started: %s", error)
            self._lose(f"the store could not be started: {error.strerror or error}")
            self._again()
            return
        self._reaper.expect(pid, self._ended, stopped=self._was_stopped, continued=self._was_continued)
        self._ask()

    def _ask(self) -> None:
        if not self.store.answers():
            self._timer = self._reactor.call_later(START_POLL, self._ask)
            return
        self.state, self._answered_at = "ready", time.monotonic()
        self.reason, self.since = "", self._answered_at
        log.info("the store is ready (pid %s, %s)", self.store.pid, self.store.program)
        self._watch.start()
        if self._ready is not None:
            ready, self._ready, self._failed = self._ready, None, None
            ready()

    def _hangs(self, seconds: float) -> None:
        log.error("the store hangs: no answer for %g s; it is killed, acknowledged messages are kept", seconds)
        self._lose(f"it hung: no answer for {seconds:g} s; it was killed")
        self.store.kill()

    def _ended(self, status: int) -> None:
        self._cancel()
        self._watch.stop()
        what = self.store.exited(status)
        self._lose(self.reason if self.reason.startswith("it hung") else what)
        if self._gone is not None:
            self._gone()
            return
        if self._failed is not None:
            log.error("%s", what)
            self._failed(ExitCode.STORE_UNREACHABLE, what)
            return
        if self._is_full():
            self.restarts += 1
            self._lose(f"the disk of {self.store.directory} is full; the last message of the store: {what}")
            log.error("%s; the store is restarted once there is space", self.reason)
            self._wait_for_space()
            return
        log.error("%s; the store is restarted", what)
        self._again()

    def _is_full(self) -> bool:
        """True if the disk is full: the store would start, accept connections, and end at the first write."""
        try:
            found = os.statvfs(self.store.directory)
        except OSError:
            return False
        return found.f_bavail * found.f_frsize < SPACE

    def _wait_for_space(self) -> None:
        if self._is_full():
            self._timer = self._reactor.call_later(SPACE_EVERY, self._wait_for_space)
        else:
            self._quick_deaths = 0
            self._spawn()

    def _again(self) -> None:
        self.restarts += 1
        lived = self._answered_at is not None and time.monotonic() - self._answered_at >= QUICK_DEATH
        self._quick_deaths = 0 if lived else self._quick_deaths + 1
        self._timer = self._reactor.call_later(backoff(self._quick_deaths), self._spawn)

    def _was_stopped(self) -> None:
        log.warning("the store was stopped by a signal and waits for SIGCONT")
        self._lose("it was stopped by a signal and waits for SIGCONT")
        self._stopped = True
        self._watch.stop()

    def _was_continued(self) -> None:
        log.info("the store was continued")
        self._stopped = False
        self.state = "starting"
        if self._answered_at is not None:
            self.state, self.reason, self.since = "ready", "", time.monotonic()
            self._watch.start()

    def _lose(self, reason: str) -> None:
        """Record why the store does not serve; `since` keeps the time of the first reason."""
        if self.state == "ready":
            self.since = time.monotonic()
        self.state, self.reason = "away", reason

    def _out_of_patience(self) -> None:
        if self._failed is not None:
            self._failed(ExitCode.STORE_UNREACHABLE, f"the store does not answer; see {self.store.log_path}")

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class StoreWatch:
    """Probes a running store over one connection without blocking; calls `hung` after `patience` seconds of silence.

    A store may be busy for seconds (a slow disk, a long script), so only a long silence counts.
    """

    def __init__(self, reactor: EventLoop, path: Path, *, patience: float, hung: Callable[[float], None]) -> None:
        self.patience = patience
        self._reactor = reactor
        self._path = path
        self._hung = hung
        self._sock: socket.socket | None = None
        self._asked: float | None = None  # time of the question without an answer; None: no question is open
        self._timer: LoopTimer | None = None

    def start(self) -> None:
        """Begin to probe a store that answers."""
        self.stop()
        self._timer = self._reactor.call_later(PROBE_INTERVAL, self._look)

    def stop(self) -> None:
        """Stop probing: the store ends, or a signal has stopped it."""
        self._hang_up()
        self._asked = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._listen()  # the master may have been stopped while the answer arrived
        now = time.monotonic()
        if self._asked is not None and now - self._asked >= self.patience:
            self.stop()
            self._hung(self.patience)
            return
        if self._asked is None:
            self._asked = now
            self._ask()
        elif self._sock is None:
            self._ask()
        self._timer = self._reactor.call_later(PROBE_INTERVAL, self._look)

    def _ask(self) -> None:
        try:
            if self._sock is None:
                self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._sock.setblocking(False)
                self._sock.connect(str(self._path))
                self._reactor.watch(self._sock.fileno(), READ, self._listen)
            self._sock.send(b"PING\r\n")
        except OSError:
            self._hang_up()  # a full accept queue is no answer either

    def _listen(self) -> None:
        if self._sock is None:
            return
        try:
            said = self._sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self._asked = None  # any answer counts, also BUSY
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._sock is not None:
            if self._sock.fileno() >= 0:
                self._reactor.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None
