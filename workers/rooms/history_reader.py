"""All reads from the store for the rooms: at most one page at a time for a room, and 64 in total.

After a lost connection all states are read first, many in one query, and then only pages of rooms that are behind. All
waiting readers share a page; a reader that arrives during the read waits for the next page.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial

from workers.bus.port import MAX_OFFSET, Bus, BusError, LogState
from workers.rooms.follower import LogRead
from workers.rooms.log_item import Stretch
from workers.rooms.ports import PageReader, RoomHost
from workers.rooms.recovery import epoch_at
from workers.rooms.room import Room
from workers.rooms.stats import RoomStats
from workers.tasks import Tasks

logger = logging.getLogger(__name__)

PAGE_ENTRIES = 512  # as many as a ring holds
PAGE_BYTES = 256 * 1024
UNDER_WAY = 64  # pages
STATES = 256  # rooms in one question for states
STATES_APART = 0.004  # seconds between two such questions: a storm of connects shares them, a single one does not wait
RETRY = 0.5  # seconds after a failed read


class _Wanted:
    """The reads wanted of one room's log; exists only while a read is wanted."""

    __slots__ = ("for_follower", "readers", "under_way")

    def __init__(self) -> None:
        self.for_follower = False  # the follower wants the next page
        self.readers: list[PageReader] = []
        self.under_way = False  # a page is being read, or waits for its turn


class HistoryReader:
    """The reads of one worker."""

    def __init__(self, bus: Bus, host: RoomHost, stats: RoomStats, tasks: Tasks) -> None:
        self._bus = bus
        self._stats = stats
        self._host = host
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._checks: deque[Room] = deque()  # rooms whose state is wanted
        self._checking = False  # whether a query is under way or scheduled
        self._asked_at = 0.0  # the time of the last query
        self._wanted: dict[Room, _Wanted] = {}
        self._waiting: deque[tuple[Room, _Wanted]] = deque()
        self._under_way = 0

    # ---- states ------------------------------------------------------------------------------------

    def check(self, room: Room) -> None:
        """Read the state of a room's log, together with the states of all rooms that are requested meanwhile.

        One query is under way at a time, so that the busier the store, the more rooms share the next query.
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
        asked: list[tuple[Room, LogRead]] = []
        while self._checks and len(asked) < STATES:
            room = self._checks.popleft()
            read = room.follower.read_started()
            if read is not None:
                asked.append((room, read))
        self._checking = bool(asked)
        if not asked:
            return
        self._asked_at = self._loop.time()
        by_name = {room.name: (room, read) for room, read in asked}
        for names in self._bus.together(list(by_name)):
            some = [by_name[name] for name in names]
            try:
                self._bus.states(names, partial(self._states_came, some))
            except Exception:
                logger.exception("reading the states of %d rooms failed", len(some))
                self._loop.call_later(RETRY, self._states_came, some, BusError("a bug"))

    def _states_came(self, asked: list[tuple[Room, LogRead]], answer: list[LogState] | BusError) -> None:
        self._checking = False
        if self._checks:
            self._check_soon()
        if isinstance(answer, BusError):
            logger.debug("states of %d rooms: %s", len(asked), answer)
            self._loop.call_later(RETRY, self._failed, asked)
            return
        for (room, read), state in zip(asked, answer, strict=True):
            try:
                self._host.run(room, room.follower.state_came(state, read))
            except Exception:  # a bug in one room: the room reads again, and the others go on
                logger.exception("going on with room %s failed", room.name)
                self._loop.call_later(RETRY, self._failed, [(room, read)])

    def _failed(self, asked: list[tuple[Room, LogRead]]) -> None:
        for room, read in asked:
            self._host.run(room, room.follower.read_failed(read))

    # ---- pages -------------------------------------------------------------------------------------

    def read(self, room: Room) -> None:
        """Read the page after the follower's position."""
        self._stats.catch_ups += 1
        wanted = self._wanted_of(room)
        wanted.for_follower = True
        self._queue(room, wanted)

    def read_for(self, reader: PageReader) -> None:
        """Read the page after a reader's offset; its `receive_page` is called."""
        reader.waiting = True
        wanted = self._wanted_of(reader.room)
        wanted.readers.append(reader)
        self._queue(reader.room, wanted)

    def _wanted_of(self, room: Room) -> _Wanted:
        found = self._wanted.get(room)
        if found is None:
            found = self._wanted[room] = _Wanted()
        return found

    def _queue(self, room: Room, wanted: _Wanted) -> None:
        if not wanted.under_way:
            wanted.under_way = True
            self._waiting.append((room, wanted))
            self._next()

    def _next(self) -> None:
        while self._waiting and self._under_way < UNDER_WAY:
            room, wanted = self._waiting.popleft()
            self._under_way += 1
            self._tasks.start(self._page(room, wanted), what=f"reading {room.name}")

    async def _page(self, room: Room, wanted: _Wanted) -> None:
        try:
            if wanted.for_follower:
                await self._page_for_follower(room, wanted)
            else:
                await self._page_for_readers(room, wanted)
        except BusError as error:
            logger.debug("history of room %s: %s", room.name, error)
            await asyncio.sleep(RETRY)
        except Exception:
            logger.exception("reading room %s failed", room.name)
            await asyncio.sleep(RETRY)
        self._under_way -= 1
        wanted.under_way = False
        if wanted.for_follower or wanted.readers:
            self._queue(room, wanted)
        else:
            del self._wanted[room]
        self._next()

    async def _page_for_follower(self, room: Room, wanted: _Wanted) -> None:
        follower = room.follower
        wanted.for_follower = False
        after, limit = follower.offset, PAGE_ENTRIES if follower.epoch else 0
        read = follower.read_started()
        if read is None:
            return
        try:
            page = await self._bus.read(room.name, after=after, limit=limit, max_bytes=PAGE_BYTES)
            self._host.run(room, follower.page_came(page, after=after, read=read))
        except Exception:  # any error: a follower that waited for ever for an answer would receive nothing
            self._loop.call_later(RETRY, self._failed, [(room, read)])
            raise

    async def _page_for_readers(self, room: Room, wanted: _Wanted) -> None:
        after = min(reader.offset for reader in wanted.readers)
        before = len(wanted.readers)
        page = await self._bus.read(room.name, after=after, limit=PAGE_ENTRIES, max_bytes=PAGE_BYTES)
        items = [self._host.item(epoch_at(entry.offset, page.state), entry) for entry in page.entries]
        if page.state.epoch == room.follower.epoch:
            self._host.prefill(room, items)
        # Without more, this was the whole log: a reader that wants to go on beyond it learns that from the state.
        end = items[-1].offset if page.more and items else MAX_OFFSET
        stretch = Stretch(after, min(end, page.state.top), items)
        readers = wanted.readers
        served = [reader for reader in readers[:before] if reader.offset <= end]
        wanted.readers = [reader for reader in readers[:before] if reader.offset > end] + readers[before:]
        for reader in served:
            reader.receive_page(page.state, stretch)
        self._host.receive_state(room, page.state)
