"""Timeouts: a queue of equally long deadlines that one timer checks, instead of a timer per item."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import takewhile
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Timeouts(Generic[Item]):
    """Items that have `delay` seconds each. They expire in the order in which they were set."""

    __slots__ = ("_due", "delay")

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self._due: dict[Item, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, item: Item) -> bool:
        return item in self._due

    def __iter__(self) -> Iterator[Item]:
        return iter(self._due)

    def add(self, item: Item, now: float) -> None:
        """Set the deadline of an item that has none."""
        self._due[item] = now + self.delay

    def set(self, item: Item, now: float) -> None:
        """Set the deadline of `item`, replacing an earlier one."""
        self._due.pop(item, None)
        self._due[item] = now + self.delay

    def age(self, item: Item, now: float) -> float | None:
        """Seconds since the deadline was set; None where there is none."""
        due = self._due.get(item)
        return None if due is None else now - (due - self.delay)

    def clear(self, item: Item) -> None:
        """Remove the deadline of `item`, if there is one."""
        self._due.pop(item, None)

    def expired(self, now: float) -> Iterator[Item]:
        """Remove and yield the items that are due at `now`."""
        # In one pass: removing items one at a time from the front of a dict is quadratic.
        due = [item for item, _ in takewhile(lambda entry: entry[1] <= now, self._due.items())]
        for item in due:
            if self._due.pop(item, None) is not None:
                yield item
