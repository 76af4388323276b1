"""Owns how the worker itself follows a room: every entry once, in order."""

from __future__ import annotations

import logging
from collections.abc import Callable

from workers.bus.port import Entry

logger = logging.getLogger(__name__)


class LogListener:
    """One call of `Hub.follow`."""

    __slots__ = ("_live", "_missed", "_received")

    def __init__(
        self,
        received: Callable[[Entry], None],
        live: Callable[[], None] | None,
        missed: Callable[[], None] | None,
    ) -> None:
        self._received = received
        self._live = live
        self._missed = missed

    def received(self, room: str, entry: Entry) -> None:
        """The room's next entry. What a listener raises is a bug of its own and must not stop the room."""
        try:
            self._received(entry)
        except Exception:
            logger.exception("a listener of room %s failed at offset %d", room, entry.offset)

    def missed(self, room: str) -> None:
        """Entries of the room are gone: between the last and the next one, or the whole log was lost."""
        if self._missed is not None:
            try:
                self._missed()
            except Exception:
                logger.exception("a listener of room %s failed when entries were gone", room)

    def became_current(self) -> None:
        """The room is followed from now on; told once."""
        if self._live is not None:
            live, self._live = self._live, None
            live()
