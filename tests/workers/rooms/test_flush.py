"""When lagging members go on."""

from __future__ import annotations

import asyncio
from typing import Any

from workers.rooms.flush import FlushQueue
from workers.rooms.stats import RoomStats


class Waiting:
    """A lagging member that can go on only after the batch, which is late."""

    alive = True
    queued = False

    def __init__(self, flushes: FlushQueue) -> None:
        self.flushes = flushes
        self.pumped = 0

    def pump(self) -> None:
        self.pumped += 1
        again: Any = self
        self.flushes.pump(again)


async def test_a_member_that_waits_for_a_late_batch_is_looked_at_once_a_turn():
    slow_consumer: Any = Waiting(FlushQueue(0.0, RoomStats()))
    slow_consumer.pump()
    for _ in range(10):
        await asyncio.sleep(0)
    assert slow_consumer.pumped <= 11
