"""When the pipeline's batches leave: one command alone at once, a batch after one of many a little later."""

from __future__ import annotations

import asyncio
from typing import Any

from workers.bus.batch_pause import MANY
from workers.bus.connection import pack
from workers.bus.pipeline import Call, Pipeline

PATIENCE = 0.2  # seconds; far more than a turn of the loop takes


class Link:
    """The store's end: keeps the batches, and answers when it is told to."""

    def __init__(self) -> None:
        self.batches: list[tuple[float, int]] = []  # when, and of how many commands
        self.replied: Any = None

    def write(self, data: bytes) -> None:
        if data:  # not the scripts, of which there are none
            self.batches.append((asyncio.get_running_loop().time(), data.count(b"PING")))

    def answer(self) -> None:
        for _ in range(self.batches[-1][1]):
            self.replied(b"PONG")


def started() -> tuple[Pipeline, Link, list[Any]]:
    pipeline = Pipeline(atomic=False, timeout=5.0, reconnect=_never, refused=_refused, patience=PATIENCE)
    link: Any = Link()
    pipeline.up(link)
    return pipeline, link, []


def _never() -> None:
    raise AssertionError("nothing is wrong with the connection")


def _refused(words: str) -> None:
    raise AssertionError(words)


def send(pipeline: Pipeline, count: int, answers: list[Any]) -> None:
    for _ in range(count):
        pipeline.send(Call(pack("PING"), answers.append, again=True))


async def batches(link: Link, count: int) -> None:
    async with asyncio.timeout(20):
        while len(link.batches) < count:
            await asyncio.sleep(0.001)


async def test_a_command_alone_never_waits() -> None:
    pipeline, link, answers = started()
    for number in range(1, 6):
        before = asyncio.get_running_loop().time()
        send(pipeline, MANY - 1, answers)
        await batches(link, number)
        assert link.batches[-1][0] - before < PATIENCE / 2
        link.answer()
    assert answers == [b"PONG"] * 5 * (MANY - 1)


async def test_a_batch_after_one_of_many_commands_waits_for_more() -> None:
    pipeline, link, answers = started()
    send(pipeline, MANY, answers)
    await batches(link, 1)
    send(pipeline, 1, answers)
    link.answer()
    await asyncio.sleep(PATIENCE / 4)
    send(pipeline, 1, answers)
    await batches(link, 2)
    (first, _), (second, together) = link.batches
    assert together == 2
    assert second - first >= PATIENCE * 0.9
    link.answer()
    send(pipeline, 1, answers)
    await batches(link, 3)
    assert link.batches[2][0] - second < PATIENCE / 2, "the last batch was of few"


async def test_commands_that_wait_when_the_connection_breaks_leave_by_the_next_one() -> None:
    pipeline, link, answers = started()
    send(pipeline, MANY, answers)
    await batches(link, 1)
    link.answer()
    send(pipeline, 1, answers)
    await asyncio.sleep(0)
    pipeline.down()
    other: Any = Link()
    pipeline.up(other)
    await batches(other, 1)
    other.answer()
    assert answers == [b"PONG"] * (MANY + 1)
    await asyncio.sleep(PATIENCE * 1.5)
    assert len(other.batches) == 1, "the wait that was under way sends nothing twice"
