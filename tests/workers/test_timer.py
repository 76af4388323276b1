"""Timers on a real loop."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from tests.support.wait import until_async
from workers import Timer
from workers.node.counters import Counters
from workers.tasks import Tasks
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


async def test_a_coroutine_that_takes_longer_than_its_interval_runs_once_at_a_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    running, most, begun = 0, 0, 0
    go_on = asyncio.Event()

    async def slow() -> None:
        nonlocal running, most, begun
        begun += 1
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1

    Timer.add(0.005, slow)
    await until_async(lambda: "still runs when it is due again" in caplog.text, what="it is said")
    assert (begun, most) == (1, 1)
    go_on.set()
    await until_async(lambda: begun > 3, what="it goes on afterwards")
    assert most == 1 and caplog.text.count("still runs when it is due again") == 1


async def test_what_could_only_fail_later_is_refused_when_it_is_added() -> None:
    async def tick(one: int) -> None: ...

    for function, args, said in (
        (tick, (), "would call .*tick"),
        (tick, (1, 2), "too many positional"),
        (tick, "x", r"args are a tuple of arguments: \('x',\)"),
        (tick(1), (), r"Timer.add\(1, tick\), not Timer.add\(1, tick\(\)\)"),
        ("tick", (), "takes a function or a coroutine function, not 'tick'"),
    ):
        with pytest.raises(TypeError, match=said):
            Timer.add(1, function, args)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="more than 0 seconds, not inf"):
        Timer.add(float("inf"), tick, (1,))


@pytest.mark.parametrize("interval", ["5", None, True, 10**400, 0, -1, float("nan"), float("inf"), 1e300])
def test_an_interval_that_is_none_is_refused_in_words(interval: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="a timer's interval"):
        Timer.add(interval, print)


@pytest.mark.parametrize("args", [None, 5, "x", b"x"])
def test_arguments_that_are_no_list_are_refused_in_words(args: Any) -> None:
    with pytest.raises(TypeError, match="a timer's args are a tuple"):
        Timer.add(1, print, args)


async def test_another_thread_is_told_how_to_reach_the_timers(wheel: TimerWheel) -> None:
    """`asyncio.to_thread` takes the context along, and the loop would not wake up for such a timer."""
    for call in (lambda: Timer.add(1, print), lambda: Timer.delete(1), Timer.delete_all):
        with pytest.raises(RuntimeError, match="in another thread than the worker's"):
            await asyncio.to_thread(call)
    assert not wheel.entries
