"""Says in the log what application code raised: each place's traceback once a minute, however often it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

logger = logging.getLogger(__name__)

EVERY: Final = 60.0  # seconds between two tracebacks of one place
MOST: Final = 1000  # places that are remembered

Place = tuple[type[BaseException], str, int]
P = TypeVar("P", bound=Hashable)


class OncePerPlace(Generic[P]):
    """Decides what is logged: each place once in `EVERY` seconds; what comes meanwhile is counted."""

    def __init__(self) -> None:
        self._logged: dict[P, float] = {}
        self._omitted: dict[P, int] = {}

    def is_due(self, place: P, now: float) -> bool:
        """Whether nothing was logged of a place for `EVERY` seconds; `now` is in seconds of any one clock."""
        return now - self._logged.get(place, float("-inf")) >= EVERY

    def omit(self, place: P) -> None:
        """Count one that is not logged."""
        self._omitted[place] = self._omitted.get(place, 0) + 1

    def log(self, place: P, now: float) -> int:
        """Note that a place is logged now. Returns how many were omitted since the last time."""
        if len(self._logged) >= MOST:
            self._logged.clear()
            self._omitted.clear()
        self._logged[place] = now
        return self._omitted.pop(place, 0)


class Failures:
    """Logs what application code raises, by the place that raised it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: OncePerPlace[Place] = OncePerPlace()

    def log(self, text: str, error: BaseException, *, each: bool = False) -> None:
        """Log `text` with the traceback.

        For a minute the same failure is then only counted, or, with `each`, logged in one line without the traceback.
        """
        place, now = place_of(error), self._clock()
        if not self._places.is_due(place, now):
            if each:
                logger.error("%s: %r, as before at %s:%d", text, error, place[1], place[2])
            else:
                self._places.omit(place)
            return
        more = self._places.log(place, now)
        again = f" (and {more} times since this was last logged)" if more else ""
        logger.error("%s%s", text, again, exc_info=error)


def place_of(error: BaseException) -> Place:
    """Where it was raised: the innermost frame of its traceback."""
    trace = error.__traceback__
    if trace is None:
        return type(error), "", 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return type(error), trace.tb_frame.f_code.co_filename, trace.tb_lineno
