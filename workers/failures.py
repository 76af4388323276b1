"""Logs exceptions of application code: the traceback of each place at most once a minute."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from chatmaster.tracebacks import where_raised
from workers.payload import close_reason

logger = logging.getLogger(__name__)

EVERY: Final = 60.0  # seconds between two tracebacks of one place
MOST: Final = 1000  # places remembered

Place = tuple[type[BaseException], str, int]
P = TypeVar("P", bound=Hashable)


class OncePerPlace(Generic[P]):
    """Decides what is logged: each place once in `EVERY` seconds; the rest is counted."""

    def __init__(self) -> None:
        self._logged: dict[P, float] = {}
        self._omitted: dict[P, int] = {}

    def is_due(self, place: P, now: float) -> bool:
        """Return whether nothing was logged for a place for `EVERY` seconds; `now` is in seconds of any clock."""
        return now - self._logged.get(place, float("-inf")) >= EVERY

    def omit(self, place: P) -> None:
        """Count a failure that is not logged."""
        self._omitted[place] = self._omitted.get(place, 0) + 1

    def log(self, place: P, now: float) -> int:
        """Record that a place is logged now. Returns the number of failures omitted since the last time."""
        if len(self._logged) >= MOST:
            self._logged.clear()
            self._omitted.clear()
        self._logged[place] = now
        return self._omitted.pop(place, 0)


class Failures:
    """Logs exceptions of application code, by the place that raised them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: OncePerPlace[Place] = OncePerPlace()

    def log(self, text: str, error: BaseException, *, each: bool = False) -> None:
        """Log `text` with the traceback.

        For `EVERY` seconds further failures at the same place are counted or, with `each`, logged without traceback.
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


def brief(error: BaseException) -> str:
    """`FILE:LINE: ValueError: text`, at most as long as the reason of a close frame may be."""
    said = "".join(traceback.format_exception_only(error)).strip()  # whatever its __str__ does
    place = where_raised(error)
    return close_reason((f"{place}: {said}" if place else said).encode(errors="replace").decode())


def place_of(error: BaseException) -> Place:
    """Return where an exception was raised: the innermost frame of its traceback."""
    trace = error.__traceback__
    if trace is None:
        return type(error), "", 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return type(error), trace.tb_frame.f_code.co_filename, trace.tb_lineno
