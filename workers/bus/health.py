"""Checks that this worker receives messages: a stamp published on one connection must come back on the other.

`PING` would also succeed on a store that was deposed, and on a subscription that is no longer served.

* every `INTERVAL` a script publishes a stamp; the script also writes, and refuses on a replica, so that its answer
  shows whether the store takes the messages of clients;
* with each stamp the worker subscribes to the stamps once more: a store that forbids that by now says so;
* when no stamp has come back for `DEAF_AFTER`, every connection is opened again;
* when no stamp has come back although the store has answered new connections for `HOPELESS_AFTER`, something is wrong
  with this process, and `deaf` is called, so that the process can be replaced. The time of the store's own outage does
  not count: else all workers would end at the moment the store is back.
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
HEARD_AFTER = 2  # intervals without a refusal after which subscriptions count as allowed again


class HealthProbe:
    """Sends stamps and watches their return. `age` is the time since the last return, `rtt` that stamp's round trip."""

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
        self._waiting_since = time.monotonic()  # the time from which DEAF_AFTER counts
        self._ignored_since = 0.0  # the time since which the store answers new connections only; 0: it does not
        self._refused = ""  # the store's refusal of the last stamp; "": the store took the stamp
        self.unheard_words, self._unheard_at = "", 0.0  # the last refusal of a subscription, and when that was

    @property
    def refusal(self) -> str:
        """Why the store does not take stamps, or does not deliver them, in its words; "": it does both."""
        return self._refused or self.unheard_words

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
        """The store has made the write that goes with a stamp."""
        self._refused = ""

    def refused(self, words: str) -> None:
        """The store refuses writes: it is reachable, so reconnecting would not help."""
        self._refused = words
        self._is_reachable()

    def unheard(self, words: str) -> None:
        """The store refuses subscriptions; stamps may come back by those that it took before."""
        self.unheard_words, self._unheard_at = words, time.monotonic()
        self._is_reachable()

    def _is_reachable(self) -> None:
        self._waiting_since = time.monotonic()
        self._ignored_since = 0.0

    def returned(self, stamp: bytes) -> None:
        """A stamp came back, perhaps a late one."""
        now = time.monotonic()
        self.rtt = now - int(stamp) / 1e9
        self.back_at = self._waiting_since = now
        self._ignored_since = 0.0
        if now - self._unheard_at > HEARD_AFTER * INTERVAL:
            self.unheard_words = ""

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
        """Find out whether the store is silent, or this process receives nothing."""
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
