"""Plain functions that may block, called in threads: `@worker.on_message(threaded=True)`.

To its caller such a callback is a coroutine: the connection's next messages wait for it, and its socket is not
read when too many do. So each connection has one call under way at most, and a worker as many as it has threads.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any


class Threaded:
    """A callback that runs in a thread of the pool and is awaited on the loop."""

    __slots__ = ("_pool", "function")

    def __init__(self, function: Callable[..., Any], pool: Callable[[], Executor]) -> None:
        """`pool` is called at the first run, since the number of threads may be set after the callback."""
        self.function = function
        self._pool = pool

    async def __call__(self, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool(), self._run, *args)

    def _run(self, *args: Any) -> Any:
        try:
            result = self.function(*args)
        except StopIteration as error:  # no future takes it
            raise RuntimeError("the callback raised StopIteration") from error
        if inspect.isawaitable(result):  # a coroutine belongs to the loop; in the thread it would never be awaited
            if inspect.iscoroutine(result):
                result.close()
            raise TypeError("a threaded callback returned a coroutine, of which nothing ran: it is for plain functions")
        return result
