"""Who is let in at all: bans of the whole server, and the limits on connections, asked once for each connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from workers.chat.session import REMOVED, TOO_MANY

if TYPE_CHECKING:
    from workers.chat.identity import Identity
    from workers.connection import Connection
    from workers.registry import Registry


class Gate:
    """Lets connections in and out."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def admit(self, connection: Connection, identity: Identity) -> tuple[int, str] | None:
        """Close code and reason for somebody who is not let in. Raises BusError."""
        address = connection.remote_ip
        exceeded = await self._registry.admit(connection.id, identity.user, address, new=identity.fresh)
        if exceeded is not None:
            return TOO_MANY, exceeded
        by_address = address if identity.guest else ""
        reason = self._registry.sanctions.banned(identity.user, by_address, "", time.time())
        return None if reason is None else (REMOVED, reason or "you are banned")

    def release(self, connection: Connection) -> None:
        """It is gone, or was not let in."""
        self._registry.release(connection.id)
