"""Window: how many connections may move at once, so that the pause of each of them stays short. Pure.

Moving connections wait for turns of two event loops that also deliver messages, on a machine that may have other work.
So the window follows measurements, as TCP's does: it grows while batches arrive in time, and shrinks when they are
late, once for all batches that were moving then, because they were late for one reason.
"""

from __future__ import annotations

from typing import Final

IN_TIME: Final = (
    0.1  # seconds from leaving the rooms to being served again; the interval between two messages adds to it
)
LEAST: Final = 384
MOST: Final = 1024
STEP: Final = 64
FIRST: Final = 512


class Window:
    """Counts connections from their offer until the receiver serves them."""

    def __init__(self) -> None:
        self.size = FIRST
        self._batches: dict[
            int, tuple[int, float]
        ] = {}  # offered batches: how many connections, and when the first left its rooms
        self._shrunk_at = float("-inf")

    @property
    def given(self) -> int:
        """Connections that were offered and are not served by the receiver yet."""
        return sum(count for count, _ in self._batches.values())

    def sent(self, batch: int, count: int, left_at: float) -> None:
        """A batch was offered; its first connection left its rooms at `left_at`."""
        self._batches[batch] = (count, left_at)

    def settled(self, batch: int) -> None:
        """The batch came back, or was refused."""
        self._batches.pop(batch, None)

    def taken(self, batch: int, now: float) -> None:
        """The receiver serves the batch."""
        count, left_at = self._batches.pop(batch, (0, now))
        if not count:
            return
        if now - left_at <= IN_TIME:
            self.size = min(MOST, self.size + STEP)
        elif left_at >= self._shrunk_at:
            self.size = max(LEAST, self.size * 3 // 4)
            self._shrunk_at = now
