"""Periodic work for the rooms: rooms without members, lost last messages, slow readers, and what else is due.

A lost publication after the last one that arrived leaves no hole in the offsets. Two checks notice the loss: an ack
whose message has not come within `ACK_WITHOUT_MESSAGE`, and a look at the top of every active room each `PATROL`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from workers.bus.port import Bus, BusError, LogState
from workers.close_codes import CloseCode
from workers.rooms.ports import RoomHost
from workers.rooms.room import Room
from workers.rooms.slow_consumer import SlowConsumer
from workers.rooms.stats import RoomStats
from workers.rooms.types import LaggingMember, RoomMember
from workers.tasks import Tasks

logger = logging.getLogger(__name__)

TICK = 0.25
ACK_WITHOUT_MESSAGE = 1.0
PATROL = 20.0
PATROL_ROOMS = 256  # in one question: 0.3 ms of the store's time
LINGER = 30.0  # a client returns within this time after a reload of its page or a lost connection


Expected = tuple[float, str, int]  # since (the loop's time), epoch, offset


class Maintenance:
    """Looks after the rooms of one worker four times a second."""

    def __init__(
        self,
        rooms: dict[str, Room],
        host: RoomHost,
        bus: Bus,
        stats: RoomStats,
        *,
        lag_timeout: float,
    ) -> None:
        self._rooms = rooms
        self._host = host
        self._bus = bus
        self._stats = stats
        self._lag_timeout = lag_timeout
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        # By room: since when, epoch and offset, of the first that has not come and of the last since then.
        self._expected: dict[str, tuple[Expected, Expected]] = {}
        self._lingering: dict[Room, float] = {}  # rooms without members, until when they are kept, in that order
        self._slow_consumers: dict[LaggingMember, SlowConsumer] = {}
        self.ticked: Callable[[float], None] = _nothing  # called with the loop's time, four times a second

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
        """End a room if it is not needed within `LINGER` seconds."""
        self._lingering.pop(room, None)
        self._lingering[room] = self._loop.time() + LINGER

    def watch(self, slow_consumer: SlowConsumer) -> None:
        """Check the lag of a slow consumer, until `unwatch`."""
        self._slow_consumers[slow_consumer] = slow_consumer

    def unwatch(self, slow_consumer: LaggingMember) -> None:
        """The member no longer lags; nothing happens for one that is not watched."""
        self._slow_consumers.pop(slow_consumer, None)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._tick)
        now = self._loop.time()
        self._check_expected(now)
        self._end_lingering(now)
        self._check_slow_consumers(now)
        self.ticked(now)

    def _check_expected(self, now: float) -> None:
        due = [name for name, (first, _) in self._expected.items() if now - first[0] >= ACK_WITHOUT_MESSAGE]
        for name in due:
            first, last = self._expected.pop(name)
            if last is not first:  # which may be lost although the first came
                self._expected[name] = last, last
            _, epoch, offset = first
            room = self._rooms.get(name)
            if room is not None:
                self._host.run(room, room.follower.behind(epoch, offset))

    def _end_lingering(self, now: float) -> None:
        while self._lingering:
            room, until = next(iter(self._lingering.items()))
            if until > now:
                break
            del self._lingering[room]
            if not room.needed:
                self._host.run(room, room.follower.lingered())

    def _check_slow_consumers(self, now: float) -> None:
        self._stats.lagging = len(self._slow_consumers)
        late: dict[RoomMember, None] = {}  # each once, though it may lag in several rooms
        for slow_consumer in self._slow_consumers.values():
            if not slow_consumer.member.paused:
                slow_consumer.since = now  # the member waits for the worker, not the worker for the member
                continue
            lag = slow_consumer.lag()
            if lag < slow_consumer.least:
                slow_consumer.least, slow_consumer.since = lag, now
            elif now - slow_consumer.since > self._lag_timeout:
                late[slow_consumer.member] = None
        self._stats.cut += len(late)
        for member in late:
            member.cut(CloseCode.TOO_SLOW)

    async def _patrol(self) -> None:
        while True:
            names = list(self._rooms)
            chunks = [names[at : at + PATROL_ROOMS] for at in range(0, len(names), PATROL_ROOMS)] or [[]]
            for chunk in chunks:
                await asyncio.sleep(PATROL / len(chunks))
                self._look(chunk)

    def _look(self, names: list[str]) -> None:
        """Nearly all rooms are idle, and most are inboxes: so the store compares, and returns the others only."""
        rooms = [room for name in names if (room := self._rooms.get(name)) is not None and room.current]
        known = {room.name: room.follower.position for room in rooms}
        for some in self._bus.together(list(known)) if known else ():
            self._bus.compare([(name, known[name]) for name in some], self._compared)

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
                self._host.receive_state(room, state)


def _nothing(now: float) -> None:
    """Do nothing: no other part has something due."""
