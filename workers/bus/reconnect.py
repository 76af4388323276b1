"""Keeps a connection to the store open: open, serve, and after a loss back off and open again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from workers.bus.connection import StoreConnection
from workers.bus.outage_log import Outage
from workers.bus.port import Unavailable
from workers.bus.store_url import Opener

# A store that restarts is back within a second, so waiting longer than that only makes people wait.
FIRST_DELAY, LAST_DELAY = 0.05, 1.0
# A link that lived this long was a good one: the next is tried at once, and the back-off starts again.
GOOD_AFTER = 2.0


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends: a timeout in redis-py that expires at that moment swallows a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


class Reconnector:
    """Keeps one link open. `up(link)` and `down()` alternate, on the loop."""

    def __init__(
        self,
        what: str,
        opener: Opener,
        outage: Outage,
        *,
        up: Callable[[StoreConnection], None],
        down: Callable[[], None],
    ) -> None:
        self._what = what
        self._opener = opener
        self._outage = outage
        self._up = up
        self._down = down
        self.link: StoreConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._delay = 0.0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._live(), name=f"store: {self._what}")

    async def stop(self) -> None:
        """Close for good; `down` is called if a link was up."""
        if self._task is not None:
            await end(self._task)
        if self.link is not None:
            self.link.abort()
            await self.link.closed

    def reconnect(self) -> None:
        """Drop the link, if there is one; another is opened."""
        if self.link is not None:
            self.link.abort()

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                link = await self._opener.open()
            except Unavailable as error:
                self._outage.failed(self._what, error)
            else:
                opened = loop.time()
                self._serve(link)
                self._outage.over(self._what)
                await asyncio.shield(link.closed)
                self._outage.lost(self._what)
                if loop.time() - opened > GOOD_AFTER:
                    self._delay = 0.0
            await asyncio.sleep(self._delay * random.uniform(0.5, 1.0))
            self._delay = min(max(self._delay * 2, FIRST_DELAY), LAST_DELAY)

    def _serve(self, link: StoreConnection) -> None:
        self.link = link
        link.lost = self._lost
        self._up(link)

    def _lost(self) -> None:
        self.link = None
        self._down()
