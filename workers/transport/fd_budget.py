"""FdBudget: how many connections this process may still accept, from its limit of file descriptors and a reserve.

Without descriptors nothing can be opened, not even a log file. So accepting stops while some descriptors are
left for the store's connections, log files and handovers. Connections in the accept queue are served later, or by
another worker.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable

SLACK = 16  # descriptors that must be free before accepting resumes, so that it does not flap at the limit


class FdBudget:
    """Counts the connections of all endpoints of a worker against RLIMIT_NOFILE."""

    __slots__ = ("_on_change", "before", "file_limit", "limit", "paused", "paused_at", "pauses", "used")

    def __init__(self, limit: int, *, before: int = 0, file_limit: int = 0) -> None:
        """`limit`: connections; `before`: descriptors that were open already; `file_limit`: RLIMIT_NOFILE."""
        self.limit = limit
        self.before = before
        self.file_limit = file_limit
        self.paused_at = 0  # ns of CLOCK_MONOTONIC; 0: connections are accepted
        self.used = 0
        self.paused = False
        self.pauses = 0
        self._on_change: list[Callable[[bool], None]] = []

    @classmethod
    def of_this_process(cls, reserve: int) -> FdBudget:
        """A budget of the descriptors that are free now, less `reserve`."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        before = len(os.listdir("/proc/self/fd"))
        return cls(max(1, soft - before - reserve), before=before, file_limit=soft)

    def watch(self, on_change: Callable[[bool], None]) -> None:
        """Call `on_change(paused)` whenever accepting has to stop or may resume."""
        self._on_change.append(on_change)

    def take(self) -> None:
        """A connection was accepted."""
        self.used += 1
        if self.used >= self.limit and not self.paused:
            self.pauses += 1
            self._set(True)

    def give_back(self) -> None:
        """A connection is gone."""
        self.used -= 1
        if self.paused and self.used <= max(0, self.limit - SLACK):
            self._set(False)

    def _set(self, paused: bool) -> None:
        self.paused = paused
        self.paused_at = time.monotonic_ns() if paused else 0
        for on_change in self._on_change:
            on_change(paused)
