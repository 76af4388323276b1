"""Tasks: coroutines that nobody awaits, coroutines that start without a task, and results that come by a callback."""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, Generic, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

CANCEL_TIMEOUT: Final = 1.0  # seconds that tasks have to end after their cancellation


class Tasks:
    """Starts the tasks of one worker that nobody awaits: keeps each alive, and logs its failure once."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._ending = False

    def __len__(self) -> int:
        return len(self._running)

    def start(self, coroutine: Coroutine[Any, Any, Any], *, what: str) -> asyncio.Task[Any]:
        """Run a coroutine as a task; `what` names the task in the log."""
        task = asyncio.get_running_loop().create_task(coroutine, name=what)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def begin(self, coroutine: Coroutine[Any, Any, Any], *, what: str) -> None:
        """Run a coroutine to its first suspension at once; create a task only for the rest, if there is one.

        The first step has no current task, so `coroutine` must not begin with what needs one, such as
        `asyncio.timeout`. Raises what the first step raises.
        """
        try:
            waits_for = coroutine.send(None)
        except StopIteration:
            return
        self.start(_go_on(coroutine, waits_for), what=what)

    def is_ending(self, error: BaseException) -> bool:
        """True if `error` is the cancellation by `cancel`, which a coroutine must let through.

        Any other CancelledError comes from what application code awaited, or from application code that cancelled the
        task it runs in: a failure of that code, and not the end of the task.
        """
        return self._ending and isinstance(error, asyncio.CancelledError)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=error)

    async def cancel(self) -> None:
        """Cancel all tasks and wait at most `CANCEL_TIMEOUT` seconds for them."""
        self._ending = True
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        if tasks:
            _, endless = await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT)
            for task in endless:  # a bare `except` in a loop
                logger.warning("%s does not end after its cancellation: it is abandoned", task.get_name())


class EagerCoroutine(Generic[T]):
    """Runs a coroutine to its first suspension at once, without a task; awaiting this object runs the rest.

    What the first step raises is raised by `result` or by awaiting.
    """

    __slots__ = ("_coroutine", "_error", "_result", "_waits_for", "done")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._waits_for: Any = None  # the Future of the first suspension; None for a bare yield
        self._result: T | None = None
        self._error: BaseException | None = None
        self.done = True  # the coroutine ended in its first step
        try:
            self._waits_for = coroutine.send(None)
            self.done = False
        except StopIteration as end:
            self._result = end.value
        except Exception as error:
            self._error = error

    def result(self) -> T:
        """Return or raise what the first step returned or raised; only where `done` is true."""
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]

    def __await__(self) -> Generator[Any, Any, T]:
        if self.done:
            return self.result()
        return (yield from _rest_of(self._coroutine, self._waits_for))


def _rest_of(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """The rest of a coroutine that was suspended to wait for `waits_for`, a Future or None for a bare yield."""
    if isinstance(waits_for, asyncio.Future) and waits_for.done():
        return (yield from coroutine.__await__())
    return (yield from _resume(coroutine, waits_for))


def _resume(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """Wait for what a suspended coroutine waits for, then run the rest of it; a cancellation is thrown into it."""
    try:
        yield waits_for
    except BaseException as error:
        try:
            waits_for = coroutine.throw(error)
        except StopIteration as end:
            result: T = end.value
            return result
        return (yield from _resume(coroutine, waits_for))
    return (yield from coroutine.__await__())


@types.coroutine
def _awaitable(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    return (yield from _rest_of(coroutine, waits_for))


async def _go_on(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> T:
    return await _awaitable(coroutine, waits_for)


def answer_of(start: Callable[[Callable[[T | BaseException], None]], object]) -> asyncio.Future[T]:
    """Call `start` with a callback, and return the future of what the callback is given; an exception is raised.

    A callback that comes after the future was cancelled is ignored.
    """
    answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def answered(result: T | BaseException) -> None:
        if answer.done():
            return
        if isinstance(result, BaseException):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    start(answered)
    return answer
