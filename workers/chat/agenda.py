"""Owns when sessions are to be looked at again. Pure.

Most are gone, or need it no more, long before that: a token may last for days. So what is not wanted any longer is
thrown out when it is more than what may be.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

SPARE: Final = 100  # entries that are no reason to look through all


class Agenda(Generic[Item]):
    """Things by the time at which they are due."""

    __slots__ = ("_entries", "_numbers")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Item]] = []  # a heap
        self._numbers = count()  # of equal times the first comes first

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, at: float, item: Item) -> None:
        """`item` is due at that time, besides the times that it has already."""
        heapq.heappush(self._entries, (at, next(self._numbers), item))

    def due(self, now: float) -> Iterator[Item]:
        """Take out what is due at `now`, one by one."""
        while self._entries and self._entries[0][0] <= now:
            yield heapq.heappop(self._entries)[2]

    def tidy(self, here: int, wanted: Callable[[float, Item], bool]) -> None:
        """With far more entries than the `here` things there are, keep but one each of those that are `wanted`."""
        if len(self._entries) > 2 * here + SPARE:
            kept = {id(item): (at, number, item) for at, number, item in self._entries if wanted(at, item)}
            self._entries = list(kept.values())
            heapq.heapify(self._entries)
