"""Tasks that nobody awaits: what is begun at once becomes one only where it has to wait."""

from __future__ import annotations

import asyncio
from typing import Any

from workers.callbacks.event import Tasks


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
