"""Waits for every child of the master and calls back when a child ends, stops or continues."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from chatmaster.runtime.event_loop import EventLoop


def _ignore() -> None:
    pass


@dataclass(frozen=True, slots=True)
class _Expected:
    ended: Callable[[int], None]
    stopped: Callable[[], None]
    continued: Callable[[], None]


class ChildWatcher:
    """Dispatches the results of waitpid(2) by pid."""

    def __init__(self, loop: EventLoop) -> None:
        self._expected: dict[int, _Expected] = {}
        loop.on_signal(signal.SIGCHLD, self.look)

    def expect(
        self,
        pid: int,
        ended: Callable[[int], None],
        *,
        stopped: Callable[[], None] = _ignore,
        continued: Callable[[], None] = _ignore,
    ) -> None:
        """Call `ended` with waitpid's status when the child ends, the others when a signal stops or continues it."""
        self._expected[pid] = _Expected(ended, stopped, continued)

    def pids(self) -> list[int]:
        """Return the pids of the children that have not ended."""
        return list(self._expected)

    def look(self) -> None:
        """Wait for all children that have changed state, without blocking."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._expected.get(pid)
            if child is None:
                continue  # a child of the program that executed this one
            if os.WIFSTOPPED(status):
                child.stopped()
            elif os.WIFCONTINUED(status):
                child.continued()
            else:
                del self._expected[pid]
                child.ended(status)
