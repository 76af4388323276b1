"""Reap dead incarnations: users who were in a room only through a dead incarnation leave the room.

Any worker may reap. `condemn` makes one worker responsible for as long as that worker reports progress; another worker
takes over from a reaper that dies. The reaper first waits for the grace, so that clients of a killed worker who
reconnect in time never appear to have left.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from workers.bus.port import BusError
from workers.bus.script import Argument, ScriptRunner, scripts_of
from workers.cluster import keys
from workers.presence.local_state import GRACE
from workers.presence.room_view import LARGE

logger = logging.getLogger(__name__)

TAKE_OVER = 10_000  # ms without progress after which another worker takes over
PAGE = 64  # rooms at a time
CHUNK = 500  # users in one call: about 15 ms of the store's time


class DeadWorkerReaper:
    """Removes the users that dead workers left in rooms. `start(coroutine, what=...)` runs a task."""

    def __init__(
        self,
        calls: ScriptRunner,
        name: str,
        *,
        names: int,
        start: Callable[..., object],
        grace: float = GRACE,
    ) -> None:
        self._calls = calls
        self._name = name
        self._names = names
        self._start = start
        self._grace = grace
        self._expected: set[str] = set()
        directory = Path(__file__).parent
        scripts = scripts_of(directory, "condemn", "estate", "reap")
        self._condemn, self._estate, self._reap = map(calls.script, scripts)

    def suspect(self, incarnation: str) -> None:
        """The lease of an incarnation has expired: check the incarnation again after the grace."""
        self._soon(incarnation, sure=False)

    def dead(self, process: str) -> None:
        """A process is known to be dead: reap all of its incarnations after the grace."""
        self._soon(process, sure=True)

    def _soon(self, whom: str, *, sure: bool) -> None:
        if whom not in self._expected:
            self._expected.add(whom)
            self._start(self._later(whom, sure=sure), what=f"reap {whom}")

    async def _later(self, whom: str, *, sure: bool) -> None:
        try:
            # A random delay, so that the siblings do not all query the store at once.
            await asyncio.sleep(self._grace + random.uniform(0.0, 0.3))
            await self.reap(whom, sure=sure)
        except BusError as error:
            logger.warning("the users of the dead worker %s stay in their rooms for a while: %s", whom, error)
        finally:
            self._expected.discard(whom)

    async def reap(self, whom: str, *, sure: bool) -> set[str]:
        """Condemn an incarnation, or all incarnations of a process, and remove its users from the rooms it claimed.

        Returns the names of the rooms. Raises BusError.
        """
        args: list[Argument] = [whom, "sure" if sure else "", TAKE_OVER]
        condemned = await self._calls.call(self._condemn, keys.of_incarnations(self._name), args, again=False)
        reaped: set[str] = set()
        for one in condemned:
            reaped |= await self._settle(one.decode())
        return reaped

    async def reap_rooms(self, rooms: list[str], incarnation: str) -> None:
        """Remove an incarnation from rooms, whatever claims the store has for the incarnation. Raises BusError."""
        for start in range(0, len(rooms), PAGE):
            await _all([self._reap_room(room, incarnation) for room in rooms[start : start + PAGE]])

    async def _settle(self, incarnation: str) -> set[str]:
        own = keys.of_incarnations(self._name, incarnation)
        done: list[Any] = []
        reaped: set[str] = set()
        while True:
            rooms = await self._calls.call(self._estate, own, [incarnation, TAKE_OVER, PAGE, *done], again=True)
            if not rooms:
                break
            await _all([self._reap_room(room.decode(), incarnation) for room in rooms])
            done = rooms
            reaped |= {room.decode() for room in rooms}
        level = logging.INFO if reaped else logging.DEBUG
        logger.log(
            level, "who was in %d rooms only through a worker that is gone (%s) has left", len(reaped), incarnation
        )
        return reaped

    async def _reap_room(self, room: str, incarnation: str) -> None:
        own = [*keys.of_room(self._name, room), keys.of_incarnation(self._name, room, incarnation)]
        args: list[Argument] = [self._calls.channel(room), self._names, LARGE, CHUNK]
        while (await self._calls.call(self._reap, own, args, again=True))[0] == 2:
            pass


async def _all(coroutines: list[Coroutine[Any, Any, None]]) -> None:
    """Run the coroutines concurrently; raise the first error after all of them have ended."""
    for result in await asyncio.gather(*coroutines, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
