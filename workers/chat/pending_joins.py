"""Who is just coming in, and the kicks that met them meanwhile.

A connection whose hello or join is under way is in no room yet in which an order could find it. What is ordered then is
kept here, and carried out when it is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from workers.chat.chat_connection import ChatConnection


class PendingKick(Struct, frozen=True):
    """Out of a room, or with room "" out of everything."""

    room: str
    reason: str
    offset: int  # of the order in the control room


class PendingJoins:
    """The connections of a worker whose hello or join is under way."""

    def __init__(self) -> None:
        self._users: dict[ChatConnection, str] = {}
        self._kicks: dict[ChatConnection, list[PendingKick]] = {}

    def begin(self, desk: ChatConnection, user: str) -> None:
        """It is about to come in, as that user."""
        self._users[desk] = user

    def end(self, desk: ChatConnection) -> list[PendingKick]:
        """It is in, or was refused, or has gone. Returns what was ordered meanwhile."""
        self._users.pop(desk, None)
        return self._kicks.pop(desk, [])

    def kicked(self, user: str, kick: PendingKick) -> None:
        """That user is to leave."""
        for desk, name in self._users.items():
            if name == user and desk.connection.ordered < kick.offset:  # else it came after the order
                self._kicks.setdefault(desk, []).append(kick)
