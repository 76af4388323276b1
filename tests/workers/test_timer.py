"""Timers on a real loop."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from tests.support.wait import until_async
from workers import Timer
from workers.counters import Counters
from workers.events import Tasks
from workers.timer import TimerWheel


@pytest.fixture(autouse=True)
async def wheel() -> TimerWheel:
    made = TimerWheel(asyncio.get_running_loop(), Tasks(), Counters())
    made.install()
    return made


async def test_a_timer_calls_again_and_again_until_it_is_deleted() -> None:
    calls: list[str] = []
    timer = Timer.add(0.01, calls.append, ("x",))
    await until_async(lambda: len(calls) >= 3, what="it was called three times")
    assert Timer.delete(timer) and not Timer.delete(timer)


async def test_one_that_is_not_persistent_calls_once_and_a_coroutine_function_runs_as_a_task() -> None:
    done = asyncio.Event()

    async def once() -> None:
        done.set()

    timer = Timer.add(0.01, once, persistent=False)
    await asyncio.wait_for(done.wait(), 5)
    assert not Timer.delete(timer)


async def test_an_exception_is_logged_and_does_not_end_the_timer(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise ValueError("on purpose")

    timer = Timer.add(0.01, fail)
    await until_async(lambda: len(calls) >= 2, what="it was called again")
    assert Timer.delete(timer)
    assert "on purpose" in caplog.text


async def test_delete_all_ends_every_timer_of_the_worker(wheel: TimerWheel) -> None:
    for _ in range(3):
        Timer.add(60, print)
    assert len(wheel.entries) == 3
    Timer.delete_all()
    assert not wheel.entries


def test_outside_a_worker_and_with_a_wrong_interval_it_says_so() -> None:
    with pytest.raises(ValueError, match="more than 0 seconds"):
        Timer.add(0, print)
    with pytest.raises(RuntimeError, match="inside a running worker"):
        contextvars.Context().run(Timer.add, 1, print)
