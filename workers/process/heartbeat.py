"""The heartbeat: written by the loop that it vouches for, together with the worker's counters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from chatmaster.stats import Field, WorkerStats

INTERVAL = 0.5  # seconds; the master's shortest useful hang_timeout is a few of these


class Heartbeat:
    """Writes a beat every half second (CLOCK_MONOTONIC) and measures how late the beat is (loop lag)."""

    def __init__(self, row: WorkerStats, copy: Callable[[WorkerStats], None]) -> None:
        self._row = row
        self._copy = copy
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._due = self._loop.time()
        self._beat()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._copy(self._row)

    def _beat(self) -> None:
        lag = max(self._loop.time() - self._due, 0.0)
        self._row[Field.HEARTBEAT] = time.monotonic_ns()
        self._row[Field.LOOP_LAG] = int(lag * 1e9)
        self._row.observe(Field.LOOP_LAG_HISTOGRAM, lag)
        self._copy(self._row)
        self._due = self._loop.time() + INTERVAL
        self._handle = self._loop.call_at(self._due, self._beat)
