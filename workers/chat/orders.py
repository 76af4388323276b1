"""The orders that the workers of a chat give each other: what each of them does about a user, told through logs.

The logs have offsets, so no worker misses an order while the log holds it; see `lost_orders.py` for when it does not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec import Struct

from workers.addressing import CONTROL_ROOM, NAMES_ROOM
from workers.bus.port import Placed
from workers.chat.rules.moderators import Moderator
from workers.node import control_room
from workers.registry import Sanction


class Kicked(Struct, frozen=True, tag="kicked"):
    """A user is to leave a room, or with room "" the server."""

    user: str
    room: str
    reason: str
    at: int = 0  # in the audit trail, ms


class Sanctioned(Struct, frozen=True, tag="sanctioned"):
    """A ban or a mute holds from now on, or no longer."""

    sanction: Sanction


class RoleChanged(Struct, frozen=True, tag="enlisted"):
    """A user has another role, or a moderator another name."""

    officer: Moderator


class Renamed(Struct, frozen=True, tag="renamed"):
    """A user has another name from now on; `connection` asked for it, "" with a hello."""

    user: str
    name: str
    connection: str = ""


Order = Kicked | Sanctioned | RoleChanged | Renamed
decode: Final = msgspec.json.Decoder(Order).decode
_encode: Final = msgspec.json.Encoder().encode

Publish = Callable[[str, bytes], Awaitable[Placed]]  # the room of a log and the entry; raises BusError


class OrderLog:
    """Publishes orders to every worker, this one included."""

    __slots__ = ("_publish",)

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    async def publish(self, order: Order) -> Placed:
        """Have every worker carry out an order. Returns its place in the log. Raises BusError."""
        entry = control_room.encode(control_room.TellChat(msgspec.Raw(_encode(order))))
        room = CONTROL_ROOM if isinstance(order, Kicked | Sanctioned) else NAMES_ROOM
        return await self._publish(room, entry)
