"""The keys of presence and of the incarnations, and how many users of a room are listed."""

from __future__ import annotations

from typing import Final

from chatmaster.store import layout
from workers.addressing import INTERNAL

MEMBERS_MOST: Final = 1000  # users of a room that one answer lists; a larger room tells nobody names either


def of_room(name: str, room: str) -> list[str]:
    """KEYS[1] to KEYS[3] of room.lua, in the shard of the room's log."""
    return layout.keys(name, room, "presence", "users", "names")


def of_incarnation(name: str, room: str, incarnation: str) -> str:
    """KEYS[4] of room.lua."""
    return layout.key(name, room, f"by:{incarnation}")


def of_hosts(name: str) -> list[str]:
    """The keys of the scripts about hosts, all in one slot."""
    return layout.keys(name, f"{INTERNAL}hosts", "leases", "records", "orders", "masters")


def of_incarnations(name: str, incarnation: str = "") -> list[str]:
    """The keys of incarnations.lua, all in one slot; the third only with an incarnation."""
    own = [f"rooms:{incarnation}"] if incarnation else []
    return layout.keys(name, f"{INTERNAL}incarnations", "leases", "dead", *own)
