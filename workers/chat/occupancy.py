"""Occupancy: the room option `members`, how many users may be in a room, decided by one atomic step in the store.

A user has a place in a room for each worker with a connection of theirs in it; a place belongs to the worker's
incarnation, so that those of a dead worker count no longer. A join takes the place first, and gives it back when the
join fails or the last connection leaves. A connection that moves takes its place at the new worker before the old one
gives it back: for a moment the user has two, which count once.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

from workers.bus.port import BusError
from workers.bus.script import Argument, ScriptRunner, scripts_of
from workers.chat.store import keys
from workers.cluster.lease import Lease
from workers.tasks import Tasks

logger = logging.getLogger(__name__)

KEEP: Final = 86_400  # seconds that places are kept without being taken again, so that those of dead workers expire
REFRESH: Final = 21_600.0  # seconds between two renewals of every place
MOVED: Final = 3.0  # seconds for which a connection that moved away keeps its place here
ROUNDS: Final = 3

Place = tuple[str, str]  # room and user


class Occupancy:
    """The places that this worker's connections have in rooms with a limit. Made inside the running loop."""

    def __init__(self, calls: ScriptRunner, lease: Lease, name: str) -> None:
        self._calls = calls
        self._lease = lease
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._occupy, self._vacate = map(calls.script, scripts_of(Path(__file__).parent, "occupy", "vacate"))
        self._held: dict[Place, int] = {}  # connections in the room, or about to be
        lease.when_reborn(lambda old: self._take_again())

    def start(self, tasks: Tasks) -> None:
        """Keep the places for as long as they are held."""
        tasks.start(self._refresh(), what="refresh of places in rooms")

    async def take(self, room: str, user: str, limit: int) -> bool:
        """Take a place for one connection of a user, to be given back by `give_back`; False: the room is full.

        Raises BusError: then none was taken.
        """
        self.hold(room, user)
        taken = False
        try:
            taken = await self._take(room, user, limit)
        finally:
            if not taken:
                self.give_back(room, user)
        return taken

    def hold(self, room: str, user: str) -> None:
        """Count one more connection of a user that has a place here; it is given back with the last one."""
        place = room, user
        self._held[place] = self._held.get(place, 0) + 1

    def adopt(self, room: str, user: str) -> None:
        """A connection came from another worker, where its user had a place: no limit is checked."""
        self.hold(room, user)
        self._take_anyway((room, user))

    def give_back(self, room: str, user: str) -> None:
        """Count one connection of the user less; the last one gives the place back."""
        place = room, user
        left = self._held[place] - 1
        if left:
            self._held[place] = left
            return
        del self._held[place]
        self._calls.send(
            self._vacate, [keys.occupants(self._name, room)], [self._lease.incarnation, user], _forget, again=True
        )

    def moved_away(self, room: str, user: str) -> None:
        """Give the place back in a moment: the worker that the connection moved to may not have taken one yet."""
        self._loop.call_later(MOVED, self.give_back, room, user)

    # ---- the store ---------------------------------------------------------------------------------

    async def _take(self, room: str, user: str, limit: int) -> bool:
        dead: list[str] = []
        for _ in range(ROUNDS):
            live = self._lease.live()
            args: list[Argument] = [self._lease.incarnation, user, limit, KEEP, len(live), *live, *dead]
            reply = await self._calls.call(self._occupy, [keys.occupants(self._name, room)], args, again=True)
            if reply[0] != 2:
                return bool(reply[0])
            await self._lease.renew()  # someone new, or someone dead
            dead = sorted({one.decode() for one in reply[1:]} - set(self._lease.live()))
        raise BusError("who is alive changes too fast")

    def _take_anyway(self, place: Place) -> None:
        room, user = place
        args: list[Argument] = [self._lease.incarnation, user, 0, KEEP, 0]
        self._calls.send(self._occupy, [keys.occupants(self._name, room)], args, _forget, again=True)

    def _take_again(self) -> None:
        for place in self._held:
            self._take_anyway(place)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH)
            self._take_again()


def _forget(reply: Any) -> None:
    """A place that was not taken or given back is found by the next refresh, or by whoever finds the room full."""
    if isinstance(reply, BusError):
        logger.debug("a place in a room was not written: %s", reply)
