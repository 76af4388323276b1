"""BatchPause: after a batch of many commands the next one, and those who send commands, wait a moment for more.

What a batch costs the store, the workers and the readers is then paid for more commands. A client whose request would
only wait for the batch gains nothing by being read at once: so the sources of commands are held for as long, and what
has come is taken together at the end, which costs fewer turns of the loop and fewer reads. Neither a command that comes
alone nor what follows a small batch waits.

Sources are held only after batches that make it worth while, and under a load that lasts: once several pauses have
followed each other closely and ended in time. Where a pause ends late, the worker has more to do than it can: then the
loop's turns are long by themselves. In a room of 1,000, where batches are small and writing is all, it costs more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

MANY: Final = 4  # commands in a batch: more are likely to come while the next one waits
PLENTY: Final = 10  # commands in a batch: so many reads are worth saving
LATE: Final = 0.5  # of a pause: one that ends later by so much means that the worker is too busy
ROW: Final = 3  # pauses that have ended in time before one holds the sources
CLOSE: Final = 10  # pauses: where as much time passes from one's beginning to the next, the load has not lasted


class CommandSource(Protocol):
    """What commands come from, as the pause sees it. Each method may be called at any time."""

    def hold(self) -> None:
        """Bring nothing but by `take`, until `release`."""

    def take(self) -> None:
        """Bring what has come while this was held."""

    def release(self) -> None:
        """Bring what comes at once again."""


class BatchPause:
    """The pause of one pipeline; `over` is called at the end of each. Made inside the running loop.

    With 0 `seconds` there are no pauses.
    """

    __slots__ = ("_began", "_holds", "_in_time", "_loop", "_over", "_seconds", "active", "sources")

    def __init__(self, seconds: float, over: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._over = over
        self.sources: list[CommandSource] = []  # that are held meanwhile
        self.active = False
        self._began = 0.0
        self._holds = False  # the sources, in the pause that is active
        self._in_time = 0  # of the last pauses, those in a row that ended in time

    def sent(self, commands: int) -> None:
        """A batch of so many commands is about to be sent: after many a pause begins, if there is none."""
        if commands < MANY or self.active or not self._seconds:
            return
        self.active = True
        now = monotonic()
        if now - self._began > self._seconds * CLOSE:
            self._in_time = 0
        self._began = now
        self._holds = commands >= PLENTY and self._in_time >= ROW
        if self._holds:
            for source in self.sources:
                source.hold()
        self._loop.call_later(self._seconds, self._end)

    def _end(self) -> None:
        self.active = self._holds = False
        late = monotonic() - self._began > self._seconds * (1 + LATE)
        self._in_time = 0 if late else self._in_time + 1
        try:
            for source in self.sources:
                source.take()
        finally:
            try:
                self._over()
            finally:
                if not self._holds:  # else the next batch was one of plenty, and they stay held
                    for source in self.sources:
                        source.release()
