"""How many connections may be on their way at once: as many as keep the silence that each of them sees short. Pure.

What is on its way waits for turns of two loops that also deliver messages, on a machine that may have other things to
do. So the window follows what is measured, as TCP's does: it grows while batches come through in time, and shrinks
when they do not, once for all that were on their way then: they were late for one reason.
"""

from __future__ import annotations

from typing import Final

IN_TIME: Final = 0.1  # seconds from leaving the rooms to being served again; the time between two messages comes to it
LEAST: Final = 384
MOST: Final = 1024
STEP: Final = 64
FIRST: Final = 512


class Window:
    """Counts connections from the moment they are told to leave until the other side serves them."""

    def __init__(self) -> None:
        self.size = FIRST
        self._batches: dict[int, tuple[int, float]] = {}  # given away: how many, and when the first left its rooms
        self._shrunk_at = float("-inf")

    @property
    def given(self) -> int:
        """Connections that were given away and are not served there yet."""
        return sum(count for count, _ in self._batches.values())

    def sent(self, batch: int, count: int, left_at: float) -> None:
        """A batch was offered; its first connection left its rooms at `left_at`."""
        self._batches[batch] = (count, left_at)

    def settled(self, batch: int) -> None:
        """It came back, or did not come about."""
        self._batches.pop(batch, None)

    def taken(self, batch: int, now: float) -> None:
        """The other side serves it."""
        count, left_at = self._batches.pop(batch, (0, now))
        if not count:
            return
        if now - left_at <= IN_TIME:
            self.size = min(MOST, self.size + STEP)
        elif left_at >= self._shrunk_at:
            self.size = max(LEAST, self.size * 3 // 4)
            self._shrunk_at = now
