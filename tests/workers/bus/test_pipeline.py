"""When the pipeline's batches leave: one command alone at once, a batch after one of many a little later."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from workers.bus.connection import pack
from workers.bus.pipeline import MANY, Call, Pipeline, next_tick

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


async def after_a_tick() -> None:
    async with asyncio.timeout(20):
        while asyncio.get_running_loop().time() % PATIENCE > PATIENCE / 4:
            await asyncio.sleep(0.001)


async def test_a_batch_after_one_of_many_commands_waits_for_more() -> None:
    pipeline, link, answers = started()
    await after_a_tick()
    send(pipeline, MANY, answers)
    await batches(link, 1)
    send(pipeline, 1, answers)
    link.answer()
    await asyncio.sleep(0)
    send(pipeline, 1, answers)
    await batches(link, 2)
    (first, _), (second, together) = link.batches
    assert together == 2
    assert (second + 0.001) // PATIENCE > first // PATIENCE, "at the next tick"
    link.answer()
    send(pipeline, 1, answers)
    await batches(link, 3)
    assert link.batches[2][0] - second < PATIENCE / 2, "the last batch was of few"


async def test_workers_that_wait_send_at_the_same_moment() -> None:
    """Whatever the moments of their last batches: what they publish comes to their readers together."""
    one, two = started(), started()
    await after_a_tick()
    for pipeline, link, answers in (one, two):
        send(pipeline, MANY, answers)
        await batches(link, 1)
        link.answer()
        await asyncio.sleep(PATIENCE / 8)
        send(pipeline, 1, answers)
    for _, link, _ in (one, two):
        await batches(link, 2)
    (first, second), (other_first, other_second) = one[1].batches, two[1].batches
    assert other_first[0] - first[0] >= PATIENCE / 8 * 0.9
    assert abs(second[0] - other_second[0]) < PATIENCE / 16


@pytest.mark.parametrize(
    ("now", "last", "tick"),
    [(10.4, 10.0, 11), (10.4, 8.0, 11), (11.0, 10.0, 11), (11.0, 11.0, 12), (11.004, 10.5, 11), (10.999, 10.0, 11),
     (11.0, 10.998, 12), (12.7, 12.6, 13)],
)  # fmt: skip
@pytest.mark.parametrize("period", [1.0, 0.003, 0.25])
def test_a_tick_is_a_multiple_of_the_period_that_is_to_come(now: float, last: float, tick: int, period: float) -> None:
    assert next_tick(now * period, last * period, period) == pytest.approx(tick * period)


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
