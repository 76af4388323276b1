"""Waiting for a condition with a deadline: the only way in which a test waits for another process.

`until` sleeps between two looks, `until_async` gives the loop back instead. Both return the first true value of the
condition, and raise `WaitedTooLong`, which says what was waited for and what was last seen.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

TIMEOUT = 10.0  # seconds; generous, since a test that passes does not wait for it
_FIRST, _LAST = 0.002, 0.1  # seconds between two looks: doubled from the one to the other


class WaitedTooLong(AssertionError):
    """The condition did not come true by its deadline."""


def until(condition: Callable[[], T], timeout: float = TIMEOUT, what: str = "") -> T:
    """Look until `condition()` is true and return what it gave.

    `what` names it in the failure, best as a sentence that is not true yet: "the worker is ready".
    """
    deadline = time.monotonic() + timeout
    pause = _FIRST
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise _failure(condition, value, timeout, what)
        time.sleep(pause)
        pause = min(pause * 2, _LAST)
    return value


@overload
async def until_async(condition: Callable[[], Awaitable[T]], timeout: float = TIMEOUT, what: str = "") -> T: ...
@overload
async def until_async(condition: Callable[[], T], timeout: float = TIMEOUT, what: str = "") -> T: ...
async def until_async(condition: Callable[[], Any], timeout: float = TIMEOUT, what: str = "") -> Any:
    """The same inside an event loop; the condition may be a coroutine function."""
    deadline = time.monotonic() + timeout
    pause = _FIRST
    while not (value := await _value_of(condition())):
        if time.monotonic() > deadline:
            raise _failure(condition, value, timeout, what)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LAST)
    return value


async def _value_of(given: Any) -> Any:
    return await given if inspect.isawaitable(given) else given


def _failure(condition: Callable[[], object], value: object, timeout: float, what: str) -> WaitedTooLong:
    name = what or getattr(condition, "__qualname__", repr(condition))
    return WaitedTooLong(f"after {timeout:g} s still not true: {name} (last seen: {value!r})")
