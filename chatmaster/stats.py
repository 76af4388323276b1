"""The counters: a row of 64-bit integers for each process, in memory that master and workers share.

A worker writes only its own row; the master and all workers read every row. There is no lock: writing a field is one
aligned 8-byte store. The memory is a memfd, so it also survives an exec of the master in place.

Hot code counts in plain attributes and copies them here a few times a second; see `workers/main.py`.
"""

from __future__ import annotations

import mmap
import os
from enum import IntEnum
from typing import Final

MAX_SLOTS: Final = 1024
MOST_WORKERS: Final = MAX_SLOTS // 2 - 1  # a reload has two processes for a slot, each with a row of counters
HISTOGRAM_BUCKETS: Final = 16  # upper bounds in stats.BUCKET_BOUNDS, the last one is open

# Upper bounds in seconds of the histograms' buckets; what is larger counts in the last one.
BUCKET_BOUNDS: Final = (
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192,
)  # fmt: skip


class Field(IntEnum):
    """One counter or gauge of a worker. Times are nanoseconds of CLOCK_MONOTONIC unless said."""

    PID = 0
    GENERATION = 1
    STARTED = 2  # Unix time, ns
    HEARTBEAT = 3  # written by the worker's loop
    READY = 4  # 1 once it accepts and its bus has answered
    CONNECTIONS = 5
    CONNECTIONS_TOTAL = 6
    ROOMS = 7
    MESSAGES_IN = 8
    MESSAGES_OUT = 9  # messages published by this worker's clients and acknowledged by the store
    DELIVERIES = 10  # messages written to members
    BYTES_IN = 11
    BYTES_OUT = 12
    DROPPED = 13  # messages not delivered and reported so: gaps, disconnected readers; without typing notes
    LOOP_LAG = 14  # of the last heartbeat
    STORE_PROBE = 15  # when the last full round trip came back, ns of CLOCK_MONOTONIC
    STORE_PROBE_RTT = 16
    STORE_STATE = 17  # 0 starting, 1 ready, 2 away
    GAPS = 18
    RESETS = 19
    LAGGING = 20  # members that read on from the log now
    CUT = 21  # readers closed with 4008
    RATE_LIMITED = 22
    PROTOCOL_ERRORS = 23
    CALLBACK_ERRORS = 24
    CATCH_UPS = 25
    HANDSHAKE_FAILURES = 26
    HANDED_OVER = 27
    HAND_OVER_FAILED = 28
    DEAF = 29  # times the bus was found deaf and connected again
    LOGS_DROPPED = 30
    PUBLISH_FAILURES = 31
    ACCEPT_PAUSES = 32  # accepting paused at the reserve of descriptors
    HAND_OVERS_ABORTED = 33  # batches of connections that were asked back
    # The next four are written by the master.
    SLOT = 34
    RESTARTS = 35  # unplanned ones of the slot
    STATE = 36  # the place of the worker's state in STATES
    MEMORY = 37  # resident bytes
    TASKS = 38  # asyncio tasks of the worker's loop
    REPLACED_DEAF = 39  # 1 if the worker ends because it receives nothing from a store that answers others
    DELIVERY_LAG = 40  # histogram: publish time to last write; HISTOGRAM_BUCKETS fields, then the sum in ns
    # Written by the master into the retired row only: about workers that could no longer count.
    HUNG = 57  # killed because their loop was silent
    SILENT = 58  # killed because they did not answer a sibling in a handover
    PUBLISH_LATENCY = 60  # histogram
    BLOCKED = 78  # times the worker's loop was blocked for 0.3 s or longer (0.1 s in development mode)
    LOOP_LAG_HISTOGRAM = 80  # histogram
    ACCEPT_PAUSED = 100  # time since no connection is accepted for lack of descriptors; 0: accepting
    USERS = 101  # distinct users bound to a connection of this worker
    CPU = 102  # nanoseconds of user and system time; written by the master
    DESCRIPTORS = 103  # in use, by connections and files opened before them
    DESCRIPTORS_LIMIT = 104  # RLIMIT_NOFILE
    STORE_TROUBLE = 105  # time since the worker has trouble with the store; 0: none
    REFUSED = 110  # handshakes, one field for each place in REFUSALS
    # Written by the master into the retired row only.
    ALL_RESTARTS = 125  # unplanned ones of all slots, also of removed slots
    MASTER_MEMORY = 126
    MASTER_CPU = 127  # ns
    MASTER_DESCRIPTORS = 128
    STORE_MEMORY = 129  # of the embedded store
    STORE_CPU = 130  # ns
    STORE_RESTARTS = 131
    DISK_FREE = 132  # bytes, where the state directory is
    STORE_MAX_MEMORY = 133  # bytes that the embedded store may take
    STORE_WHY = 140  # text of STORE_WHY_BYTES bytes: why the worker has trouble with the store


STORE_WHY_BYTES: Final = 400
ROW: Final = 190  # fields of a row

# The values of Field.STORE_STATE: whether the store answers what the worker writes.
STORE_STATES: Final = ("starting", "ready", "away", "refusing")

# Reasons of refused handshakes by HTTP status; 0 stands for every other status.
REFUSALS: Final = {
    400: "bad_request", 403: "origin", 404: "path", 405: "method", 408: "timeout", 421: "host", 426: "no_upgrade",
    429: "too_many", 431: "header_too_large", 503: "unavailable", 0: "other",
}  # fmt: skip

STATES: Final = ("starting", "ready", "draining", "stopped", "hung")

# The counts of ended processes: the total over all rows including this one never decreases.
RETIRED_ROW: Final = MAX_SLOTS - 1
GAUGES: Final[frozenset[int]] = frozenset(
    {
        Field.PID, Field.GENERATION, Field.STARTED, Field.HEARTBEAT, Field.READY, Field.CONNECTIONS, Field.ROOMS,
        Field.LOOP_LAG, Field.STORE_PROBE, Field.STORE_PROBE_RTT, Field.STORE_STATE, Field.STORE_TROUBLE, Field.LAGGING,
        Field.SLOT, Field.RESTARTS, Field.STATE, Field.MEMORY, Field.TASKS, Field.ACCEPT_PAUSED, Field.USERS,
        Field.DESCRIPTORS, Field.DESCRIPTORS_LIMIT, *range(Field.STORE_WHY, Field.STORE_WHY + STORE_WHY_BYTES // 8),
    }
)  # fmt: skip


class WorkerStats:
    """One worker's row: `stats[Field.X]` reads, `stats[Field.X] = n` writes."""

    __slots__ = ("_row", "slot", "table")

    def __init__(self, row: memoryview, slot: int, table: StatsTable) -> None:
        self._row = row
        self.slot = slot
        self.table = table  # gives access to all rows

    def __getitem__(self, field: int) -> int:
        return self._row[field]

    def __setitem__(self, field: int, value: int) -> None:
        self._row[field] = value

    def clear(self) -> None:
        """Set the row to zero for a new process."""
        for field in range(ROW):
            self._row[field] = 0

    def write_text(self, field: Field, size: int, text: str) -> None:
        """Write a text, cut to `size` bytes, from `field` on. A reader may see a partly written text."""
        raw = text.encode(errors="replace")[:size].ljust(size, b"\0")
        self._row[field : field + size // 8] = memoryview(raw).cast("q")

    def text(self, field: Field, size: int) -> str:
        """The text that `write_text` wrote."""
        return bytes(self._row[field : field + size // 8]).rstrip(b"\0").decode(errors="ignore")

    def observe(self, histogram: Field, seconds: float) -> None:
        """Count one observation in a histogram."""
        bucket = 0
        for bound in BUCKET_BOUNDS:
            if seconds <= bound:
                break
            bucket += 1
        self._row[histogram + bucket] += 1
        self._row[histogram + HISTOGRAM_BUCKETS] += int(seconds * 1e9)


class StatsTable:
    """All rows; the master creates the table before it forks, and every worker inherits it."""

    def __init__(self, fd: int | None = None) -> None:
        size = MAX_SLOTS * ROW * 8
        if fd is None:
            fd = os.memfd_create("chatmaster-stats", os.MFD_CLOEXEC)
            os.ftruncate(fd, size)
        self.fd = fd
        self._map = mmap.mmap(fd, size)
        self._cells = memoryview(self._map).cast("q")

    def row(self, slot: int) -> WorkerStats:
        """The row of a slot. Raises IndexError outside 0 … MAX_SLOTS-1."""
        if not 0 <= slot < MAX_SLOTS:
            raise IndexError(f"no slot {slot}: slots are 0 to {MAX_SLOTS - 1}")
        return WorkerStats(self._cells[slot * ROW : (slot + 1) * ROW], slot, self)

    def rows(self) -> list[WorkerStats]:
        """The rows that belong to a process at present."""
        return [self.row(slot) for slot in range(MAX_SLOTS) if self._cells[slot * ROW + Field.PID]]
