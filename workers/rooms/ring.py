"""A room's recent entries as frames, so that most lagging members are served without a read from the store.

The ring is one unbroken stretch of the log that ends at the follower's position. The ring is pure, bounded in entries
and in bytes, and drops its oldest entries first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from workers.rooms.log_item import Item

ENTRIES = 512  # half of the default history; a page of the log holds as many


class Ring:
    """Items with the offsets start+1 … end."""

    __slots__ = ("_items", "bytes", "end")

    def __init__(self, end: int) -> None:
        self._items: deque[Item] = deque()
        self.end = end
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def start(self) -> int:
        """The offset below the first item."""
        return self.end - len(self._items)

    def extend(self, newer: Sequence[Item], limit: int) -> int:
        """Add the next items, keeping to `limit` bytes. Returns the change in bytes."""
        items = self._items
        items.extend(newer)
        self.end = newer[-1].offset
        change = 0
        for item in newer:
            change += item.size
        while self.bytes + change > limit or len(items) > ENTRIES:
            change -= items.popleft().size
        self.bytes += change
        return change

    def prepend(self, items: list[Item], limit: int) -> int:
        """Put older items, the last of which touches the ring's first, in front as far as they fit."""
        before = self.bytes
        for item in reversed(items):
            if item.offset != self.start or self.bytes + item.size > limit or len(self._items) >= ENTRIES:
                break
            self._items.appendleft(item)
            self.bytes += item.size
        return self.bytes - before

    def restart(self, end: int) -> int:
        """Forget everything: the log goes on after `end`. Returns the change in bytes."""
        freed, self.bytes = self.bytes, 0
        self._items.clear()
        self.end = end
        return -freed

    def covers(self, offset: int) -> bool:
        """Whether everything after `offset` up to the end is here."""
        return self.start <= offset <= self.end

    def after(self, offset: int, max_bytes: int) -> list[Item]:
        """The items that follow `offset`, at least one and at most about `max_bytes`; covers(offset) must hold."""
        taken: list[Item] = []
        size = 0
        for item in islice(self._items, offset - self.start, None):
            taken.append(item)
            size += len(item.frame)
            if size >= max_bytes:
                break
        return taken

    def replace(self, item: Item) -> int:
        """Put a changed item in the place of the one with its offset, which is here; the change in bytes."""
        index = item.offset - self.start - 1
        change = item.size - self._items[index].size
        self._items[index] = item
        self.bytes += change
        return change

    def at(self, offset: int) -> Item | None:
        """The item with that offset."""
        if not self.start < offset <= self.end:
            return None
        return self._items[offset - self.start - 1]
