"""The times at which batches are written: once a turn of the loop, or later under load, and never too much at a time.

A turn writes to as many members as `Pace` allows; the rest waits for the next turn, so that 100,000 members of one room
cannot stall the loop for a quarter of a second. The cost of the writes is known only in the next turn, since uvloop
does those with TLS after the callback has returned.

Between two turns the loop reads new messages, and the members not yet written to get these messages by the same write.
So turns are short while messages arrive faster than they are written: more of them leave together. While no message
arrives, a break brings nothing, and turns are long.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from time import perf_counter
from typing import Protocol

from chatmaster.stats import BUCKET_BOUNDS
from workers.rooms.log_item import Item
from workers.rooms.stats import RoomStats
from workers.rooms.types import LaggingMember, Transport
from workers.transport.answers import AnswerQueue
from workers.transport.socket_transport import write_to_all

logger = logging.getLogger(__name__)

# A room of so many members is written to without a break: a write costs up to 2.4 µs, most of it in the kernel.
AT_ONCE = 256
SLICE = 64  # members of a larger room between two looks at what the turn has left
# Writes a turn while connections move, however long turns take, since the moving connections share them: with fewer, a
# message would wait for those that move; with more, those that move would wait for the message.
HASTE = 512
PUMPS = 64  # lagging members a turn, at up to 256 KiB each

TURN = 0.005  # seconds that writing may take of one turn
BUSY_TURN = 0.001  # the same under a backlog: batches of more than one message
FIRST_GUESS = 2.4e-6  # seconds a write, on a quiet machine; a virtual one may take 10 µs
LEAST, BUSY_LEAST, MOST = 256, 64, 4096  # writes a turn
WEIGHT = 0.25  # of the newest turn in the average


class Flushable(Protocol):
    """A room, as the flush queue sees it."""

    dirty: bool  # in the queue; written by the queue alone

    @property
    def batch(self) -> Sequence[Item]:
        """The items that wait to be written."""

    @property
    def busy(self) -> bool:
        """Whether a batch is being written."""

    def flush(self, budget: int) -> int:
        """Write to about `budget` members; return the number of members written to."""


class Pace:
    """The number of writes in a turn, and the time that a batch may wait for more messages. Pure.

    Both depend on the duration of the last turns, and on the number of messages in the last batch.

    Times are seconds of one monotonic clock. With `max_batch_delay` 0 no batch ever waits.
    """

    __slots__ = ("_delay", "_ended", "_per_write", "_took", "busy", "may_wait", "writes")

    def __init__(self, max_batch_delay: float) -> None:
        self._delay = max_batch_delay
        self._per_write = FIRST_GUESS
        self._took = 0.0
        self._ended = 0.0
        self.busy = False  # messages come faster than they are written
        self.may_wait = max_batch_delay > 0  # whether `wait` can ever be above 0
        self.writes = self._writes()  # members that one turn may write to

    def _writes(self) -> int:
        turn, least = (BUSY_TURN, BUSY_LEAST) if self.busy else (TURN, LEAST)
        return min(max(int(turn / self._per_write), least), MOST)

    def gathered(self, messages: int) -> None:
        """A batch of `messages` messages was written."""
        busy = messages > 1
        if busy is not self.busy:
            self.busy = busy
            self.writes = self._writes()

    def turned(self, writes: int, took: float) -> None:
        """A turn with `writes` writes took `took` seconds; a turn with few writes says nothing about their cost."""
        if writes >= BUSY_LEAST:
            self._per_write += WEIGHT * (took / writes - self._per_write)
            self.writes = self._writes()

    def flushed(self, took: float, now: float) -> None:
        """All waiting batches were written, in `took` seconds."""
        self._took, self._ended = took, now

    def wait(self, now: float) -> float:
        """Seconds that a message which arrived just now waits for more.

        The wait is as long as the writes of the last batch took, so that batches grow with the load: a message after a
        quiet moment leaves at once, and under load half of the time remains for incoming data.
        """
        return max(0.0, self._ended + min(self._delay, self._took) - now)


class FlushQueue:
    """The rooms with something to write, and the lagging members that may go on."""

    def __init__(self, max_batch_delay: float, stats: RoomStats, answers: AnswerQueue) -> None:
        self._loop = asyncio.get_running_loop()
        self._answers = answers
        self._stats = stats
        self._pace = Pace(max_batch_delay)
        self._dirty: deque[Flushable] = deque()
        self._pumping: deque[LaggingMember] = deque()
        self._scheduled = False
        self._pump_scheduled = False
        self._since = 0.0  # the beginning of the flush under way
        self._haste = False

    def hasten(self, *, haste: bool) -> None:
        """Write to a fixed number of members a turn, because connections move in the same turns; or as usual again."""
        self._haste = haste

    @property
    def writing_since(self) -> float:
        """When the flush under way began, by `perf_counter`; 0 where there is none."""
        return self._since

    def mark(self, room: Flushable) -> None:
        """Queue a room, whose batch is to be written."""
        if room.dirty:
            return
        room.dirty = True
        self._dirty.append(room)
        if not self._scheduled:
            self._scheduled = True
            wait = self._pace.wait(perf_counter()) if self._pace.may_wait else 0.0
            if wait > 0:
                self._loop.call_later(wait, self._flush)
            else:
                self._loop.call_soon(self._flush)

    def write(self, transports: Collection[Transport], items: list[Item]) -> int:
        """Write a batch to a few members, to each with the answers that wait for it, and count the batch.

        Returns the number of members written to.
        """
        data = items[0].frame if len(items) == 1 else b"".join([item.frame for item in items])
        if not data:
            return 0
        waiting, members = self._answers.waiting, len(transports)
        if waiting and not waiting.keys().isdisjoint(transports):
            transports = self._write_with_answers(transports, data)
        write_to_all(transports, data)
        self.written(items, members, len(data))
        return members

    def _write_with_answers(self, transports: Iterable[Transport], data: bytes) -> list[Transport]:
        """Write to the members for whom answers wait; return the others."""
        waiting, others = self._answers.waiting, []
        for transport in transports:
            if transport in waiting:
                write_to_all((transport,), data + waiting.pop(transport))
            else:
                others.append(transport)
        return others

    def written(self, items: list[Item], members: int, size: int) -> None:
        """Count a batch of `size` bytes that was written to `members` members; inlined, as it runs for each batch."""
        stats, oldest, count = self._stats, items[0].time, len(items)
        if (count > 1) is not self._pace.busy:
            self._pace.gathered(count)
        stats.deliveries += count * members
        stats.bytes_out += size * members
        if oldest:  # by the store's clock, which on another machine may be ahead
            lag, histogram = time.time() - oldest / 1000, stats.delivery_lag
            if lag < 0.0:
                lag = 0.0
            histogram.counts[bisect_left(BUCKET_BOUNDS, lag)] += 1
            histogram.sum += lag

    def _flush(self) -> None:
        self._scheduled = False
        began = perf_counter()
        self._since = self._since or began
        most = budget = HASTE if self._haste else self._pace.writes
        dirty, awaited = self._dirty, self._answers.awaited
        for _ in range(len(dirty)):
            if budget <= 0:
                break
            room = dirty.popleft()
            room.dirty = False
            budget -= room.flush(max(budget, SLICE))
            if awaited:
                awaited.discard(room)
            if room.batch or room.busy:
                room.dirty = True
                dirty.append(room)
        self._answers.messages_written()
        if dirty or most - budget >= BUSY_LEAST or self._pace.may_wait:
            self._loop.call_soon(self._written, most - budget, began)
        else:
            self._since = 0.0
        if dirty and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _written(self, writes: int, began: float) -> None:
        """The turn that wrote is over."""
        now = perf_counter()
        if not self._haste:  # else the turn also had connections that move
            self._pace.turned(writes, now - began)
        if not self._dirty:
            self._pace.flushed(now - self._since, now)
            self._since = 0.0

    # ---- lagging members ---------------------------------------------------------------------------

    def pump(self, consumer: LaggingMember) -> None:
        """Let a lagging member go on in a later turn."""
        if consumer.queued:
            return
        consumer.queued = True
        self._pumping.append(consumer)
        self._schedule_pump()

    def _schedule_pump(self) -> None:
        if not self._pump_scheduled:  # one at a time: a member that goes on from its own pump would double them
            self._pump_scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_scheduled = False
        for _ in range(min(len(self._pumping), PUMPS)):
            consumer = self._pumping.popleft()
            consumer.queued = False
            if consumer.alive:
                consumer.pump()
        if self._pumping:
            self._schedule_pump()
