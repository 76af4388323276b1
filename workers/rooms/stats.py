"""The counters of the rooms, as plain attributes; the heartbeat copies them into the worker's row."""

from __future__ import annotations

from chatmaster.stats import HISTOGRAM_BUCKETS, Field, WorkerStats


class Histogram:
    """The number of observations in each bucket of `stats.BUCKET_BOUNDS`, and their sum in seconds.

    There is one observation for each message and each batch: the caller counts in place (`bisect_left` gives the
    bucket).
    """

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * HISTOGRAM_BUCKETS
        self.sum = 0.0

    def copy_to(self, row: WorkerStats, field: Field) -> None:
        for at, count in enumerate(self.counts):
            row[field + at] = count
        row[field + HISTOGRAM_BUCKETS] = int(self.sum * 1e9)


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
