"""The master's hold on one worker process: its pid, its channel, its row of counters, its rates.

What the policy thinks of it is in `processes.py`; the two meet by the process's number.
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
        self.group = ""  # the program's Worker that it serves, once the master has asked the policy
        self.incarnation = incarnation
        self.row = row
        self.pid = 0
        self.started = time.time()
        self.since = time.monotonic()  # the same, by the clock that nobody sets
        self.channel: Channel | None = None
        self.contract = contract.CONTRACT_VERSION  # whose table `row` is in
        self._samples: deque[tuple[float, int, int, int]] = deque()

    def send(self, message: contract.ToWorker, descriptors: Sequence[int] = ()) -> bool:
        """Tell it something; False: it takes nothing now."""
        return self.channel is not None and self.channel.send(message, descriptors)

    def kill(self, number: signal.Signals) -> None:
        """Send a signal. The pid is ours until we have waited for it."""
        if self.pid:
            os.kill(self.pid, number)

    @property
    def foreign(self) -> bool:
        """Whether its counters are of another version than ours."""
        return self.contract != contract.CONTRACT_VERSION

    @property
    def beat(self) -> float:
        """The last sign of life of its loop, on the monotonic clock; 0: none yet.

        That of a worker whose counters we do not understand cannot be read; it leaves at once anyway.
        """
        if self.foreign:
            return time.monotonic()
        return self.row[Field.HEARTBEAT] / 1e9

    def look(self, now: float) -> None:
        """Note what the rates and the size are taken from."""
        self.measure()
        row = self.row
        self._samples.append((now, row[Field.MESSAGES_IN], row[Field.MESSAGES_OUT], row[Field.CPU]))
        while len(self._samples) > 2 and now - self._samples[1][0] >= RATE_WINDOW:
            self._samples.popleft()

    def measure(self) -> None:
        """Write down what the kernel says of it now."""
        if not self.foreign:
            self.row[Field.MEMORY] = proc.resident(self.pid)
            self.row[Field.CPU] = int(proc.cpu_seconds(self.pid) * 1e9) or self.row[Field.CPU]

    def rates(self) -> tuple[float, float, float]:
        """Messages in and out, per second; and how many cores it uses, 0.5 for half of one."""
        if len(self._samples) < 2:
            return 0.0, 0.0, 0.0
        first, last = self._samples[0], self._samples[-1]
        seconds = last[0] - first[0]
        return (last[1] - first[1]) / seconds, (last[2] - first[2]) / seconds, (last[3] - first[3]) / 1e9 / seconds


class Rows:
    """The rows of counters: one for each process, handed out and taken back."""

    def __init__(self, tables: Mapping[int, int] | None = None, used: Collection[int] = ()) -> None:
        """`tables`: what an earlier image of this program has left, memfds by the contract that they are of.

        `used` are the rows of ours that belong to processes now.
        """
        self.tables = dict(tables or {})
        self.table = StatsTable(self.tables.get(contract.CONTRACT_VERSION))
        self.tables[contract.CONTRACT_VERSION] = self.table.fd
        self.retired = self.table.row(RETIRED_ROW)
        self._free = deque(number for number in range(MAX_SLOTS - 1) if number not in used)

    def take(self) -> WorkerStats:
        """A clean row. Raises ChatmasterError when there are as many processes as rows."""
        if not self._free:
            raise ChatmasterError(f"there are {MAX_SLOTS - 1} processes, counting those that leave")
        row = self.table.row(self._free.popleft())
        row.clear()
        return row

    def of(self, kept: WorkerSnapshot) -> WorkerStats:
        """The row of a worker that an earlier image has forked; a blank one, where that was of another contract."""
        if kept.contract == contract.CONTRACT_VERSION:
            return self.table.row(kept.row)
        return WorkerStats(memoryview(bytearray(ROW * 8)).cast("q"), kept.row, self.table)

    def give_back(self, row: WorkerStats) -> None:
        """Its process is dead: what it counted goes to the retired, and the row to the next."""
        for field in range(ROW):
            if field not in GAUGES:
                self.retired[field] += row[field]
        row.clear()
        self._free.append(row.slot)
