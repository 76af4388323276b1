"""Timers, modelled on Workerman: `Timer.add` calls a function periodically on the worker's loop."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any

from workers.callbacks.registering import signature_of
from workers.failures import Failures
from workers.node.counters import Counters
from workers.tasks import Tasks

LONGEST = 1e8  # seconds, three years: the longest wait of the event loops
EVERY = 60.0  # seconds between two warnings about one slow timer

logger = logging.getLogger(__name__)


class _Entry:
    __slots__ = ("args", "due", "function", "handle", "interval", "logged_at", "persistent", "running", "skipped")

    def __init__(self, interval: float, function: Callable[..., Any], args: tuple[Any, ...], persistent: bool) -> None:
        self.interval = interval
        self.function = function
        self.args = args
        self.persistent = persistent
        self.due = 0.0
        self.handle: asyncio.TimerHandle | None = None
        self.running = False  # the last coroutine has not ended
        self.skipped = 0  # ticks since the last warning
        self.logged_at = float("-inf")


class TimerWheel:
    """The timers of one worker; the composition root creates and installs one for `Timer`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tasks: Tasks, counters: Counters) -> None:
        self.loop = loop
        self.entries: dict[int, _Entry] = {}
        self.thread = threading.get_ident()  # of the loop
        self._tasks = tasks
        self._counters = counters
        self._failures = Failures()
        self._ids = itertools.count(1)

    def install(self) -> None:
        """Make `Timer` use this wheel in this context and in all contexts copied from it later."""
        _installed.set(self)

    def add(self, interval: float, function: Callable[..., Any], args: tuple[Any, ...], persistent: bool) -> int:
        timer_id = next(self._ids)
        entry = self.entries[timer_id] = _Entry(interval, function, args, persistent)
        self._schedule(timer_id, entry)
        return timer_id

    def _schedule(self, timer_id: int, entry: _Entry) -> None:
        # Counted from the time the timer was due, not from its run, so that intervals do not drift. Runs missed
        # while the loop was busy are skipped rather than made up for in a burst.
        now = self.loop.time()
        entry.due = max(entry.due + entry.interval, now) if entry.due else now + entry.interval
        entry.handle = self.loop.call_at(entry.due, self._run, timer_id)

    def _run(self, timer_id: int) -> None:
        entry = self.entries.get(timer_id)
        if entry is None:
            return
        if entry.persistent:
            self._schedule(timer_id, entry)
        else:
            del self.entries[timer_id]
        if entry.running:
            self._skip(timer_id, entry)
            return
        try:
            result = entry.function(*entry.args)
        except BaseException as error:
            self._failed(timer_id, entry, error)
            return
        if inspect.isawaitable(result):
            entry.running = True
            self._tasks.start(self._awaited(timer_id, entry, result), what=f"timer {timer_id}")

    async def _awaited(self, timer_id: int, entry: _Entry, waiting: Awaitable[Any]) -> None:
        try:
            await waiting
        except BaseException as error:
            if self._tasks.is_ending(error):
                raise
            self._failed(timer_id, entry, error)
        finally:
            entry.running = False

    def _skip(self, timer_id: int, entry: _Entry) -> None:
        """Skip a run while the last one is unfinished: runs would pile up without end."""
        entry.skipped += 1
        if self.loop.time() - entry.logged_at >= EVERY:
            entry.logged_at = self.loop.time()
            logger.warning(
                "timer %d (%s) still runs when it is due again, every %g s: the run is skipped (%d skipped so far)",
                timer_id,
                _name(entry.function),
                entry.interval,
                entry.skipped,
            )

    def _failed(self, timer_id: int, entry: _Entry, error: BaseException) -> None:
        self._counters.callback_errors += 1
        goes_on = "it continues" if entry.persistent else "it does not run again"
        self._failures.log(f"timer {timer_id} ({_name(entry.function)}) failed; {goes_on}", error)

    def cancel(self, timer_id: int) -> bool:
        entry = self.entries.pop(timer_id, None)
        if entry is None:
            return False
        if entry.handle is not None:
            entry.handle.cancel()
        return True


_installed: ContextVar[TimerWheel] = ContextVar("timers")


class Timer:
    """Timers of the running worker. Every method must be called on its loop (inside a callback)."""

    @staticmethod
    def add(interval: float, function: Callable[..., Any], args: Iterable[Any] = (), persistent: bool = True) -> int:
        """Call `function(*args)` every `interval` seconds, or once if `persistent` is false.

        A coroutine function is run as a task; while it runs, the timer starts no second one. An exception is
        logged, with the traceback once a minute, and does not end the timer. Returns the timer's id. Raises ValueError
        for an interval that is not positive, TypeError if `function` cannot be called with `args`, RuntimeError outside
        a worker.
        """
        if isinstance(interval, bool) or not isinstance(interval, int | float):
            raise TypeError(f"a timer's interval is a number of seconds, not {interval!r}")
        if not 0 < interval <= LONGEST:
            raise ValueError(
                f"a timer's interval must be more than 0 seconds, not {interval!r}, and {LONGEST:g} at most"
            )
        if isinstance(args, str | bytes) or not isinstance(args, Iterable):
            raise TypeError(f"a timer's args are a tuple of arguments: ({args!r},), not {args!r}")
        args = tuple(args)
        _check(function, args)
        return _wheel().add(interval, function, args, persistent)

    @staticmethod
    def delete(timer_id: int) -> bool:
        """End a timer; return False if there is no timer with that id."""
        return _wheel().cancel(timer_id)

    @staticmethod
    def delete_all() -> None:
        """End every timer of this worker."""
        wheel = _wheel()
        for timer_id in list(wheel.entries):
            wheel.cancel(timer_id)


def _check(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if inspect.iscoroutine(function):
        function.close()
        raise TypeError("a timer takes the function itself: Timer.add(1, tick), not Timer.add(1, tick())")
    if not callable(function):
        raise TypeError(f"a timer takes a function or a coroutine function, not {function!r}")
    signature = signature_of(function)
    if signature is None:
        return
    try:
        signature.bind(*args)
    except TypeError as error:
        raise TypeError(f"the timer would call {_name(function)}{signature} with {args!r}: {error}") from None


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


def _wheel() -> TimerWheel:
    try:
        wheel = _installed.get()
    except LookupError:
        raise RuntimeError(
            "Timer works inside a running worker: use it in on_worker_start or a later callback, "
            "from a thread by worker.call_soon_threadsafe(Timer.add, …)"
        ) from None
    if threading.get_ident() != wheel.thread:  # a call from another thread would not wake the loop
        raise RuntimeError(
            "Timer was called in another thread than the worker's: use worker.call_soon_threadsafe(Timer.add, …)"
        )
    return wheel
