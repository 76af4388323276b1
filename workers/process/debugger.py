"""`breakpoint()` and `pdb.set_trace()` in a worker, in development mode.

A worker has no standard input and is not in the terminal's foreground, so that Ctrl-C is for the master alone. While
the debugger asks for a command, its process takes the terminal, and gives it back when the program goes on. Meanwhile
it holds a lock, for which the file watcher of `chatctl start --dev` waits before it reloads, and the worker is not
reported as blocked. Without a terminal in the foreground a breakpoint is passed over, with a warning.
"""

from __future__ import annotations

import bdb
import fcntl
import io
import logging
import os
import pdb
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from chatmaster.contract import DEBUGGER_LOCK

logger = logging.getLogger(__name__)

TERMINAL: Final = "/dev/tty"
_PASSED_OVER: Final = ("workers.*", "chatmaster.*", "asyncio.*", "uvloop.*")  # modules that `next` does not stop in


class Debugger:
    """The debugger of one worker process."""

    def __init__(self) -> None:
        self.holds_terminal = False
        self._thread = 0  # that the debugger runs in

    def install(self) -> None:
        """Answer `breakpoint()` and `pdb.set_trace()`; another debugger that PYTHONBREAKPOINT names still wins."""
        pdb.set_trace = self._set_trace
        signal.signal(signal.SIGINT, self._interrupted)
        if os.environ.get("PYTHONBREAKPOINT", "") in ("", "pdb.set_trace"):
            sys.breakpointhook = self._set_trace

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-C reaches whoever holds the terminal; it is for the master all the same."""
        if not self.holds_terminal:
            return
        os.kill(os.getppid(), signal.SIGINT)
        if self._thread == threading.get_ident():
            raise bdb.BdbQuit

    def _set_trace(self, *args: Any, header: str | None = None, **options: Any) -> None:
        self._begin(sys._getframe(1), header)

    def _begin(self, frame: FrameType, header: str | None) -> None:
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        try:
            fd = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            logger.warning("the breakpoint at %s is passed over: the server has no terminal", place)
            return
        if os.tcgetpgrp(fd) not in (os.getpgrp(), os.getpgid(os.getppid())):
            os.close(fd)
            logger.warning("the breakpoint at %s is passed over: the server is not in the foreground", place)
            return
        console = _Console(self, fd)
        if header is not None:
            console.message(header)
        console.set_trace(frame)

    @contextmanager
    def terminal(self, fd: int) -> Iterator[None]:
        """Hold the terminal and the lock."""
        lock = _locked(os.environ.get(DEBUGGER_LOCK, ""))
        before = os.tcgetpgrp(fd)
        self.holds_terminal = True
        self._thread = threading.get_ident()
        _bring_to_foreground(fd, os.getpgrp())
        try:
            yield
        finally:
            _bring_to_foreground(fd, before)
            self.holds_terminal = False
            if lock is not None:
                os.close(lock)


class _Console(pdb.Pdb):
    """pdb at the terminal."""

    def __init__(self, debugger: Debugger, fd: int) -> None:
        reader = io.TextIOWrapper(io.FileIO(fd, "r", closefd=False), errors="replace")
        writer = io.TextIOWrapper(io.FileIO(fd, "w", closefd=True), errors="replace", write_through=True)
        super().__init__(stdin=reader, stdout=writer, skip=_PASSED_OVER, nosigint=True)
        self._debugger, self._fd = debugger, fd

    def interaction(self, *args: Any, **options: Any) -> None:
        """Ask for commands until the program is to go on."""
        with self._debugger.terminal(self._fd):
            super().interaction(*args, **options)


def _bring_to_foreground(fd: int, group: int) -> None:
    """A process in the background is stopped (SIGTTOU) where it does this, unless it blocks the signal."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        os.tcsetpgrp(fd, group)
    except OSError:
        pass  # the terminal was closed, or that group has ended
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _locked(path: str) -> int | None:
    """The descriptor of the locked file; None where it cannot be locked: then a reload does not wait."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_SH)
    except OSError:
        return None
    return fd
