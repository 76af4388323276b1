"""When lagging members go on."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from workers.rooms.flush import HASTE, LEAST, FlushQueue
from workers.rooms.log_item import Item
from workers.rooms.stats import RoomStats
from workers.transport.answers import AnswerQueue


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
    slow_consumer: Any = Waiting(FlushQueue(0.0, RoomStats(), AnswerQueue()))
    slow_consumer.pump()
    for _ in range(10):
        await asyncio.sleep(0)
    assert slow_consumer.pumped <= 11


class Noting:
    """A transport that notes what is written at once."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def write_answers(self) -> None:
        """The message took the answer along."""

    def get_write_buffer_size(self) -> int:
        return 0


async def test_a_message_takes_the_answers_of_its_readers_along():
    answers = AnswerQueue()
    flushes = FlushQueue(0.0, RoomStats(), answers)
    author, other = Noting(), Noting()
    answers.add(author, author, b"ack")
    assert flushes.write((author, other), [Item(b"message ", 1, "a")]) == 2
    assert (author.written, other.written) == ([b"message ack"], [b"message "])
    assert not answers.waiting


class Large:
    """A room with a batch for so many members."""

    dirty = False
    batch = ()

    def __init__(self, members: int) -> None:
        self.left = members
        self.turns: list[int] = []

    @property
    def busy(self) -> bool:
        return self.left > 0

    def flush(self, budget: int) -> int:
        now = min(budget, self.left)
        self.left -= now
        self.turns.append(now)
        return now


async def written(flushes: FlushQueue, members: int, pause: float) -> list[int]:
    """The writes of each turn, with something else in the turns that takes `pause` seconds."""
    room = Large(members)
    flushes.mark(room)
    while room.left:
        await asyncio.sleep(0)
        assert flushes.writing_since or not room.left
        time.sleep(pause)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not flushes.writing_since
    return room.turns


async def test_a_message_keeps_its_part_of_each_turn_however_much_those_who_move_take_of_it():
    """The cost of a write cannot be told from what the moving connections cost, and would let the message wait."""
    flushes = FlushQueue(0.0, RoomStats(), AnswerQueue())
    flushes.hasten(haste=True)
    assert await written(flushes, 2 * HASTE + 1, 0.2) == [HASTE, HASTE, 1]
    flushes.hasten(haste=False)
    assert (await written(flushes, 2 * HASTE, 0.2))[0] > LEAST, "the turns before said nothing about a write"
    assert (await written(flushes, 2 * LEAST, 0.0))[0] == LEAST, "those of this room did"
    flushes.hasten(haste=True)
    assert (await written(flushes, 2 * HASTE, 0.0))[0] == HASTE
