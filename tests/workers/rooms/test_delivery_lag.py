"""What is counted as delivered is counted after the last write, which is what the delivery lag is about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from workers.rooms.log_item import Item
from workers.rooms.room import AT_ONCE, Room


class House:
    """Notes how many writes there had been when the room said that it was done."""

    def __init__(self) -> None:
        self.writes = 0
        self.told: list[tuple[int, int]] = []  # members, and the writes before

    def write(self, data: bytes) -> None:
        """As a transport."""
        self.writes += 1

    def mark(self, room: Room) -> None:
        """It is flushed by the test."""

    def special_members(self, item: Item) -> Iterable[Any]:
        return ()

    def written(self, items: list[Item], members: int, size: int) -> None:
        self.told.append((members, self.writes))


@pytest.mark.parametrize("members", [1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE, 3 * AT_ONCE + 5])
def test_a_batch_is_counted_once_and_after_its_last_write(members: int) -> None:
    house: Any = House()
    room = Room("lobby", house)
    transports: Any = dict.fromkeys(range(members), house)
    room.live = transports
    room.batch = [Item(b"frame", 1, "a", 5)]
    turns = 0
    while room.batch or room.busy:
        room.flush(1)  # a slice a turn
        turns += 1
    assert house.told == [(members, members)]
    assert turns >= members / AT_ONCE
