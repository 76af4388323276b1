"""Says in the log what application code raised: each place's traceback once a minute, however often it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

EVERY: Final = 60.0  # seconds between two tracebacks of one place
MOST: Final = 1000  # places that are remembered

Place = tuple[type[BaseException], str, int]


class Failures:
    """What has been said, by the place that raised it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: dict[Place, float] = {}
        self._unsaid: dict[Place, int] = {}

    def say(self, text: str, error: BaseException, *, each: bool = False) -> None:
        """Log `text` with the traceback.

        For a minute the same failure is then only counted, or, with `each`, said in one line without the traceback.
        """
        place, now = place_of(error), self._clock()
        if now - self._said.get(place, float("-inf")) < EVERY:
            if each:
                logger.error("%s: %r, as before at %s:%d", text, error, place[1], place[2])
            else:
                self._unsaid[place] = self._unsaid.get(place, 0) + 1
            return
        if len(self._said) >= MOST:
            self._said.clear()
            self._unsaid.clear()
        self._said[place] = now
        more = self._unsaid.pop(place, 0)
        again = f" (and {more} times since this was last said)" if more else ""
        logger.error("%s%s", text, again, exc_info=error)


def place_of(error: BaseException) -> Place:
    """Where it was raised: the innermost frame of its traceback."""
    trace = error.__traceback__
    if trace is None:
        return type(error), "", 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return type(error), trace.tb_frame.f_code.co_filename, trace.tb_lineno
