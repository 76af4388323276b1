"""Who is let in at all: bans of the whole server, and the limits on connections, asked once for each connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from workers.chat.rules.session import REMOVED, TOO_MANY

if TYPE_CHECKING:
    from workers.chat.rules.identity import Identity
    from workers.connection import Connection
    from workers.registry import Registry


class Gate:
    """Lets connections in and out."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def knock(self, connection: Connection, identity: Identity) -> list[str]:
        """Count a connection. Returns what the store has to be asked about before it is let in, by `ask`."""
        return self._registry.count_in(connection.id, identity.user, connection.ws.address, new=identity.fresh)

    async def ask(self, connection: Connection, asked: list[str]) -> tuple[int, str] | None:
        """Close code and reason for somebody who is one too many. Raises BusError."""
        exceeded = await self._registry.ask(connection.id, asked)
        return None if exceeded is None else (TOO_MANY, exceeded)

    def banned(self, identity: Identity, address: str) -> tuple[int, str] | None:
        """Close code and reason for somebody who is banned from everything; by now the store was asked."""
        sanctions = self._registry.sanctions
        if sanctions.none:
            return None
        reason = sanctions.banned(identity.user, address if identity.guest else "", "", time.time())
        return None if reason is None else (REMOVED, reason or "you are banned")

    def release(self, connection: Connection) -> None:
        """It is gone, or was not let in."""
        self._registry.release(connection.id)
