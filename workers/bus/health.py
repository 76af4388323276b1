"""Owns the question whether this worker would hear a message: published on one connection, received on the other.

`PING` would also succeed on a store that was deposed, and on a subscription that nobody serves any more.

* every `INTERVAL` a stamp is published by a script that also writes, and refuses on a replica; what the store answers
  to it says whether it takes what clients say;
* when none has come back for `DEAF_AFTER`, every connection is opened again;
* when none has come back although for `HOPELESS_AFTER` the store has answered connections made just then, something
  is wrong with this process, and `deaf` is told, so that it can be replaced. How long the store was away does not
  count: all workers would end in the moment in which it is back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from workers.bus.reconnect import end

logger = logging.getLogger(__name__)

INTERVAL = 2.0
# Three stamps in a row: one may be late behind a large history read or a slow disk.
DEAF_AFTER = 6.0
# Two more rounds of reconnecting, each with time for a store that restarts.
HOPELESS_AFTER = 20.0
LOOK = 0.5


class HealthProbe:
    """Sends stamps and watches their return. `age` is the time since one came back, `rtt` what the last one took."""

    def __init__(
        self,
        *,
        publish: Callable[[bytes], None],
        reconnect: Callable[[], None],
        store_answers: Callable[[], Awaitable[bool]],
        deaf: Callable[[], None],
    ) -> None:
        self._publish = publish
        self._reconnect = reconnect
        self._store_answers = store_answers
        self._deaf = deaf
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self.back_at = 0.0  # time.monotonic() of the last return; 0: none yet
        self.rtt = 0.0
        self.reconnects = 0
        self._waiting_since = time.monotonic()  # for the present limit
        self._ignored_since = 0.0  # since when the store has answered others, but not this; 0: it has not
        self.refusal = ""  # what the store said to the last stamp; "": it took it

    @property
    def age(self) -> float:
        """Seconds since a stamp came back; infinite before the first."""
        return time.monotonic() - self.back_at if self.back_at else float("inf")

    def start(self) -> None:
        self._task = self._loop.create_task(self._watch(), name="store: probe")

    async def stop(self) -> None:
        if self._task is not None:
            await end(self._task)

    def send(self) -> None:
        """Publish a stamp now; also called when the connections have just come up."""
        self._publish(b"%d" % time.monotonic_ns())

    def taken(self) -> None:
        """The store has written what comes with a stamp."""
        self.refusal = ""

    def refused(self, words: str) -> None:
        """The store refuses writes: it is reachable, so reconnecting would not help."""
        self.refusal = words
        self._waiting_since = time.monotonic()
        self._ignored_since = 0.0

    def returned(self, stamp: bytes) -> None:
        """A stamp came back, perhaps a late one."""
        now = time.monotonic()
        self.rtt = now - int(stamp) / 1e9
        self.back_at = self._waiting_since = now
        self._ignored_since = 0.0

    async def _watch(self) -> None:
        began = last_sent = last_asked = time.monotonic()
        self.send()
        while True:
            await asyncio.sleep(LOOK)
            now = time.monotonic()
            if now - last_sent >= INTERVAL:
                last_sent = now
                self.send()
            if now - self._waiting_since > DEAF_AFTER:
                self._waiting_since = now
                self.reconnects += 1
                logger.warning("no probe has come back from the store for %.0f s: reconnecting", DEAF_AFTER)
                self._reconnect()
            if not self.refusal and now - (self.back_at or began) > DEAF_AFTER and now - last_asked >= INTERVAL:
                last_asked = now
                await self._ask_beside()

    async def _ask_beside(self) -> None:
        """Find out whether it is the store that is silent, or this process that is deaf."""
        back_at = self.back_at
        answers = await self._store_answers()
        if not answers or self.back_at != back_at:  # a stamp may have come back meanwhile
            self._ignored_since = 0.0
            return
        now = time.monotonic()
        self._ignored_since = self._ignored_since or now
        if now - self._ignored_since > HOPELESS_AFTER:
            logger.error(
                "no probe comes back from the store although it answers other processes: this worker receives nothing"
            )
            self._ignored_since = now  # say it again only after as long
            self._deaf()
