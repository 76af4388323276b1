"""Owns when batches are written: once a turn of the loop, or later under load, and never too much at a time.

A turn writes to about `BUDGET` members; the rest waits for the next turn, so that 100,000 members of one room cannot
stall the loop for a quarter of a second. Counting members instead of looking at the clock is enough and needs no clock:
what a write really costs is paid by uvloop after the callback has returned.
"""

from __future__ import annotations

import asyncio
from collections import deque

from workers.rooms.lagger import Lagger
from workers.rooms.room import AT_ONCE, Room

BUDGET = 2048  # writes a turn: 5 ms at 2.4 µs
PUMPS = 64  # lagging members a turn, at up to 256 KiB each


class Delivery:
    """The rooms with something to write, and the lagging members that may go on."""

    def __init__(self, max_batch_delay: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._max_batch_delay = max_batch_delay
        self._dirty: deque[Room] = deque()
        self._pumping: deque[Lagger] = deque()
        self._scheduled = False
        self._pump_scheduled = False
        self._last = 0.0

    def mark(self, room: Room) -> None:
        """Its batch is to be written."""
        if room.dirty:
            return
        room.dirty = True
        self._dirty.append(room)
        if not self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        delay = self._max_batch_delay
        # A message after a quiet moment leaves at once; under load batches gather for as long as is allowed.
        if delay and self._loop.time() - self._last < delay:
            self._loop.call_later(delay, self._flush)
        else:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._max_batch_delay:
            self._last = self._loop.time()
        budget = BUDGET
        dirty = self._dirty
        for _ in range(len(dirty)):
            if budget <= 0:
                break
            room = dirty.popleft()
            room.dirty = False
            budget -= room.flush(max(budget, AT_ONCE))
            if room.busy or room.batch:
                room.dirty = True
                dirty.append(room)
        if dirty and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    # ---- lagging members ---------------------------------------------------------------------------

    def pump(self, lagger: Lagger) -> None:
        """Let it go on in a later turn."""
        if lagger.queued:
            return
        lagger.queued = True
        self._pumping.append(lagger)
        self._schedule_pump()

    def _schedule_pump(self) -> None:
        if not self._pump_scheduled:  # one at a time: a lagger that goes on from its own pump would double them
            self._pump_scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_scheduled = False
        for _ in range(min(len(self._pumping), PUMPS)):
            lagger = self._pumping.popleft()
            lagger.queued = False
            if lagger.alive:
                lagger.pump()
        if self._pumping:
            self._schedule_pump()
