"""What is counted as delivered is counted after the last write, which is what the delivery lag is about."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from workers.rooms.fanout import joined
from workers.rooms.flush import AT_ONCE
from workers.rooms.log_item import Item
from workers.rooms.room import Room
from workers.rooms.types import Transport
from workers.transport.socket_transport import write_to_all


class Flushes:
    """Notes how many writes there had been when the room said that it was done."""

    def __init__(self) -> None:
        self.writes = 0
        self.told: list[tuple[int, int]] = []  # members, and the writes before

    def write(self, transports: Collection[Transport], items: list[Item]) -> int:
        data = joined(items, squeeze=False)
        write_to_all(transports, data)
        self.written(items, len(transports), len(data))
        return len(transports)

    def mark(self, room: Room) -> None:
        """It is flushed by the test."""

    def written(self, items: list[Item], members: int, size: int) -> None:
        self.told.append((members, self.writes))


class Counted:
    """A transport whose writes are counted."""

    def __init__(self, flushes: Flushes) -> None:
        self.flushes = flushes

    def write(self, data: bytes) -> None:
        self.flushes.writes += 1


@pytest.mark.parametrize("members", [1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE, 3 * AT_ONCE + 5])
def test_a_batch_is_counted_once_and_after_its_last_write(members: int) -> None:
    flushes: Any = Flushes()
    room = Room("lobby", flushes, lambda item: ())
    transports: Any = dict.fromkeys(range(members), Counted(flushes))
    room.live = transports
    room.batch = [Item(b"frame", 1, "a", 5)]
    turns = 0
    while room.batch or room.busy:
        room.flush(1)  # a slice a turn
        turns += 1
    assert flushes.told == [(members, members)]
    assert turns >= members / AT_ONCE
