"""The master's handle of one worker process: its pid, channel, row of counters and rates.

The policy's record of the process is in `processes.py`, under the same number.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from chatmaster import contract
from chatmaster.errors import ChatmasterError
from chatmaster.master.exec_state import WorkerSnapshot
from chatmaster.master.worker_channel import Channel
from chatmaster.runtime import proc
from chatmaster.stats import GAUGES, MAX_SLOTS, RETIRED_ROW, ROW, Field, StatsTable, WorkerStats

RATE_WINDOW: Final = 5.0  # seconds over which a rate is taken


class WorkerHandle:
    """One worker process."""

    def __init__(self, number: int, slot: int, incarnation: str, row: WorkerStats) -> None:
        self.number = number
        self.slot = slot
        self.group = ""  # the program's Worker that it runs, as the policy says
        self.incarnation = incarnation
        self.row = row
        self.pid = 0
        self.started = time.time()
        self.since = time.monotonic()  # the same, on the monotonic clock
        self.channel: Channel | None = None
        self.contract = contract.CONTRACT_VERSION  # the version whose table has `row`
        self._samples: deque[tuple[float, int, int, int]] = deque()

    def send(self, message: contract.ToWorker, descriptors: Sequence[int] = ()) -> bool:
        """Send a message; False: the worker does not take it."""
        return self.channel is not None and self.channel.send(message, descriptors)

    def kill(self, number: signal.Signals) -> None:
        """Send a signal. The pid cannot be reused before the master has waited for the process."""
        if self.pid:
            os.kill(self.pid, number)

    @property
    def foreign(self) -> bool:
        """True if the counters are of another version of the contract."""
        return self.contract != contract.CONTRACT_VERSION

    @property
    def beat(self) -> float:
        """The last heartbeat of its loop, on the monotonic clock; 0: none yet.

        The heartbeat of a foreign worker cannot be read and counts as now; a foreign worker leaves at once anyway.
        """
        if self.foreign:
            return time.monotonic()
        return self.row[Field.HEARTBEAT] / 1e9

    def look(self, now: float) -> None:
        """Sample the counters from which the rates are computed."""
        self.measure()
        row = self.row
        self._samples.append((now, row[Field.MESSAGES_IN], row[Field.MESSAGES_OUT], row[Field.CPU]))
        while len(self._samples) > 2 and now - self._samples[1][0] >= RATE_WINDOW:
            self._samples.popleft()

    def measure(self) -> None:
        """Write memory and CPU time of the process, from /proc, into its row."""
        if not self.foreign:
            self.row[Field.MEMORY] = proc.resident(self.pid)
            self.row[Field.CPU] = int(proc.cpu_seconds(self.pid) * 1e9) or self.row[Field.CPU]

    def rates(self) -> tuple[float, float, float]:
        """Return messages in and out per second, and the number of cores in use (0.5: half of one)."""
        if len(self._samples) < 2:
            return 0.0, 0.0, 0.0
        first, last = self._samples[0], self._samples[-1]
        seconds = last[0] - first[0]
        return (last[1] - first[1]) / seconds, (last[2] - first[2]) / seconds, (last[3] - first[3]) / 1e9 / seconds


class Rows:
    """Allocates the rows of counters, one for each process."""

    def __init__(self, tables: Mapping[int, int] | None = None, used: Collection[int] = ()) -> None:
        """`tables`: memfds that a previous image has left, by their version of the contract.

        `used` are the rows of the current version that belong to running processes.
        """
        self.tables = dict(tables or {})
        self.table = StatsTable(self.tables.get(contract.CONTRACT_VERSION))
        self.tables[contract.CONTRACT_VERSION] = self.table.fd
        self.retired = self.table.row(RETIRED_ROW)
        self._free = deque(number for number in range(MAX_SLOTS - 1) if number not in used)

    def take(self) -> WorkerStats:
        """Allocate a cleared row. Raises ChatmasterError if no row is free."""
        if not self._free:
            raise ChatmasterError(f"there are {MAX_SLOTS - 1} processes, counting those that leave")
        row = self.table.row(self._free.popleft())
        row.clear()
        return row

    def of(self, kept: WorkerSnapshot) -> WorkerStats:
        """Return the row of a worker that a previous image forked; a blank row if its contract is another one."""
        if kept.contract == contract.CONTRACT_VERSION:
            return self.table.row(kept.row)
        return WorkerStats(memoryview(bytearray(ROW * 8)).cast("q"), kept.row, self.table)

    def give_back(self, row: WorkerStats) -> None:
        """Free the row of a process that has ended; its counts are added to the row of the retired."""
        for field in range(ROW):
            if field not in GAUGES:
                self.retired[field] += row[field]
        row.clear()
        self._free.append(row.slot)
