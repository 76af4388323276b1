"""The log lines of a store outage: one line at its beginning, one with the reason, and one at its end.

A worker has several connections, which mostly fail together; each reports its own state here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

logger = logging.getLogger(__name__)

# A store that starts takes connections, and may drop them again at once: that is still the same outage.
SETTLED: Final = 1.0  # seconds


class Outage:
    """The connections that one worker is missing. For use within the loop."""

    def __init__(self, *, settled: float = SETTLED) -> None:
        self._settled = settled
        self._missing: set[str] = set()
        self._since: float | None = None  # None: all connections are up, and have been for `settled` seconds
        self._said_why = False
        self._said_refusal = False
        self._why = ""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def why(self) -> str:
        """The text of the last error during an outage; "": no outage, or the reason is not known."""
        return self._why if self._since is not None else ""

    @property
    def since(self) -> float | None:
        """The beginning of the outage by time.monotonic(); None: no outage."""
        return self._since

    def lost(self, what: str) -> None:
        """A connection is gone."""
        if self._begin(what):
            logger.warning(
                "the connection to the store is lost (%s): the clients stay; what needs the store waits, or is refused",
                what,
            )

    def failed(self, what: str, error: Exception) -> None:
        """A connection could not be opened, or the store refuses its commands; the caller tries again."""
        self._begin(what)
        self._why = str(error).rstrip(".")
        if not (self._said_why or self._said_refusal):
            self._said_why = True
            logger.warning("%s; it is tried again and again", self._why)

    def refused(self, reason: str) -> None:
        """The store takes connections, but no commands: it is loading its data, or is a replica."""
        self._why = f"the store takes no commands now ({reason})"
        if not self._said_refusal:
            self._said_refusal = True
            logger.warning("%s: they wait, and are tried again", self._why)

    def over(self, what: str) -> None:
        """A connection is up."""
        if what not in self._missing:
            return
        self._missing.discard(what)
        if not self._missing and self._since is not None:
            seconds = time.monotonic() - self._since
            self._timer = asyncio.get_running_loop().call_later(self._settled, self._end, seconds)

    def _end(self, seconds: float) -> None:
        logger.info("connected to the store again, after %.1f s", seconds)
        self._since, self._timer, self._why = None, None, ""
        self._said_refusal = False

    def _begin(self, what: str) -> bool:
        """Add a missing connection. Returns whether an outage begins with it."""
        self._missing.add(what)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._since is not None:
            return False
        self._since, self._said_why = time.monotonic(), False
        return True
