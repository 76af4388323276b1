"""Owns every look at the store for the rooms: at most one page at a time for a room, and 64 in all.

After a lost connection all states are read first, many in one go, and then only the rooms that are behind. A page is
shared by all who wait for one; who asked after it was asked for waits for the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import Protocol

from workers.bus.port import MAX_OFFSET, Bus, BusError, Entry, LogState
from workers.rooms.follower import Effect
from workers.rooms.join import JoinPart
from workers.rooms.log_item import Item, Stretch
from workers.rooms.recovery import epoch_at
from workers.rooms.room import Room
from workers.rooms.slow_consumer import SlowConsumer
from workers.rooms.stats import RoomStats
from workers.tasks import Tasks

logger = logging.getLogger(__name__)

PAGE_ENTRIES = 512  # as many as a ring holds
PAGE_BYTES = 256 * 1024
UNDER_WAY = 64  # pages
STATES = 256  # rooms in one question for states
STATES_APART = 0.004  # seconds between two such questions: a storm of connects shares them, a single one does not wait
RETRY = 0.5  # seconds after a failed read

Asker = SlowConsumer | JoinPart


class Owner(Protocol):
    """What reading needs of the hub."""

    def run(self, room: Room, effects: list[Effect]) -> None:
        """Carry out what a follower wants."""

    def item(self, epoch: str, entry: Entry) -> Item:
        """An entry as frames."""

    def seen(self, room: Room, state: LogState) -> None:
        """The log was like that when the store was last asked for whatever reason."""

    def prefill(self, room: Room, items: list[Item]) -> None:
        """These touch what the ring holds."""


class Reading:
    """The reads of one worker."""

    def __init__(self, bus: Bus, owner: Owner, tally: RoomStats, tasks: Tasks) -> None:
        self._bus = bus
        self._tally = tally
        self._owner = owner
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._checks: deque[Room] = deque()  # rooms whose state is wanted
        self._checking = False  # a question is under way, or about to be asked
        self._asked_at = 0.0  # when the last one was
        self._waiting: deque[Room] = deque()
        self._under_way = 0

    # ---- states ------------------------------------------------------------------------------------

    def check(self, room: Room) -> None:
        """Read the state of a room's log, together with those of all others that are asked for meanwhile.

        One question is under way at a time, so that the busier the store, the more rooms share the next.
        """
        self._checks.append(room)
        if not self._checking:
            self._check_soon()

    def _check_soon(self) -> None:
        self._checking = True
        wait = self._asked_at + STATES_APART - self._loop.time()
        if wait > 0 and len(self._checks) < STATES:
            self._loop.call_later(wait, self._check)
        else:
            self._loop.call_soon(self._check)

    def _check(self) -> None:
        asked: list[tuple[Room, int]] = []
        while self._checks and len(asked) < STATES:
            room = self._checks.popleft()
            ticket = room.follower.read_started()
            if ticket is not None:
                asked.append((room, ticket))
        self._checking = bool(asked)
        if not asked:
            return
        self._asked_at = self._loop.time()
        try:
            self._bus.states([room.name for room, _ in asked], partial(self._states_came, asked))
        except Exception:
            logger.exception("reading the states of %d rooms failed", len(asked))
            self._loop.call_later(RETRY, self._states_came, asked, BusError("a bug"))

    def _states_came(self, asked: list[tuple[Room, int]], answer: list[LogState] | BusError) -> None:
        self._checking = False
        if self._checks:
            self._check_soon()
        if isinstance(answer, BusError):
            logger.debug("states of %d rooms: %s", len(asked), answer)
            self._loop.call_later(RETRY, self._failed, asked)
            return
        for (room, ticket), state in zip(asked, answer, strict=True):
            try:
                self._owner.run(room, room.follower.state_came(state, ticket))
            except Exception:  # a bug in one room: it looks again, and the others go on
                logger.exception("going on with room %s failed", room.name)
                self._loop.call_later(RETRY, self._failed, [(room, ticket)])

    def _failed(self, asked: list[tuple[Room, int]]) -> None:
        for room, ticket in asked:
            self._owner.run(room, room.follower.read_failed(ticket))

    # ---- pages -------------------------------------------------------------------------------------

    def read(self, room: Room) -> None:
        """The follower wants the page after its position."""
        room.follower_waits = True
        self._tally.catch_ups += 1
        self._queue(room)

    def ask(self, asker: Asker) -> None:
        """Somebody wants the page after its offset."""
        room = asker.room
        if room.asked is None:
            room.asked = []
        room.asked.append(asker)
        self._queue(room)

    def _queue(self, room: Room) -> None:
        if not room.reading:
            room.reading = True
            self._waiting.append(room)
            self._next()

    def _next(self) -> None:
        while self._waiting and self._under_way < UNDER_WAY:
            room = self._waiting.popleft()
            if room.follower_waits or room.asked:
                self._under_way += 1
                self._tasks.start(self._page(room), what=f"reading {room.name}")
            else:
                room.reading = False

    async def _page(self, room: Room) -> None:
        try:
            if room.follower_waits:
                await self._page_for_follower(room)
            else:
                await self._page_for_askers(room)
        except BusError as error:
            logger.debug("history of room %s: %s", room.name, error)
            await asyncio.sleep(RETRY)
        except Exception:
            logger.exception("reading room %s failed", room.name)
            await asyncio.sleep(RETRY)
        self._under_way -= 1
        room.reading = False
        if room.follower_waits or room.asked:
            self._queue(room)
        self._next()

    async def _page_for_follower(self, room: Room) -> None:
        follower = room.follower
        room.follower_waits = False
        after, limit = follower.offset, PAGE_ENTRIES if follower.epoch else 0
        ticket = follower.read_started()
        if ticket is None:
            return
        try:
            page = await self._bus.read(room.name, after=after, limit=limit, max_bytes=PAGE_BYTES)
            self._owner.run(room, follower.page_came(page, after=after, ticket=ticket))
        except Exception:  # whatever it is: a follower that waits for an answer for ever would be deaf
            self._loop.call_later(RETRY, self._failed, [(room, ticket)])
            raise

    async def _page_for_askers(self, room: Room) -> None:
        askers = room.asked or []
        after = min(asker.offset for asker in askers)
        before = len(askers)
        page = await self._bus.read(room.name, after=after, limit=PAGE_ENTRIES, max_bytes=PAGE_BYTES)
        items = [self._owner.item(epoch_at(entry.offset, page.state), entry) for entry in page.entries]
        if page.state.epoch == room.follower.epoch:
            self._owner.prefill(room, items)
        # Without more, this was the whole log: whoever wants to go on beyond it learns that from the state.
        end = items[-1].offset if page.more and items else MAX_OFFSET
        stretch = Stretch(after, min(end, page.state.top), items)
        askers = room.asked or []
        served = [asker for asker in askers[:before] if asker.offset <= end]
        room.asked = [asker for asker in askers[:before] if asker.offset > end] + askers[before:] or None
        for asker in served:
            asker.page_came(page.state, stretch)
        self._owner.seen(room, page.state)
