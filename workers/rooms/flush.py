"""Owns when batches are written: once a turn of the loop, or later under load, and never too much at a time.

A turn writes to as many members as `Pace` says; the rest waits for the next turn, so that 100,000 members of one room
cannot stall the loop for a quarter of a second. What writes cost is known only in the next turn, since uvloop does them
after the callback has returned.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter

from workers.rooms.pace import Pace
from workers.rooms.room import AT_ONCE, Room
from workers.rooms.slow_consumer import SlowConsumer

# Writes a turn while connections move: each of them waits for several turns of two loops, which must be short.
HASTE = 512
PUMPS = 64  # lagging members a turn, at up to 256 KiB each


class Delivery:
    """The rooms with something to write, and the lagging members that may go on."""

    def __init__(self, max_batch_delay: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(max_batch_delay)
        self._dirty: deque[Room] = deque()
        self._pumping: deque[SlowConsumer] = deque()
        self._scheduled = False
        self._pump_scheduled = False
        self._since = 0.0  # when the flush began that is under way
        self._haste = False

    def hasten(self, *, haste: bool) -> None:
        """Write to fewer members a turn, because something waits for turns of the loop; or as usual again."""
        self._haste = haste

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
        wait = self._pace.wait(perf_counter()) if self._pace.may_wait else 0.0
        if wait > 0:
            self._loop.call_later(wait, self._flush)
        else:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        began = perf_counter()
        self._since = self._since or began
        most = budget = HASTE if self._haste else self._pace.writes
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
        if dirty or most - budget >= AT_ONCE or self._pace.may_wait:
            self._loop.call_soon(self._written, most - budget, began)
        else:
            self._since = 0.0
        if dirty and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _written(self, writes: int, began: float) -> None:
        """The turn that wrote is over."""
        now = perf_counter()
        self._pace.turned(writes, now - began)
        if not self._dirty:
            self._pace.flushed(now - self._since, now)
            self._since = 0.0

    # ---- lagging members ---------------------------------------------------------------------------

    def pump(self, slow_consumer: SlowConsumer) -> None:
        """Let it go on in a later turn."""
        if slow_consumer.queued:
            return
        slow_consumer.queued = True
        self._pumping.append(slow_consumer)
        self._schedule_pump()

    def _schedule_pump(self) -> None:
        if not self._pump_scheduled:  # one at a time: a slow_consumer that goes on from its own pump would double them
            self._pump_scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_scheduled = False
        for _ in range(min(len(self._pumping), PUMPS)):
            slow_consumer = self._pumping.popleft()
            slow_consumer.queued = False
            if slow_consumer.alive:
                slow_consumer.pump()
        if self._pumping:
            self._schedule_pump()
