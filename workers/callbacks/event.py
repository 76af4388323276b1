"""Tasks that nobody awaits, and how a plain function and a coroutine of the application are called alike."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

logger = logging.getLogger(__name__)

Callback = Callable[..., Any]

LAST_TURNS = 1.0  # seconds that tasks have to end when they are cancelled


class ApplicationExit(RuntimeError):
    """Application code raised what is no Exception: it exited, was interrupted, or awaited something cancelled.

    `on_error` is told this; the original is its `__cause__`.
    """


def contained(error: BaseException) -> Exception:
    """What application code raised, as an Exception: SystemExit and its kind must not end the worker."""
    if isinstance(error, Exception):
        return error
    wrapped = ApplicationExit(f"application code raised {error!r}")
    wrapped.__cause__ = error
    return wrapped


class Tasks:
    """The one place where a task is started that nobody awaits: it is kept alive, and its failure is logged once."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._ending = False

    def __len__(self) -> int:
        return len(self._running)

    def start(self, coroutine: Coroutine[Any, Any, Any], *, what: str) -> asyncio.Task[Any]:
        """Run a coroutine by itself; `what` names it in the log."""
        task = asyncio.get_running_loop().create_task(coroutine, name=what)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def begin(self, coroutine: Coroutine[Any, Any, Any], *, what: str) -> None:
        """Run a coroutine up to where it has to wait, at once; only if it comes to that it becomes a task.

        In that first step there is no current task, so it must not use what needs one, such as `asyncio.timeout`.
        """
        try:
            waits_for = coroutine.send(None)
        except StopIteration:
            return
        self.start(_go_on(coroutine, waits_for), what=what)

    def is_ending(self, error: BaseException) -> bool:
        """Whether `error` is our own cancellation, which a coroutine lets through.

        Any other CancelledError comes from what application code awaited, or from application code that cancelled the
        task it runs in: that is its failure, and not the end of the task.
        """
        return self._ending and isinstance(error, asyncio.CancelledError)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed", task.get_name(), exc_info=error)

    async def cancel(self) -> None:
        """End all that still run."""
        self._ending = True
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        if tasks:
            _, endless = await asyncio.wait(tasks, timeout=LAST_TURNS)
            for task in endless:  # a bare `except` in a loop
                logger.warning("%s does not end when it is cancelled: it is left", task.get_name())


class _Rest:
    """What is left of a coroutine that was driven by hand up to its first wait."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        waits_for = self._waits_for
        while True:
            try:
                sent = yield waits_for
            except BaseException as error:  # a cancellation, too, is the coroutine's to handle
                step = partial(self._coroutine.throw, error)
            else:
                step = partial(self._coroutine.send, sent)
            try:
                waits_for = step()
            except StopIteration as end:
                return end.value


async def _go_on(coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> Any:
    return await _Rest(coroutine, waits_for)


async def call(callback: Callback | None, *args: Any) -> Any:
    """Call a callback that may be missing, plain or a coroutine; its exception is the caller's to handle."""
    if callback is None:
        return None
    result = callback(*args)
    return await result if inspect.isawaitable(result) else result
