"""The master's hold on one worker process: its pid, its channel, its row of counters, its rates.

What the policy thinks of it is in `crew.py`; the two meet by the process's number.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from chatmaster import contract
from chatmaster.channel import Channel
from chatmaster.stats import GAUGES, MAX_SLOTS, RETIRED_ROW, ROW, Field, StatsTable, WorkerStats

RATE_WINDOW: Final = 5.0  # seconds over which a rate is taken
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Handle:
    """One worker process."""

    def __init__(self, number: int, slot: int, incarnation: str, row: WorkerStats) -> None:
        self.number = number
        self.slot = slot
        self.incarnation = incarnation
        self.row = row
        self.pid = 0
        self.started = time.time()
        self.channel: Channel | None = None
        self._samples: deque[tuple[float, int, int]] = deque()

    def send(self, message: contract.ToWorker, descriptors: Sequence[int] = ()) -> bool:
        """Tell it something; False: it takes nothing now."""
        return self.channel is not None and self.channel.send(message, descriptors)

    def kill(self, number: signal.Signals) -> None:
        """Send a signal. The pid is ours until we have waited for it."""
        if self.pid:
            os.kill(self.pid, number)

    @property
    def beat(self) -> float:
        """The last sign of life of its loop, on the monotonic clock; 0: none yet."""
        return self.row[Field.HEARTBEAT] / 1e9

    def look(self, now: float) -> None:
        """Note what the rates and the size are taken from."""
        self._samples.append((now, self.row[Field.MESSAGES_IN], self.row[Field.MESSAGES_OUT]))
        while len(self._samples) > 2 and now - self._samples[1][0] >= RATE_WINDOW:
            self._samples.popleft()
        self.row[Field.MEMORY] = self._resident()

    def rates(self) -> tuple[float, float]:
        """Messages in and out, per second."""
        if len(self._samples) < 2:
            return 0.0, 0.0
        (since, first_in, first_out), (until, last_in, last_out) = self._samples[0], self._samples[-1]
        return (last_in - first_in) / (until - since), (last_out - first_out) / (until - since)

    def _resident(self) -> int:
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0


class Rows:
    """The rows of counters: one for each process, handed out and taken back."""

    def __init__(self) -> None:
        self.table = StatsTable()
        self.retired = self.table.row(RETIRED_ROW)
        self._free = deque(range(MAX_SLOTS - 1))

    def take(self) -> WorkerStats:
        """A clean row. Raises IndexError when there are as many processes as rows."""
        row = self.table.row(self._free.popleft())
        row.clear()
        return row

    def give_back(self, row: WorkerStats) -> None:
        """Its process is dead: what it counted goes to the retired, and the row to the next."""
        for field in range(ROW):
            if field not in GAUGES:
                self.retired[field] += row[field]
        row.clear()
        self._free.append(row.slot)
