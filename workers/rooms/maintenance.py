"""Owns what the rooms need from time to time: deadlines of joins, rooms nobody is in, silent tails, readers too slow.

A message whose publication was lost after the last one that came leaves no hole in the offsets, so nothing would
notice it. Two things do: an ack whose message has not come within `ACK_WITHOUT_MESSAGE`, and a look at the top of
every active room each `PATROL`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from workers.bus.port import Bus, BusError, LogState, Unavailable
from workers.rooms.follower import Effect
from workers.rooms.join import PendingJoin
from workers.rooms.room import Room
from workers.rooms.slow_consumer import SlowConsumer
from workers.rooms.stats import RoomStats
from workers.tasks import Tasks

logger = logging.getLogger(__name__)

TICK = 0.25
ACK_WITHOUT_MESSAGE = 1.0
PATROL = 20.0
PATROL_ROOMS = 256  # in one question: 0.3 ms of the store's time
LINGER = 30.0  # a reload of a page, or a lost connection, comes back within it


Expected = tuple[float, str, int]  # since (the loop's time), epoch, offset


class Follows(Protocol):
    """What maintenance needs of the followers' shell."""

    def run(self, room: Room, effects: list[Effect]) -> None:
        """Carry out what a follower wants."""

    def seen(self, room: Room, state: LogState) -> None:
        """The log was like that when the store was asked."""


class Maintenance:
    """Looks after the rooms of one worker four times a second."""

    def __init__(
        self,
        rooms: dict[str, Room],
        follows: Follows,
        bus: Bus,
        tally: RoomStats,
        *,
        lag_timeout: float,
        cut: Callable[[SlowConsumer], None],
    ) -> None:
        self._rooms = rooms
        self._follows = follows
        self._bus = bus
        self._tally = tally
        self._cut = cut
        self._lag_timeout = lag_timeout
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        # By room: since when, epoch and offset, of the first that has not come and of the last since then.
        self._expected: dict[str, tuple[Expected, Expected]] = {}
        self._lingering: dict[Room, None] = {}
        self.joins: set[PendingJoin] = set()
        self.slow_consumers: set[SlowConsumer] = set()

    def start(self, tasks: Tasks) -> None:
        self._tick()
        tasks.start(self._patrol(), what="looking at the tops of rooms")

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def expect(self, room: str, epoch: str, offset: int) -> None:
        """The log has this entry; the room's follower should have it soon."""
        last = (self._loop.time(), epoch, offset)
        first, _ = self._expected.get(room) or (last, last)
        self._expected[room] = first, last

    def linger(self, room: Room) -> None:
        """Nobody is in it any more."""
        room.linger = self._loop.time() + LINGER
        self._lingering.pop(room, None)
        self._lingering[room] = None

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._tick)
        now = self._loop.time()
        self._check_expected(now)
        self._end_lingering(now)
        self._check_laggers(now)
        for join in [one for one in self.joins if one.deadline <= now]:
            join.fail(Unavailable("the store did not answer in time"))

    def _check_expected(self, now: float) -> None:
        due = [name for name, (first, _) in self._expected.items() if now - first[0] >= ACK_WITHOUT_MESSAGE]
        for name in due:
            first, last = self._expected.pop(name)
            if last is not first:  # which may be lost although the first came
                self._expected[name] = last, last
            _, epoch, offset = first
            room = self._rooms.get(name)
            if room is not None:
                self._follows.run(room, room.follower.behind(epoch, offset))

    def _end_lingering(self, now: float) -> None:
        while self._lingering:
            room = next(iter(self._lingering))
            if room.linger > now:
                break
            del self._lingering[room]
            if not room.needed:
                self._follows.run(room, room.follower.lingered())

    def _check_laggers(self, now: float) -> None:
        self._tally.lagging = len(self.slow_consumers)
        for slow_consumer in list(self.slow_consumers):
            if not slow_consumer.member.paused:
                slow_consumer.since = now  # it waits for us, not we for it
                continue
            lag = slow_consumer.lag()
            if lag < slow_consumer.least:
                slow_consumer.least, slow_consumer.since = lag, now
            elif now - slow_consumer.since > self._lag_timeout:
                self._cut(slow_consumer)

    async def _patrol(self) -> None:
        while True:
            names = list(self._rooms)
            chunks = [names[at : at + PATROL_ROOMS] for at in range(0, len(names), PATROL_ROOMS)] or [[]]
            for chunk in chunks:
                await asyncio.sleep(PATROL / len(chunks))
                self._look(chunk)

    def _look(self, names: list[str]) -> None:
        """Nearly all of them are idle, most of them inboxes: so the store compares, and tells only which are not."""
        rooms = [room for name in names if (room := self._rooms.get(name)) is not None and room.current]
        if rooms:
            self._bus.compare([(room.name, room.follower.position) for room in rooms], self._compared)

    def _compared(self, answer: list[str] | BusError) -> None:
        if isinstance(answer, BusError):
            logger.debug("the tops of rooms: %s", answer)
        elif answer:
            self._bus.states(answer, partial(self._states_came, answer))

    def _states_came(self, names: list[str], answer: list[LogState] | BusError) -> None:
        if isinstance(answer, BusError):
            logger.debug("the tops of %d rooms: %s", len(names), answer)
            return
        for name, state in zip(names, answer, strict=True):
            room = self._rooms.get(name)
            if room is not None and room.current:
                self._follows.seen(room, state)
