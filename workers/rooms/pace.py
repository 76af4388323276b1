"""Owns how much is written in a turn of the loop, and how long a batch may wait for more: by what the last turns took.

Pure: times are handed in, in seconds of a monotonic clock.
"""

from __future__ import annotations

TURN = 0.005  # seconds that writing may take of one turn
FIRST_GUESS = 2.4e-6  # seconds a write, on a quiet machine; a virtual one may take 10 µs
LEAST, MOST = 256, 4096  # writes a turn
WEIGHT = 0.25  # of the newest turn in the average


class Pace:
    """Adapts to what a write costs here and now; with `max_batch_delay` 0 no batch ever waits."""

    __slots__ = ("_delay", "_ended", "_per_write", "_took")

    def __init__(self, max_batch_delay: float) -> None:
        self._delay = max_batch_delay
        self._per_write = FIRST_GUESS
        self._took = 0.0
        self._ended = 0.0

    @property
    def writes(self) -> int:
        """Members that one turn may write to."""
        return min(max(int(TURN / self._per_write), LEAST), MOST)

    @property
    def may_wait(self) -> bool:
        """Whether `wait` can ever be above 0."""
        return self._delay > 0

    def turned(self, writes: int, took: float) -> None:
        """A turn with so many writes was over after `took` seconds; few writes say nothing about their price."""
        if writes >= LEAST:
            self._per_write += WEIGHT * (took / writes - self._per_write)

    def flushed(self, took: float, now: float) -> None:
        """Everything that waited was written, in `took` seconds."""
        self._took, self._ended = took, now

    def wait(self, now: float) -> float:
        """Seconds that what has come just now is to wait for more.

        As long as the last batch took to be written, so that batches grow with the load: a message that comes after a
        quiet moment leaves at once, and under load half of the time is left for what comes in.
        """
        return max(0.0, self._ended + min(self._delay, self._took) - now)
