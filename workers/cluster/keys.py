"""The keys of presence and of the incarnations, and how many users of a room are listed."""

from __future__ import annotations

from typing import Final

from workers.addressing import INTERNAL
from workers.bus.keys import tag

MEMBERS_MOST: Final = 1000  # users of a room that one answer lists; a larger room tells nobody names either


def of_room(name: str, room: str) -> list[str]:
    """KEYS[1] to KEYS[3] of room.lua, in the slot of the room's log."""
    base = tag(name, room)
    return [f"{base}:presence", f"{base}:users", f"{base}:names"]


def of_incarnation(name: str, room: str, incarnation: str) -> str:
    """KEYS[4] of room.lua."""
    return f"{tag(name, room)}:by:{incarnation}"


def of_incarnations(name: str, incarnation: str = "") -> list[str]:
    """The keys of incarnations.lua, all in one slot; the third only with an incarnation."""
    base = tag(name, f"{INTERNAL}incarnations")
    keys = [f"{base}:leases", f"{base}:dead"]
    return [*keys, f"{base}:rooms:{incarnation}"] if incarnation else keys
