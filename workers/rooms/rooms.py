"""Owns the table of all rooms of a worker, and which of them people would call one.

There is an inbox for every user: whoever only wants to know of rooms must not have to look at 40,000 of them.
"""

from __future__ import annotations

from workers.addressing import is_public
from workers.rooms.room import Room


class Rooms(dict[str, Room]):
    """Rooms by name."""

    __slots__ = ("_called",)

    def __init__(self) -> None:
        super().__init__()
        self._called: dict[str, Room] = {}  # without inboxes and the worker's own

    def begin(self, room: Room) -> None:
        """It is one from now on."""
        self[room.name] = room
        if is_public(room.name):
            self._called[room.name] = room

    def end(self, room: Room) -> None:
        """Nobody wants it any more."""
        del self[room.name]
        self._called.pop(room.name, None)

    def occupied(self) -> int:
        """How many of those that people call rooms have members here."""
        return sum(1 for room in self._called.values() if len(room))
