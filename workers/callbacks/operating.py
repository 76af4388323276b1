"""Carries out chatctl's commands on a program without the chat: send to a room, close connections.

The chat has verbs of its own for that (`workers/chat/moderation.py`). A program has no bans and no mutes: who may do
what is its own business.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from workers.addressing import room_name

if TYPE_CHECKING:
    from workers.node.node import Node

logger = logging.getLogger(__name__)

MOST_KICKED: Final = 1000  # connections by one order
_OF_THE_CHAT: Final = frozenset({"ban", "mute", "unban", "unmute", "audit", "sanctions"})

Row = dict[str, Any]


async def answer(node: Node, what: str, args: Row) -> list[Row] | None:
    """Carry out one query of the operator's; None: it is none. Raises ValueError, LookupError, BusError."""
    if what == "say":
        return [await _say(node, args)]
    if what == "kick":
        return [await _kick(node, args)]
    if what in _OF_THE_CHAT:
        raise ValueError(f"{what} works only with the chat; this program has no bans, mutes or roles")
    return None


async def _say(node: Node, args: Row) -> Row:
    """The text is sent as it is to the clients that have joined, as `Worker.send_to_room` does."""
    room, text = args.get("room"), args.get("text")
    if not isinstance(room, str) or not isinstance(text, str):
        raise ValueError("say takes a room and a text")
    room = room_name(room)
    await node.send_to_room(room, text)
    logger.info("the operator sent a message to %s", room)
    return {"room": room}


async def _kick(node: Node, args: Row) -> Row:
    """`connections` are the ids that chatctl has found for that user."""
    user, ids = args.get("user"), args.get("connections") or []
    if args.get("room"):
        raise ValueError("only the chat can remove a user from a room; without --room the user is disconnected")
    if not ids:
        raise LookupError(f"no connection of {user} is open: a program's users are those that it binds")
    for connection in ids[:MOST_KICKED]:
        await node.kick(str(connection), reason=str(args.get("reason") or ""))
    logger.info("the operator has kicked %s: %d connections", user, len(ids))
    return {"user": user, "connections": len(ids)}
