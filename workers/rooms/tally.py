"""What the rooms count, in plain attributes; the heartbeat copies them into the worker's row."""

from __future__ import annotations

from chatmaster.stats import Field, WorkerStats


class Tally:
    """Counters of the rooms of one worker."""

    __slots__ = ("bytes_out", "cut", "deliveries", "dropped", "gaps", "published", "resets")

    def __init__(self) -> None:
        self.published = 0
        self.deliveries = 0
        self.bytes_out = 0
        self.dropped = 0
        self.gaps = 0
        self.resets = 0
        self.cut = 0

    def copy_to(self, row: WorkerStats) -> None:
        """Write them into the worker's row; BYTES_OUT belongs to the transport."""
        row[Field.MESSAGES_OUT] = self.published
        row[Field.DELIVERIES] = self.deliveries
        row[Field.DROPPED] = self.dropped
        row[Field.GAPS] = self.gaps
        row[Field.RESETS] = self.resets
        row[Field.CUT] = self.cut
