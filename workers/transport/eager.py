"""Owns how many short waits go side by side without a task for each: what is awaited one by one has begun before."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class EagerCoroutine(Generic[T]):
    """A coroutine that runs to its first wait at once. Awaited, it goes on from there: in no time if that is over."""

    __slots__ = ("_coroutine", "_ended", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._waits_for: Future[Any] | None = None
        self._ended: tuple[T | None, BaseException | None] | None = None
        try:
            self._waits_for = coroutine.send(None)
        except StopIteration as end:
            self._ended = end.value, None
        except Exception as error:
            self._ended = None, error

    def __await__(self) -> Generator[Any, Any, T]:
        if self._ended is not None:
            result, error = self._ended
            if error is not None:
                raise error
            return result  # type: ignore[return-value]
        if self._waits_for is not None and not self._waits_for.done():
            yield self._waits_for
        return (yield from self._coroutine.__await__())
