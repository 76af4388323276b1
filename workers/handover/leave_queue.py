"""Who leaves next: connections leave their rooms as soon as each of them can, and wait here until they are offered.

A connection is taken out of its rooms first, at positions that are noted, and offered when its write buffer has run
empty. Whoever cannot be offered then goes on from the noted positions, and is left alone for a moment.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.handover.migration import Migration, Positions

if TYPE_CHECKING:
    from workers.connection import Connection
    from workers.node.node import Node

LOOKED_AT = 256  # connections that one turn chooses from, so that the loop is never held up for long
A_TURN = 64  # that leave in one: about as long as a room is written to in a turn, which must not come to a halt
AGAIN = 0.1  # seconds until one that came back is asked again: its clients see a rejoin, not a storm of them


@dataclass(frozen=True, slots=True)
class Leaving:
    """A connection that has left its rooms, where it stood in them, and when."""

    connection: Connection
    positions: Positions
    left_at: float  # of CLOCK_MONOTONIC


class LeaveQueue:
    """Of one worker, to one other. `changed` is called when somebody has left."""

    def __init__(self, node: Node, migration: Migration, changed: Callable[[], None]) -> None:
        self._node = node
        self._migration = migration
        self._changed = changed
        self._queue: deque[Connection] = deque()  # who is looked at next
        self._called: dict[str, None] = {}  # told to leave their rooms, and neither offered nor back yet
        self._ready: deque[Leaving] = deque()
        self._resting: dict[str, float] = {}  # came back: until when they are left alone
        self._over = False

    def __len__(self) -> int:
        return len(self._called)

    def call(self, most: int, offered: Callable[[str], bool]) -> None:
        """Have up to `most` more connections leave their rooms; `offered` ones are on their way already."""
        if not self._queue:  # those that came last, and those that could not go yet
            self._queue.extend(
                one for one in self._node.connections.values() if not (one.id in self._called or offered(one.id))
            )
        now, most = time.monotonic(), min(most, A_TURN)
        for _ in range(min(len(self._queue), LOOKED_AT)):
            if most <= 0:
                return
            connection = self._queue.popleft()
            if self._may_go(connection, now):
                most -= 1
                self._called[connection.id] = None
                self._migration.depart(connection, self._left_rooms)

    def _may_go(self, connection: Connection, now: float) -> bool:
        if connection.id not in self._node.connections or self._resting.get(connection.id, 0.0) > now:
            return False
        self._resting.pop(connection.id, None)
        return self._migration.may_leave(connection)

    def _left_rooms(self, connection: Connection, positions: Positions) -> None:
        if self._over:
            self._bring_back(connection, positions)
            return
        self._ready.append(Leaving(connection, positions, time.monotonic()))
        self._changed()

    @property
    def waiting(self) -> int:
        """How many can be offered."""
        return len(self._ready)

    def take(self, most: int) -> list[Leaving]:
        """Those that are to be offered now; who cannot be any more has come back instead."""
        taken: list[Leaving] = []
        while self._ready and len(taken) < most:
            one = self._ready.popleft()
            # Its client may be gone; the application may have brought it into another room, or begun something.
            here = one.connection.id in self._node.connections
            if (
                not here
                or self._node.hub.members.rooms_of(one.connection)
                or not self._migration.at_rest(one.connection)
            ):
                self._bring_back(one.connection, one.positions)
                continue
            taken.append(one)
        return taken

    def on_offered(self, connection: Connection) -> None:
        """It is on its way: whatever becomes of it is somebody else's to know."""
        self._called.pop(connection.id, None)

    def put_back(self, one: Leaving) -> None:
        """It could not be offered: it goes on here, and is asked again later."""
        self._bring_back(one.connection, one.positions)

    def rest(self, connection: Connection) -> None:
        """Leave it alone for a moment."""
        self._resting[connection.id] = time.monotonic() + AGAIN

    def _bring_back(self, connection: Connection, positions: Positions) -> None:
        self._called.pop(connection.id, None)
        self.rest(connection)
        self._migration.bring_back(connection, positions)

    def recall(self) -> None:
        """It is over: whoever has left its rooms and was not offered comes back, now or when it has."""
        self._over = True
        while self._ready:
            self.put_back(self._ready.popleft())
