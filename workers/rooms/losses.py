"""Notices that acknowledged entries are gone, and has it told in the room; see `acknowledged.py`.

Where the store may have changed, the worker asks for the last entry of each room that was acknowledged here. Of each
that is gone it writes so into the room's log, once for all workers, as an entry of its own. So the loss is told to
everybody in the room in its place among the messages, and to those who come back later. Members who were told since
the last of it was acknowledged, by such an entry or because their own position was lost, are not told again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from workers.bus.port import Bus, BusError, Entry, Placed
from workers.rooms.acknowledged import KEEP, AckedEntry, Acknowledged
from workers.tasks import Tasks, answer_of

logger = logging.getLogger(__name__)

# Seconds after the first sign of a change: in a cluster the shards of a master move one after the other.
CHECKS: Final = (0.0, 5.0, 15.0)
AT_ONCE: Final = 256  # rooms in one question: less than a millisecond of the store's time
RETRY: Final = 1.0  # seconds
GIVE_UP: Final = 120.0  # seconds for which a check is tried again


class Lost(msgspec.Struct, frozen=True):
    """What an entry with the verb LOSS says: acknowledged entries of an epoch are gone."""

    room: str
    lost: str
    age: float  # seconds from the last of them to this entry


def lost_of(entry: Entry) -> Lost:
    """Decode the entry."""
    return msgspec.json.decode(entry.payload, type=Lost)


class LossWatch:
    """The watch of one worker; every method is called on the loop."""

    def __init__(self, bus: Bus, tasks: Tasks) -> None:
        self._bus = bus
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._acknowledged = Acknowledged()
        self.placed = self._acknowledged.placed  # what the store has acknowledged to this worker
        self._told: dict[str, tuple[str, float]] = {}  # room -> the lost epoch that its members were told of last, when
        self._checks: list[asyncio.TimerHandle] = []
        self._turn: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to forget what is old."""
        self._turn = self._loop.call_later(KEEP, self._forget)

    def stop(self) -> None:
        """End all timers."""
        for timer in (*self._checks, self._turn):
            if timer is not None:
                timer.cancel()

    def _forget(self) -> None:
        self._acknowledged.turn()
        self._told.clear()
        self.start()

    # ---- what was told -----------------------------------------------------------------------------

    def told(self, room: str, epoch: str) -> None:
        """The members of a room were told that what they had of this epoch is lost."""
        self._told[room] = epoch, self._loop.time()

    def is_told(self, loss: Lost) -> bool:
        """Whether they were told of this epoch after the last of it was acknowledged."""
        epoch, at = self._told.get(loss.room, ("", 0.0))
        return epoch == loss.lost and at >= self._loop.time() - loss.age

    # ---- checks --------------------------------------------------------------------------------------

    def store_changed(self) -> None:
        """Another store answers, or the store was restarted: it may lack what was acknowledged."""
        for timer in self._checks:
            timer.cancel()
        self._checks = [self._loop.call_later(wait, self._start_check) for wait in CHECKS]

    def _start_check(self) -> None:
        self._tasks.start(self._check(), what="looking for what was acknowledged")

    async def _check(self) -> None:
        by_room: dict[str, list[AckedEntry]] = {}
        for answer in self._acknowledged.answers():
            by_room.setdefault(answer.room, []).append(answer)
        deadline = self._loop.time() + GIVE_UP
        for rooms in self._bus.together(list(by_room)):
            answers = [answer for room in rooms for answer in by_room[room]]
            for at in range(0, len(answers), AT_ONCE):
                await self._check_some(answers[at : at + AT_ONCE], deadline)

    async def _check_some(self, answers: list[AckedEntry], deadline: float) -> None:
        while True:
            try:
                await self._ask(answers)
                return
            except BusError as error:
                if self._loop.time() > deadline:
                    logger.error("whether %d acknowledged messages are lost is not known: %s", len(answers), error)
                    return
            await asyncio.sleep(RETRY)

    async def _ask(self, answers: list[AckedEntry]) -> None:
        """Note what is missing. Raises BusError."""

        def missing(done: Callable[[list[int] | BusError], None]) -> None:
            self._bus.missing([(one.room, one.position) for one in answers], done)

        for number in await answer_of(missing):
            await self._note(answers[number])
        self._acknowledged.confirmed(answers)

    async def _note(self, answer: AckedEntry) -> None:
        def note(done: Callable[[Placed | BusError | None], None]) -> None:
            self._bus.note_loss(answer.room, answer.position, age=self._loop.time() - answer.at, done=done)

        noted = await answer_of(note)
        self._acknowledged.noted(answer)
        if noted is not None:
            logger.warning(
                "room %s: what was acknowledged up to offset %d of %s is lost; members are told at offset %d of %s",
                answer.room, answer.offset, answer.epoch, noted.offset, noted.epoch,
            )  # fmt: skip
