"""Bindings: the rooms and the user of a program's connections, visible to every worker when the call returns.

What a call has promised is true on every worker: `join`, `leave`, `bind` and `unbind` return when the store has it.
While one of them is under way the connection does not move to another worker (`connection.changing`). A connection
without a user is counted in its rooms as the user "".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from workers.addressing import inbox_of, is_public
from workers.bus.port import BusError, Unavailable
from workers.close_codes import CloseCode
from workers.tasks import answer_of

if TYPE_CHECKING:
    from workers.node.client_connection import ClientConnection
    from workers.presence import Presence
    from workers.registry import Registry
    from workers.rooms.hub import Hub

LOOK: Final = 0.01  # seconds between two checks of a connection that is moving


class Bindings:
    """Joins, leaves and bindings of this worker's connections."""

    def __init__(
        self,
        hub: Hub,
        presence: Presence,
        registry: Registry,
        *,
        connections: Mapping[str, ClientConnection],
        moving: Collection[str],
    ) -> None:
        """`connections` are this worker's by id; `moving` are the ids of those moving to another worker."""
        self._hub = hub
        self._presence = presence
        self._registry = registry
        self._connections = connections
        self._moving = moving

    # ---- called by a program ----------------------------------------------------------------------

    async def join(self, connection: ClientConnection, room: str) -> None:
        """Join a connection to a room. Raises BusError."""
        with _changing(connection):
            await self._must_be_here(connection)
            await self._enter(connection, room)
            if not self._is_here(connection):
                raise _gone()
            self.entered(connection, room)
            await self._seen(room, connection.user)

    async def leave(self, connection: ClientConnection, room: str) -> None:
        """Remove a connection from a room; no effect on a closed connection. Raises BusError."""
        with _changing(connection):
            if not await self._stays_here(connection):
                return
            await self._left_log(connection, room)
            if room in connection.present:
                self._left(connection, room)
                await self._seen(room, connection.user)

    async def bind(self, connection: ClientConnection, user: str) -> None:
        """Bind a connection to one user; on an error the earlier binding stays. Raises BusError."""
        with _changing(connection):
            await self._must_be_here(connection)
            await self._enter(connection, inbox_of(user))  # from here on no message to the user is missed
            try:
                limit = await self._registry.admit(connection.id, user, connection.remote_ip)
            except BusError:
                self._recount(connection)
                if connection.user != user:
                    self._hub.members.leave(connection, inbox_of(user))
                raise
            if not self._is_here(connection):
                self._registry.release(connection.id)
                raise _gone()
            if limit is not None:
                connection.close(CloseCode.TOO_MANY, f"limit reached: {limit}")
                return
            await self._become(connection, user)

    async def unbind(self, connection: ClientConnection) -> None:
        """Unbind a connection. Raises BusError."""
        with _changing(connection):
            if not await self._stays_here(connection) or not connection.user:
                return
            before = connection.user
            self._switch(connection, "")
            self._recount(connection)
            await self._let_go(connection, before)

    def rooms_of(self, connection: ClientConnection) -> list[str]:
        """The names of the rooms that a connection is in, without its inbox and the server's own rooms."""
        return list(filter(is_public, self._hub.members.rooms_of(connection)))

    def leave_all(self, connection: ClientConnection) -> None:
        """Take a closed connection out of all rooms and its inbox."""
        self._hub.members.leave_all(connection)

    # ---- called by the application -----------------------------------------------------------------

    def entered(self, connection: ClientConnection, room: str) -> None:
        """Count a connection in a room, once."""
        if is_public(room) and room not in connection.present:
            connection.present = (*connection.present, room)
            self._presence.entered(room, connection.user, connection.user)

    def left_all(self, connection: ClientConnection, *, moved: bool = False) -> None:
        """Stop counting a connection in its rooms; `moved`: another worker counts it in a moment."""
        rooms, connection.present = connection.present, ()
        for room in rooms:
            self._presence.left(room, connection.user, moved=moved)

    # ---- the parts -----------------------------------------------------------------------------------

    async def _enter(self, connection: ClientConnection, room: str) -> None:
        await answer_of(partial(self._start_join, connection, room))

    def _start_join(
        self, connection: ClientConnection, room: str, done: Callable[[BaseException | None], None]
    ) -> None:
        self._hub.members.join(connection, [(room, None)], lambda joined: done(None), done)

    async def _become(self, connection: ClientConnection, user: str) -> None:
        before = connection.user
        if before != user:
            self._switch(connection, user)
            await self._let_go(connection, before)
        await self._registry.written(user)

    def _switch(self, connection: ClientConnection, user: str) -> None:
        """Count a connection under another user in all of its rooms."""
        rooms = connection.present
        self.left_all(connection)
        connection.become(user)
        for room in rooms:
            self.entered(connection, room)

    async def _let_go(self, connection: ClientConnection, before: str) -> None:
        """Remove the binding to the earlier user, visible to every worker."""
        if before:
            await self._left_log(connection, inbox_of(before))
            await self._registry.written(before)
        for room in connection.present:
            await self._seen(room, before)
            await self._seen(room, connection.user)

    def _recount(self, connection: ClientConnection) -> None:
        """Count a connection under its present user, without a query to the store."""
        if self._is_here(connection):
            self._registry.count_in(connection.id, connection.user, connection.remote_ip)

    def _left(self, connection: ClientConnection, room: str) -> None:
        connection.present = tuple(one for one in connection.present if one != room)
        self._presence.left(room, connection.user)

    async def _left_log(self, connection: ClientConnection, room: str) -> None:
        """Leave a room, after the batch that is being written."""
        left = asyncio.Event()
        self._hub.members.leave(connection, room, left.set)
        await left.wait()

    async def _seen(self, room: str, user: str) -> None:
        await self._presence.settled(room, user)

    # ---- which worker has it ------------------------------------------------------------------------

    def _is_here(self, connection: ClientConnection) -> bool:
        return connection.id in self._connections and connection.ws.is_open

    async def _stays_here(self, connection: ClientConnection) -> bool:
        """Return whether the connection is this worker's, after a pending move has ended (a bounded time)."""
        while connection.id in self._moving:
            await asyncio.sleep(LOOK)
        return self._is_here(connection)

    async def _must_be_here(self, connection: ClientConnection) -> None:
        if not await self._stays_here(connection):
            raise _gone()


@contextmanager
def _changing(connection: ClientConnection) -> Iterator[None]:
    connection.changing += 1
    try:
        yield
    finally:
        connection.changing -= 1


def _gone() -> Unavailable:
    return Unavailable("the connection is closed, or another worker has it now")
