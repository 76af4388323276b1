"""Rows of an answer, put into packets that fit the channel to the master; and those of a room that wait to be sent.

Packets are filled by bytes, not by the number of rows. What cannot be kept for who follows a room is counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from chatmaster import contract

Row = dict[str, Any]

HEAD = 256  # bytes of a packet for everything but rows
ROOM = contract.MAX_PACKET - HEAD


def answers(query_id: int, rows: Iterable[Row]) -> Iterator[contract.Answer]:
    """The rows in order, none of them the last answer."""
    together: list[Row] = []
    size = 0
    for row in rows:
        encoded = contract.encode(row)
        if together and size + len(encoded) > ROOM:
            yield contract.Answer(query_id, together, last=False)
            together, size = [], 0
        if len(encoded) > ROOM:
            yield from _pieces(query_id, encoded)
        else:
            together.append(row)
            size += len(encoded)
    if together:
        yield contract.Answer(query_id, together, last=False)


def _pieces(query_id: int, encoded: bytes) -> Iterator[contract.Answer]:
    for start in range(0, len(encoded), ROOM):
        end = start + ROOM
        yield contract.Answer(query_id, last=False, piece=encoded[start:end], more=end < len(encoded))


class Lines:
    """A queue that never grows beyond `most` rows and says in a row of its own how many it had to drop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: deque[Row] = deque()
        self._lost = 0
        self._some = asyncio.Event()

    def put(self, row: Row) -> None:
        """Add a row; too many at once are only counted."""
        if len(self._rows) >= self._most:
            self.lose()
            return
        if self._lost:
            self._rows.append({"lost": self._lost})
            self._lost = 0
        self._rows.append(row)
        self._some.set()

    def lose(self) -> None:
        """One row is not there any more."""
        self._lost += 1
        self._some.set()

    async def next(self) -> Row:
        """The next row, once there is one."""
        while not self._rows and not self._lost:
            self._some.clear()
            await self._some.wait()
        if self._rows:
            return self._rows.popleft()
        lost, self._lost = self._lost, 0
        return {"lost": lost}
