"""Tasks that nobody awaits: what is begun at once becomes one only where it has to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from workers.tasks import EagerCoroutine, Tasks, answer_of


async def test_what_has_nothing_to_wait_for_is_done_at_once_and_is_no_task():
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    tasks = Tasks()
    tasks.begin(work(), what="work")
    assert done == [1] and len(tasks) == 0


async def test_what_has_to_wait_goes_on_as_a_task():
    told: list[Any] = []
    first, second = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def work() -> None:
        told.append("begun")
        await first.wait()
        await asyncio.sleep(0)
        try:
            await second
        except ValueError as error:
            told.append(error)
        told.append(asyncio.current_task() is not None)

    tasks = Tasks()
    tasks.begin(work(), what="work")
    assert told == ["begun"] and len(tasks) == 1
    first.set()
    error = ValueError()
    second.set_exception(error)
    while len(tasks):
        await asyncio.sleep(0)
    assert told == ["begun", error, True]


async def test_a_cancellation_reaches_what_waits_and_a_failure_is_logged(caplog):
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("cancelled")

    async def failing() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("a bug")

    tasks = Tasks()
    tasks.begin(work(), what="work")
    tasks.begin(failing(), what="failing work")
    while len(tasks) == 2:
        await asyncio.sleep(0)
    await tasks.cancel()
    assert ended == ["cancelled"] and "failing work failed" in caplog.text


async def test_it_runs_to_its_first_wait_at_once_and_the_waits_go_side_by_side() -> None:
    began: list[int] = []
    gate = asyncio.Event()

    async def work(number: int) -> int:
        began.append(number)
        await gate.wait()
        if number == 1:
            raise OSError("dead")
        await asyncio.sleep(0)
        return number

    works = [EagerCoroutine(work(number)) for number in range(3)]
    assert began == [0, 1, 2]
    asyncio.get_running_loop().call_soon(gate.set)
    assert await works[0] == 0
    with pytest.raises(OSError, match="dead"):
        await works[1]
    assert await works[2] == 2


async def test_what_never_waits_has_ended_before_it_is_awaited() -> None:
    async def right() -> str:
        return "done"

    async def wrong() -> str:
        raise OSError("dead")

    good, bad = EagerCoroutine(right()), EagerCoroutine(wrong())
    assert await good == "done"
    with pytest.raises(OSError, match="dead"):
        await bad


async def test_a_cancellation_is_thrown_into_an_awaited_eager_coroutine() -> None:
    seen: list[str] = []

    async def stubborn() -> str:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0)
        return "cleaned up"

    async def awaits(eager: EagerCoroutine[str]) -> str:
        return await eager

    task = asyncio.ensure_future(awaits(EagerCoroutine(stubborn())))
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "cleaned up" and seen == ["cancelled"]


async def test_an_answer_by_a_callback_is_returned_or_raised_and_ignored_after_a_cancellation() -> None:
    callbacks: list[Callable[[Any], None]] = []
    answers = [answer_of(callbacks.append) for _ in range(3)]
    answers[2].cancel()
    for callback, result in zip(callbacks, ("placed", ValueError("refused"), "late"), strict=True):
        callback(result)
    assert await answers[0] == "placed"
    with pytest.raises(ValueError, match="refused"):
        await answers[1]
    assert answers[2].cancelled()
