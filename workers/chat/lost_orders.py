"""Recovers from lost orders: reads sanctions, kicks, names and roles of the connected users from the store.

A log of orders keeps a limited number of entries, and the store may lose it. A worker that was stopped or cut off from
the store may find a gap. The effect of an order is stored elsewhere, too: bans and mutes in the registry, kicks in
the audit trail, names beside the inboxes. All of it is read and applied again, since the lost orders are unknown.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from workers.addressing import CONTROL_ROOM, NAMES_ROOM, inbox_of
from workers.bus.port import BusError
from workers.chat.renames import Renames
from workers.chat.roles import Roles
from workers.chat.services import ChatServices
from workers.registry import AuditEntry

logger = logging.getLogger(__name__)

RETRY: Final = 1.0  # seconds between two tries while the store is away
AT_ONCE: Final = 64  # users whose names are read at the same time
MOST_DEEDS: Final = 10_000  # entries of the audit trail that are read: all that it keeps
REMEMBERED: Final = 2000  # kicks already carried out, so that none is repeated
SLACK: Final = 2.0  # seconds: clocks differ, and an order arrives a little after its entry in the audit trail


class LostOrders:
    """Recovers from lost orders on this worker."""

    def __init__(self, services: ChatServices, renames: Renames, roles: Roles) -> None:
        self._registry = services.registry
        self._connections = services.connections
        self._positions = services.store.read_positions
        self._tasks = services.tasks
        self._renames = renames
        self._roles = roles
        self._since = time.time()  # earlier kicks were carried out, here or by the worker that had the connections
        self._last = 0.0  # time of the last kick carried out, by the store's clock
        self._before = 0.0  # the same at the time when orders were lost
        self._kicks: deque[tuple[str, str, int]] = deque(maxlen=REMEMBERED)  # user, room and time of kicks carried out
        self._wanted: dict[str, bool] = {}  # logs in recovery; True: orders were lost again since

    def note_kick(self, user: str, room: str, at: int) -> None:
        """Record a kick that was carried out; `at` is its time in the audit trail, ms."""
        self._kicks.append((user, room, at))
        self._last = max(self._last, at / 1000)

    def on_orders_lost(self, room: str) -> None:
        """Orders of the log `room` are lost: start the recovery."""
        make_up = {CONTROL_ROOM: self._make_up_sanctions, NAMES_ROOM: self._make_up_names}.get(room)
        if make_up is None:
            return
        running = room in self._wanted
        if room == CONTROL_ROOM and not running:
            self._before = self._last
        self._wanted[room] = running
        if not running:
            self._tasks.start(self._make_up(room, make_up), what=f"make up for lost orders of {room}")

    async def _make_up(self, room: str, make_up: Callable[[], Awaitable[int]]) -> None:
        """Retry until the store answers; repeat if more orders were lost during the recovery."""
        try:
            while room in self._wanted:
                self._wanted[room] = False
                try:
                    changed = await make_up()
                except BusError as error:
                    logger.debug("the state behind lost orders of %s cannot be read yet: %s", room, error)
                    await asyncio.sleep(RETRY)
                    continue
                logger.warning("orders of %s are lost: their state was read from the store, %d changes", room, changed)
                if not self._wanted[room]:
                    del self._wanted[room]
        finally:
            self._wanted.pop(room, None)

    # ---- sanctions and kicks -------------------------------------------------------------------------

    async def _make_up_sanctions(self) -> int:
        """Enforce bans and kicks. Returns the number of connections affected. Raises BusError."""
        ahead = await self._registry.reload() - time.time()  # by how much the store's clock is ahead of ours
        since = max(self._since + ahead, self._before) - SLACK
        deeds = await self._registry.trail(limit=MOST_DEEDS, since=since)
        out = 0
        for client in self._connections:
            effects = client.session.enforce_bans(time.time())
            client.carry_out(effects)
            out += bool(effects)
        for deed in reversed(deeds):
            if deed.verb == "kick":
                out += self._kick(deed, ahead)
        return out

    def _kick(self, deed: AuditEntry, ahead: float) -> int:
        """Carry out a kick that was missed, for connections that were open at its time."""
        mark = (deed.user, deed.room, round(deed.time * 1000))
        if mark in self._kicks:
            return 0
        self.note_kick(*mark)
        there = [
            client
            for client in self._connections.of_user(deed.user)
            if client.connection.opened_at + ahead < deed.time + SLACK
        ]
        for client in there:
            client.carry_out(client.session.kicked(deed.room, deed.reason or "you were kicked"))
        return len(there)

    # ---- names and roles -----------------------------------------------------------------------------

    async def _make_up_names(self) -> int:
        """Apply the stored names and moderators to the connected users. Raises BusError."""
        self._renames.forget_recent()
        await self._roles.reload()
        users = self._connections.users()
        changed = 0
        for start in range(0, len(users), AT_ONCE):
            some = users[start : start + AT_ONCE]
            found = await asyncio.gather(*(self._positions.read(inbox_of(user), user) for user in some))
            for user, position in zip(some, found, strict=True):
                changed += self._renames.restore_kept(user, position.name)
        return changed
