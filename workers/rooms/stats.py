"""What the rooms count, in plain attributes; the heartbeat copies them into the worker's row."""

from __future__ import annotations

import time
from bisect import bisect_left

from chatmaster.stats import BUCKET_BOUNDS, HISTOGRAM_BUCKETS, Field, WorkerStats


class Histogram:
    """How many observations fell below each of `stats.BUCKET_BOUNDS`, and their sum."""

    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * HISTOGRAM_BUCKETS
        self._sum = 0.0

    def observe(self, seconds: float, count: int = 1) -> None:
        self._counts[bisect_left(BUCKET_BOUNDS, seconds)] += count
        self._sum += seconds * count

    def copy_to(self, row: WorkerStats, field: Field) -> None:
        for at, count in enumerate(self._counts):
            row[field + at] = count
        row[field + HISTOGRAM_BUCKETS] = int(self._sum * 1e9)


class RoomStats:
    """Counters of the rooms of one worker."""

    __slots__ = ("bytes_out", "catch_ups", "cut", "deliveries", "delivery_lag", "dropped", "gaps", "lagging",
                 "publish_latency", "published", "resets")  # fmt: skip

    def __init__(self) -> None:
        self.published = 0
        self.deliveries = 0
        self.bytes_out = 0  # of batches; the transport counts what else it sends
        self.dropped = 0
        self.gaps = 0
        self.resets = 0
        self.cut = 0
        self.catch_ups = 0
        self.lagging = 0
        self.delivery_lag = Histogram()
        self.publish_latency = Histogram()

    def delivered(self, items: int, members: int, size: int, oldest: int) -> None:
        """A batch of `size` bytes went to so many members; its oldest entry is of that time (ms; 0: none)."""
        self.deliveries += items * members
        self.bytes_out += size * members
        if oldest:  # by the store's clock, which on another machine may be ahead
            self.delivery_lag.observe(max(time.time() - oldest / 1000, 0.0))

    def copy_to(self, row: WorkerStats) -> None:
        """Write them into the worker's row; BYTES_OUT belongs to the transport."""
        row[Field.MESSAGES_OUT] = self.published
        row[Field.DELIVERIES] = self.deliveries
        row[Field.DROPPED] = self.dropped
        row[Field.GAPS] = self.gaps
        row[Field.RESETS] = self.resets
        row[Field.CUT] = self.cut
        row[Field.CATCH_UPS] = self.catch_ups
        row[Field.LAGGING] = self.lagging
        self.delivery_lag.copy_to(row, Field.DELIVERY_LAG)
        self.publish_latency.copy_to(row, Field.PUBLISH_LATENCY)
