"""MemberDiscovery: learns the names of users who were in a room before this worker was, in the background.

A worker with its first member in a room hears of users who join from then on, but not of those who are there already;
and of a storm of joins it hears only the number. Until it has read the room, `@name` means no user. A user who joined
just before is in neither: the store learns of that user a moment later. So the worker reads the room a second time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from workers.bus.port import BusError
from workers.cluster.keys import MEMBERS_MOST
from workers.presence import Presence
from workers.tasks import Tasks

logger = logging.getLogger(__name__)

AGAIN: Final = 1.0  # seconds; presence is written within a fraction of one


class MemberDiscovery:
    """Reads the users in rooms, and passes each to `heard_of(user, name)`."""

    def __init__(
        self, presence: Presence, heard_of: Callable[[str, str], None], tasks: Tasks, *, here: Callable[[str], int]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._here = here  # this worker's own users of a room
        self._presence = presence
        self._heard_of = heard_of
        self._tasks = tasks
        self._waiting: dict[str, None] = {}  # rooms, in the order of their asking
        self._running = False

    def begin(self, room: str, *, others: bool) -> None:
        """Start with a room that has its first member here; `others` says that it had members before."""
        if others:
            self.meet(room)
        self._loop.call_later(AGAIN, self._look_again, room)

    def _look_again(self, room: str) -> None:
        if self._presence.count(room) > self._here(room):
            self.meet(room)

    def meet(self, room: str) -> None:
        """Read a room, which may have users whom this worker does not know."""
        self._waiting[room] = None
        if not self._running:
            self._running = True
            self._tasks.start(self._meet_all(), what="get to know a room")

    async def _meet_all(self) -> None:
        try:
            while self._waiting:
                room = next(iter(self._waiting))
                del self._waiting[room]
                await self._meet(room)
        finally:
            self._running = False

    async def _meet(self, room: str) -> None:
        try:
            found = await self._presence.members(room, MEMBERS_MOST)
        except BusError as error:
            logger.debug("who is in %s is not known yet: %s", room, error)
            return
        for member in found.members:
            self._heard_of(member.user, member.name)
