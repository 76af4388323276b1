"""Sources of commands wait while a batch does: held after a batch of many, asked at the end, released when few come."""

from __future__ import annotations

import asyncio
import time

import pytest

from workers.bus.batch_pause import CLOSE, LATE, MANY, PLENTY, ROW, BatchPause

SECONDS = 0.05  # half of that is late: far more than a turn of the loop takes


class Source:
    """Writes down what it is told, and brings commands when it is asked."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.brings: list[int] = []  # commands, at each `take`
        self.fails = False

    def hold(self) -> None:
        self.told.append("hold")

    def take(self) -> None:
        self.told.append("take")
        if self.fails:
            raise RuntimeError("a bug of a source")

    def release(self) -> None:
        self.told.append("release")


class Batches:
    """Stands for the pipeline: at the end of a pause it sends what the source has brought."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.source = Source()
        self.pause = BatchPause(seconds, self.over)
        self.pause.sources.append(self.source)

    def over(self) -> None:
        self.source.told.append("over")
        if self.source.brings:
            self.pause.sent(self.source.brings.pop(0))

    async def be_busy(self) -> None:
        """Let as many pauses end as it takes until the sources are held."""
        while self.pause._in_time < ROW:
            self.pause.sent(MANY)
            await self.idle()
        self.source.told.clear()

    async def idle(self) -> None:
        async with asyncio.timeout(20):
            while self.pause.active:
                await asyncio.sleep(SECONDS / 4)


async def test_a_batch_of_few_commands_holds_nobody() -> None:
    batches = Batches()
    batches.pause.sent(MANY - 1)
    assert not batches.pause.active and not batches.source.told


async def test_without_a_wait_nobody_is_held() -> None:
    batches = Batches(seconds=0)
    batches.pause.sent(MANY * 10)
    assert not batches.pause.active and not batches.source.told


async def test_a_source_is_asked_before_the_next_batch_leaves_and_released_after_it() -> None:
    batches = Batches()
    await batches.be_busy()
    batches.pause.sent(PLENTY)
    batches.pause.sent(PLENTY)  # a long queue does not wait, and makes no second pause
    await batches.idle()
    assert batches.source.told == ["hold", "take", "over", "release"]


async def test_a_source_stays_held_from_pause_to_pause_while_many_commands_come() -> None:
    batches = Batches()
    await batches.be_busy()
    batches.source.brings = [PLENTY, PLENTY, MANY - 1]
    batches.pause.sent(PLENTY)
    await batches.idle()
    assert batches.source.told == ["hold", *["take", "over", "hold"] * 2, "take", "over", "release"]


async def test_a_source_that_fails_keeps_no_batch_back() -> None:
    batches, failures = Batches(), []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context["exception"]))
    await batches.be_busy()
    batches.source.fails = True
    batches.pause.sent(PLENTY)
    await batches.idle()
    assert batches.source.told == ["hold", "take", "over", "release"]
    assert [type(one) for one in failures] == [RuntimeError]


async def test_a_batch_that_cannot_be_sent_releases_the_sources() -> None:
    batches = Batches()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    await batches.be_busy()
    batches.pause._over = lambda: batches.pause.sent(1 // 0)
    batches.pause.sent(PLENTY)
    await batches.idle()
    assert batches.source.told == ["hold", "take", "release"]


@pytest.mark.parametrize("count", [1, 3])
async def test_all_sources_are_held(count: int) -> None:
    batches = Batches()
    await batches.be_busy()
    others = [Source() for _ in range(count)]
    batches.pause.sources += others
    batches.pause.sent(PLENTY)
    await batches.idle()
    assert all(other.told == ["hold", "take", "release"] for other in others)


async def test_nobody_is_held_before_several_pauses_have_ended_in_time() -> None:
    batches = Batches()
    while batches.pause._in_time < ROW:
        assert "hold" not in batches.source.told
        batches.pause.sent(PLENTY)
        await batches.idle()
    batches.pause.sent(PLENTY)
    assert batches.source.told[-1] == "hold"


async def test_a_worker_that_is_too_busy_releases_the_sources_and_holds_none() -> None:
    batches = Batches()
    await batches.be_busy()
    batches.source.brings = [PLENTY]
    batches.pause.sent(PLENTY)
    await asyncio.sleep(0)
    time.sleep(SECONDS * (1 + LATE) * 1.1)
    await asyncio.sleep(0.001)
    assert batches.source.told == ["hold", "take", "over", "release"]
    assert batches.pause.active, "the batch that was one of many is followed by a pause all the same"
    await batches.idle()
    batches.pause.sent(PLENTY)
    assert batches.source.told.count("hold") == 1


async def test_pauses_far_from_each_other_hold_nobody() -> None:
    batches = Batches()
    await batches.be_busy()
    await asyncio.sleep(SECONDS * (CLOSE + 1))
    batches.pause.sent(PLENTY)
    assert batches.source.told == []
    await batches.idle()


async def test_a_batch_that_is_not_worth_it_releases_the_sources() -> None:
    batches = Batches()
    await batches.be_busy()
    batches.pause.sent(PLENTY - 1)
    assert batches.source.told == []
    await batches.idle()
    batches.source.told.clear()
    batches.source.brings = [PLENTY - 1]
    batches.pause.sent(PLENTY)
    await batches.idle()
    assert batches.source.told[:4] == ["hold", "take", "over", "release"]
