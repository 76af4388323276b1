"""LeaveQueue: connections leave their rooms as soon as each of them can, and wait here until they are offered.

A connection leaves its rooms first, at positions that are noted, and is offered when its write buffer is empty. A
connection that cannot be offered then continues from the noted positions, and rests for a moment.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from workers.handover.migration import Migration, Positions

if TYPE_CHECKING:
    from workers.node.client_connection import ClientConnection
    from workers.node.node import Node

LOOKED_AT = 256  # connections that one turn of the loop looks at, so that the loop never blocks for long
A_TURN = 64  # connections that leave in one turn
# Seconds in which none leaves after a message to many members came: first these get the message, here and at the other
# worker, and the connections that are on their way arrive. At most half of the time goes to messages alone.
MESSAGE_FIRST = 0.05
AGAIN = 0.1  # seconds that a connection rests after it came back, so that it does not rejoin in a loop


@dataclass(frozen=True, slots=True)
class Leaving:
    """A connection that has left its rooms, its positions in them, and when it left."""

    connection: ClientConnection
    positions: Positions
    left_at: float  # of CLOCK_MONOTONIC


class LeaveQueue:
    """The queue of one worker towards one other. `changed` is called when a connection has left its rooms."""

    def __init__(self, node: Node, migration: Migration, changed: Callable[[], None]) -> None:
        self._node = node
        self._migration = migration
        self._changed = changed
        self._queue: deque[ClientConnection] = deque()  # connections to look at next
        self._finishing: dict[str, ClientConnection] = {}  # those to look at in every turn, by id
        self._called: dict[str, None] = {}  # leaving their rooms, and neither offered nor back yet
        self._ready: deque[Leaving] = deque()
        self._resting: dict[str, float] = {}  # came back: until when each rests
        self._waited_for = float("-inf")  # the beginning of the writing that was waited for last
        self._over = False

    def __len__(self) -> int:
        return len(self._called)

    def call(self, most: int, offered: Callable[[str], bool]) -> None:
        """Make up to `most` more connections leave their rooms; `offered` connections are on their way already.

        The newest leave first, as the newest are the first that a message is written to, here and at the other worker:
        so the time from one message to the next stays the same for a connection that moves.
        """
        if self._message_first(self._node.hub.writing_since, perf_counter()):
            return
        if not self._queue:  # new connections, and those that could not leave yet
            here = reversed(self._node.connections.values())
            known = self._called.keys() | self._finishing.keys()
            self._queue.extend(one for one in here if not (one.id in known or offered(one.id)))
        self._queue.extendleft(self._finishing.values())
        self._finishing.clear()
        now, most = time.monotonic(), min(most, A_TURN)
        for _ in range(min(len(self._queue), LOOKED_AT)):
            if most <= 0:
                return
            connection = self._queue.popleft()
            if self._may_go(connection, now):
                most -= 1
                self._called[connection.id] = None
                self._migration.depart(connection, self._left_rooms)
            elif len(self._finishing) < A_TURN and self._is_finishing(connection):
                self._finishing[connection.id] = connection

    def _message_first(self, writing_since: float, now: float) -> bool:
        """Whether the turn belongs to the message that is being written since then; 0: there is none."""
        if not 0.0 <= now - writing_since < MESSAGE_FIRST:
            return False
        if writing_since != self._waited_for and writing_since < self._waited_for + 2 * MESSAGE_FIRST:
            return False
        self._waited_for = writing_since
        return True

    def _may_go(self, connection: ClientConnection, now: float) -> bool:
        if connection.id not in self._node.connections or self._resting.get(connection.id, 0.0) > now:
            return False
        self._resting.pop(connection.id, None)
        return self._migration.may_leave(connection)

    def _is_finishing(self, connection: ClientConnection) -> bool:
        """Whether a connection is not read from any more, and waits for its requests only: it goes on once it moves."""
        here = connection.id in self._node.connections
        return here and connection.ws.reading_paused and not self._migration.at_rest(connection)

    def _left_rooms(self, connection: ClientConnection, positions: Positions) -> None:
        if self._over:
            self._bring_back(connection, positions)
            return
        self._ready.append(Leaving(connection, positions, time.monotonic()))
        self._changed()

    @property
    def waiting(self) -> int:
        """How many connections can be offered."""
        return len(self._ready)

    def take(self, most: int) -> list[Leaving]:
        """Remove and return the connections to offer now; those that can no longer move rejoin their rooms."""
        taken: list[Leaving] = []
        while self._ready and len(taken) < most:
            one = self._ready.popleft()
            # The client may have left; the application may have joined it to another room, or started something.
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

    def on_offered(self, connection: ClientConnection) -> None:
        """The connection was offered and is no longer the queue's concern."""
        self._called.pop(connection.id, None)

    def put_back(self, one: Leaving) -> None:
        """The connection could not be offered: it continues here, and leaves again later."""
        self._bring_back(one.connection, one.positions)

    def rest(self, connection: ClientConnection) -> None:
        """Do not look at the connection for a moment."""
        self._resting[connection.id] = time.monotonic() + AGAIN

    def _bring_back(self, connection: ClientConnection, positions: Positions) -> None:
        self._called.pop(connection.id, None)
        self.rest(connection)
        self._migration.bring_back(connection, positions)

    def recall(self) -> None:
        """End the queue: connections that left and were not offered rejoin, and so do those that are leaving."""
        self._over = True
        while self._ready:
            self.put_back(self._ready.popleft())
