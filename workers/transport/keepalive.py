"""Keepalive: the one timer of an endpoint. It sends pings and enforces the deadlines of handshakes, pongs and closes.

A timer per connection would cost more than the connection. Open connections are spread over as many buckets as a ping
interval has ticks; each tick visits one bucket, so that 40,000 pings are never one burst.

A ping behind a full write buffer tells nothing about the peer. So a reader that still takes something gets more time,
and a reader whose writing is paused is not pinged: it is dropped when it has taken nothing for `lag_timeout`. That is a
backstop; the rooms judge slow consumers sooner and by more criteria.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final, Protocol

from workers.close_codes import CloseCode
from workers.transport.config import EndpointConfig
from workers.transport.timeouts import Timeouts

LONGEST_TICK: Final = 1.0  # seconds: how late a deadline may be noticed


class Expiring(Protocol):
    """A connection with a deadline."""

    def __hash__(self) -> int: ...

    def expire(self) -> None:
        """The deadline has passed."""

    def abort(self) -> None:
        """Drop the connection."""


class PendingHandshake(Expiring, Protocol):
    """A connection whose handshake is not complete."""

    peer: tuple[str, int]  # address and port of the other end of the socket
    transport: asyncio.Transport

    def evict(self) -> None:
        """Drop the connection because others need its place."""


class PingedSocket(Expiring, Protocol):
    """An open PingedSocket as the keepalive sees it."""

    bucket: dict[PingedSocket, None]  # where the keepalive put it
    heard: bool  # whether anything arrived since the last ping
    side_work: int  # of the interval that ends with the next visit; reset here
    writing_paused: bool

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""

    @property
    def reading_paused(self) -> bool:
        """Whether nothing is read now."""

    @property
    def buffered(self) -> int:
        """Bytes that wait in this process for the reader."""

    @property
    def unsent(self) -> int:
        """Bytes that the reader's machine has not taken yet, in this process and in the kernel."""

    def ping(self) -> None:
        """Send a ping."""

    def close(self, code: int = ..., reason: str = ...) -> None:
        """Start the closing handshake."""

    def abort(self, code: int = ..., reason: str = ...) -> None:
        """Drop the connection."""


class Keepalive:
    """Open connections by the tick that visits them, and all deadlines."""

    def __init__(self, config: EndpointConfig, now: Callable[[], float]) -> None:
        shortest = min(config.ping_interval, config.ping_timeout, config.handshake_timeout, config.close_timeout)
        self.tick = min(LONGEST_TICK, shortest / 4)
        self._now = now
        self._lag_timeout = config.lag_timeout
        # Dicts, not sets: a small set takes 80 bytes per entry, since it grows fourfold.
        self._buckets: list[dict[PingedSocket, None]] = [{} for _ in range(round(config.ping_interval / self.tick))]
        self._visiting = 0  # the bucket of the next tick
        self._filling = 0  # the bucket of the next connection
        self.handshakes: Timeouts[PendingHandshake] = Timeouts(config.handshake_timeout)
        self.closings: Timeouts[Expiring] = Timeouts(config.close_timeout)
        self._answers: Timeouts[PingedSocket] = Timeouts(config.ping_timeout)
        self._restored: list[tuple[float, int, PingedSocket]] = []  # a heap: pinged by another process, by due time
        self._backlogs: dict[PingedSocket, int] = {}  # bytes that waited in front of the ping
        self._stalls: dict[PingedSocket, tuple[int, float]] = {}  # bytes that wait for a paused reader, and since when
        self._timer: asyncio.TimerHandle | None = None
        self.on_sweep: Callable[[float], None] = lambda now: None

    def __iter__(self) -> Iterator[PingedSocket]:
        return chain.from_iterable(self._buckets)

    def __len__(self) -> int:
        return sum(map(len, self._buckets))

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the timer."""
        if self._timer is None:
            self._timer = loop.call_later(self.tick, self._ticked, loop)

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def add(self, ws: PingedSocket) -> None:
        """Visit an open connection once in each ping interval."""
        ws.bucket = self._buckets[self._filling]
        ws.bucket[ws] = None
        self._filling = (self._filling + 1) % len(self._buckets)

    def ping_age(self, ws: PingedSocket, now: float) -> float | None:
        """Seconds since an unanswered ping; None where there is none."""
        return None if ws.heard else self._answers.age(ws, now)

    def restore_ping(self, ws: PingedSocket, age: float, now: float) -> None:
        """Continue the deadline of a ping that another process sent `age` seconds ago."""
        self._answers.set(ws, now)
        heapq.heappush(self._restored, (now - age + self._answers.delay, id(ws), ws))

    def remove(self, ws: PingedSocket) -> None:
        """Forget a closed connection."""
        ws.bucket.pop(ws, None)
        self._answers.clear(ws)
        self.closings.clear(ws)
        self._backlogs.pop(ws, None)
        self._stalls.pop(ws, None)

    def _ticked(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self.tick, self._ticked, loop)
        self.sweep(self._now())

    def sweep(self, now: float) -> None:
        """Visit one bucket, and act on every deadline that has passed."""
        for handshake in self.handshakes.expired(now):
            handshake.expire()
        for ws in self.closings.expired(now):
            ws.expire()
        while self._restored and self._restored[0][0] <= now:
            ws = heapq.heappop(self._restored)[2]
            if ws in self._answers:
                self._answers.clear(ws)
                self._judge(ws, now)
        for ws in self._answers.expired(now):
            self._judge(ws, now)
        self.on_sweep(now)
        for ws in tuple(self._buckets[self._visiting]):
            self._visit(ws, now)
        self._visiting = (self._visiting + 1) % len(self._buckets)

    def _visit(self, ws: PingedSocket, now: float) -> None:
        ws.side_work = 0
        if not ws.is_open or ws in self._answers:
            return
        if ws.writing_paused:
            self._watch_stall(ws, now)
            return
        self._stalls.pop(ws, None)
        if not ws.reading_paused:  # while reading is paused, a pong would not be read
            if waiting := ws.unsent:
                self._backlogs[ws] = waiting
            ws.ping()
            self._answers.set(ws, now)

    def _judge(self, ws: PingedSocket, now: float) -> None:
        """`ping_timeout` has passed without a pong."""
        before = self._backlogs.pop(ws, 0)
        if not ws.is_open or ws.heard or ws.reading_paused or ws.writing_paused:
            return
        waiting = ws.unsent
        if waiting < before:
            self._backlogs[ws] = waiting
            self._answers.set(ws, now)
        else:
            ws.close(CloseCode.NO_ANSWER, "no answer to a ping")

    def _watch_stall(self, ws: PingedSocket, now: float) -> None:
        waiting = ws.buffered
        before, since = self._stalls.get(ws, (waiting + 1, now))
        if waiting < before:
            self._stalls[ws] = (waiting, now)
        elif now - since >= self._lag_timeout:
            ws.abort(CloseCode.TOO_SLOW, "reads too slowly")
