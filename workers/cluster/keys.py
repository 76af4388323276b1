"""Owns the names of the keys of presence and of the incarnations."""

from __future__ import annotations

from workers.bus.keys import tag


def of_room(name: str, room: str) -> list[str]:
    """KEYS[1] to KEYS[3] of room.lua, in the slot of the room's log."""
    base = tag(name, room)
    return [f"{base}:presence", f"{base}:users", f"{base}:names"]


def of_incarnation(name: str, room: str, incarnation: str) -> str:
    """KEYS[4] of room.lua."""
    return f"{tag(name, room)}:by:{incarnation}"


def of_incarnations(name: str, incarnation: str = "") -> list[str]:
    """The keys of incarnations.lua, all in one slot; the third only with an incarnation."""
    base = tag(name, "!incarnations")
    keys = [f"{base}:leases", f"{base}:dead"]
    return [*keys, f"{base}:rooms:{incarnation}"] if incarnation else keys
