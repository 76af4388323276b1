"""Deadlines of equal length for many things at once: a queue that one timer looks at, instead of a timer each."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import takewhile
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Timeouts(Generic[Item]):
    """Things that have `delay` seconds each. They come due in the order in which they were set."""

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
        """Give `item`, which has none, its time."""
        self._due[item] = now + self.delay

    def set(self, item: Item, now: float) -> None:
        """Give `item` its time, again if it had some."""
        self._due.pop(item, None)
        self._due[item] = now + self.delay

    def age(self, item: Item, now: float) -> float | None:
        """Seconds since it was set; None where it is not."""
        due = self._due.get(item)
        return None if due is None else now - (due - self.delay)

    def clear(self, item: Item) -> None:
        """Take `item` out, if it is there."""
        self._due.pop(item, None)

    def expired(self, now: float) -> Iterator[Item]:
        """Take out what is due at `now`, one by one."""
        # Looked up in one pass: taking them one at a time from the front of a dict costs the square.
        due = [item for item, _ in takewhile(lambda entry: entry[1] <= now, self._due.items())]
        for item in due:
            if self._due.pop(item, None) is not None:
                yield item
