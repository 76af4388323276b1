"""The I/O of presence: `Presence` carries the local state's writes to the store, and the store's notes to the views.

The load on the store is bounded whatever the clients do: a room has one write under way, with up to 128 users; a
worker has at most `CONCURRENT` writes under way, and collects changes for `DELAY` before the next write; a large room
is written once a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from chatmaster.settings import Settings
from workers.bus.port import BusError, StoreRefused, Unavailable
from workers.bus.script import Argument, ScriptRunner, scripts_of
from workers.cluster import keys
from workers.cluster.lease import Lease
from workers.presence.dead_workers import DeadWorkerReaper
from workers.presence.local_state import GRACE, MAX_WRITE, Claims, LocalPresence, Write
from workers.presence.room_view import LARGE, LARGE_INTERVAL, PresenceChange, RoomView, decode_note
from workers.tasks import Tasks

logger = logging.getLogger(__name__)

DELAY = 0.05  # seconds that changes are collected before they are written
CONCURRENT = 64  # writes under way
CLAIMS = 500  # rooms in one claim
RETRY = 1.0  # seconds after the store refused a write
REFRESH = 30.0  # seconds in which every room with members on this worker is compared with the store once
REFRESH_STEPS = 30
# Seconds for the last writes. A large room is written once a second, and the worker's successor waits meanwhile:
# changes that were not written go with the incarnation when its grace is over.
STOP_TIMEOUT = 0.5
SUCCESSION = 1.0  # seconds that a worker's start waits for the users of a dead one to leave
MOVE_GRACE = 0.4  # seconds in which a connection that moves counts at both workers, where there is no other grace
MARK = b"p"  # the first byte of a note of presence; other notes of a room begin with another byte


class PresentUser(Struct, frozen=True):
    """A user in a room, over all workers."""

    user: str
    name: str
    connections: int


class PresentUsers(Struct, frozen=True):
    """The users in a room: some or all of `count` users."""

    members: tuple[PresentUser, ...]
    count: int

    @property
    def truncated(self) -> bool:
        """True if the room has more users than are listed."""
        return self.count > len(self.members)


Announce = Callable[[str, PresenceChange], None]


class Presence:
    """The users in each room, over all workers and machines. Made inside the running loop.

    `announce(room, change)` is called on the loop with each change that the room's members on this worker must get.
    """

    def __init__(
        self, calls: ScriptRunner, lease: Lease, settings: Settings, announce: Announce, *, grace: float = GRACE
    ) -> None:
        self._calls = calls
        self._lease = lease
        self._name = settings.master.name
        self._interval = settings.chat.presence_interval
        self._names = settings.chat.presence_names
        self._announce = announce
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()
        self._write_script, self._claim_script, self._members_script = map(
            calls.script, scripts_of(Path(__file__).parent, "write", "claim", "members")
        )
        self._ledger = LocalPresence(grace=grace)
        self._views: dict[str, RoomView] = {}  # of the rooms in the ledger
        self._astir: set[str] = set()  # rooms whose view has something to do at some time
        self._reaper = DeadWorkerReaper(calls, self._name, names=self._names, start=self._tasks.start, grace=grace)
        # Incarnations of this process, and their rooms, to reap once everything is written again.
        self._former: dict[str, set[str]] = {}
        self._under_way = 0
        self._claiming = False
        self._waiting: dict[str, list[tuple[str, asyncio.Future[None]]]] = {}  # by room
        self._timeout = settings.store.timeout
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        self._stopping = False
        lease.when_reborn(self._reborn)
        lease.suspected = self._suspected
        lease.renewed = self._wake

    # ---- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to write; the lease must have been started."""
        self._tasks.start(self._refresh(), what="presence refresh")
        self._wake()

    async def stop(self) -> None:
        """Write the pending changes and stop. Users still expected back are left to the siblings' grace.

        Call it before `Lease.stop`, with `after=grace_left()`.
        """
        self._stopping = True
        leaving = MOVE_GRACE if not self._grace else 0.0  # those that moved are counted by their worker by then
        deadline = self._loop.time() + STOP_TIMEOUT + leaving
        while (
            (not self._ledger.clean or (leaving and self._ledger.next_due() is not None))
            and self._lease.registered
            and self._loop.time() < deadline
        ):
            await asyncio.sleep(DELAY / 2)
        if self._timer is not None:
            self._timer.cancel()
        await self._tasks.cancel()

    @property
    def grace_left(self) -> float:
        """Seconds that the incarnation must outlive the process, so that its users get their whole grace."""
        return 0.0 if self._ledger.empty else self._grace

    # ---- told by the rooms -------------------------------------------------------------------------

    def entered(self, room: str, user: str, name: str) -> bool:
        """One more connection of `user` is in `room`. Returns whether it is the first there on this worker."""
        first = room not in self._views
        if first:
            self._views[room] = RoomView()
        self._ledger.entered(room, user, name)
        self._wake(DELAY)
        return first

    def left(self, room: str, user: str, *, moved: bool = False) -> None:
        """One connection of `user` has left `room`; without an earlier `entered` nothing happens.

        `moved`: another worker is about to count the connection, and until then this worker counts it.
        """
        grace = MOVE_GRACE if moved and not self._grace else None
        self._ledger.left(room, user, self._loop.time(), grace=grace)
        self._wake(DELAY)

    async def settled(self, room: str, user: str) -> None:
        """Wait until the store has this worker's count of a user in a room. Raises BusError after `store.timeout`."""
        if not self._ledger.pending(room, user):
            return
        told: asyncio.Future[None] = self._loop.create_future()
        self._waiting.setdefault(room, []).append((user, told))
        self._wake()
        late = self._loop.call_later(self._timeout, _too_late, told, room)
        try:
            await told
        finally:
            late.cancel()
            self._waited(room)

    def _waited(self, room: str) -> None:
        """Wake the callers of `settled` whose counts the store has by now."""
        still = []
        for user, told in self._waiting.pop(room, ()):
            if told.done():
                continue
            if self._ledger.pending(room, user):
                still.append((user, told))
            else:
                told.set_result(None)
        if still:
            self._waiting[room] = still

    def renamed(self, room: str, user: str, name: str) -> None:
        """A user in `room` has a new name."""
        self._ledger.renamed(room, user, name)
        self._wake(DELAY)

    def received_note(self, room: str, note: bytes) -> bool:
        """Take in a note of the room's channel. Returns False for a note that is not about presence."""
        if not note.startswith(MARK):
            return False
        view = self._views.get(room)
        if view is None:
            return True
        now = self._loop.time()
        try:
            view.receive_note(decode_note(note[1:]), now, self._interval)
        except ValueError as error:  # of another version of this program, during an upgrade
            logger.warning("a presence note of room %s cannot be decoded: %s", room, error)
            view.doubt(now, self._interval)
            self.resubscribed(room)
        self._stir(room, view)
        return True

    def resubscribed(self, room: str) -> None:
        """The room's channel was subscribed to again: notes may have been missed."""
        if room in self._views:
            self._tasks.start(self._confirm([room]), what="presence after a reconnect")

    # ---- asked -------------------------------------------------------------------------------------

    def count(self, room: str) -> int:
        """Users in a room as far as this worker knows; exact a moment after the room's first member on this worker."""
        view = self._views.get(room)
        return max(view.count if view else 0, self._ledger.users(room))

    async def counted(self, room: str) -> int:
        """Users in a room; reads the store if this worker does not know the count. Raises BusError."""
        known = self.known(room)
        return max((await self.members(room, 0)).count, self._ledger.users(room)) if known is None else known

    def known(self, room: str) -> int | None:
        """Users in a room if this worker knows the count; None: the store must be read."""
        view = self._views.get(room)
        return None if view is None or view.version < 0 else max(view.count, self._ledger.users(room))

    async def members(self, room: str, limit: int) -> PresentUsers:
        """At most `limit` users of a room, and the number of all. Raises BusError."""
        reply = await self._read(room, limit)
        fields = iter(reply[2:])
        found = tuple(
            PresentUser(user.decode(), name.decode(), int(connections))
            for user, connections, name in zip(fields, fields, fields, strict=True)
        )
        return PresentUsers(found, reply[1])

    async def _read(self, room: str, limit: int) -> Any:
        return await self._calls.call_read(self._members_script, keys.of_room(self._name, room), [limit])

    # ---- the dead ----------------------------------------------------------------------------------

    def reap(self, process: str) -> None:
        """The master has waited for a dead process: the process's users leave after the grace."""
        self._lease.mark_lost(process)
        self._reaper.dead(process)

    async def succeed(self, processes: Sequence[str]) -> None:
        """Reap processes that died before this one began; their users leave after the grace, or at once without one."""
        if self._grace:
            for process in processes:
                self._reaper.dead(process)
            return
        for process in processes:
            try:
                await asyncio.wait_for(self._reaper.reap(process, sure=True), SUCCESSION)
            except (BusError, TimeoutError):
                self._reaper.dead(process)  # reaped later; this worker's start does not wait for it

    def _suspected(self, incarnation: str) -> None:
        if incarnation not in self._former:
            self._reaper.suspect(incarnation)

    def _reborn(self, old: str) -> None:
        self._former[old] = self._ledger.reborn()
        self._under_way, self._claiming = 0, False
        now = self._loop.time()
        for room, view in self._views.items():
            view.doubt(now, self._interval)
            self._stir(room, view)

    async def _reap_former(self, former: dict[str, set[str]]) -> None:
        for one, rooms in former.items():
            try:
                reaped = await self._reaper.reap(one, sure=True)
                # A store that lost the claims accepted writes until this process noticed; only this process knows of
                # those writes.
                await self._reaper.reap_rooms(sorted(rooms - reaped), one)
            except BusError as error:
                logger.warning("the users of the dead worker %s stay in their rooms for a while: %s", one, error)
                self._former[one] = rooms
                self._wake(RETRY)

    # ---- writing -----------------------------------------------------------------------------------

    def _wake(self, delay: float = 0.0) -> None:
        """Run `_tick` in `delay` seconds at the latest."""
        when = self._loop.time() + delay
        if self._timer is not None:
            if self._wakes_at <= when:
                return
            self._timer.cancel()
        self._wakes_at = when
        self._timer = self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        self._ledger.expire(now)
        self._write(now)
        self._announce_changes(now)
        due = self._next_due(now)
        if due is not None:
            self._wake(max(due - now, DELAY))

    def _next_due(self, now: float) -> float | None:
        due = [when for room in self._astir if (when := self._views[room].next_due())]
        if (leaving := self._ledger.next_due()) is not None:
            due.append(leaving)
        if not self._ledger.clean and self._lease.registered and self._under_way < CONCURRENT:
            due.append(now + DELAY)
        return min(due, default=None)

    def _write(self, now: float) -> None:
        if not self._lease.registered:
            return  # the lease's `renewed` calls `_wake`
        if not self._claiming and (claims := self._ledger.take_claims(CLAIMS)) is not None:
            self._claim(claims)
        if self._under_way < CONCURRENT:
            for write in self._ledger.take_writes(now, CONCURRENT - self._under_way):
                self._send(write)
        if self._former and self._ledger.clean:
            former, self._former = self._former, {}
            self._tasks.start(self._reap_former(former), what="reap oneself")

    def _claim(self, claims: Claims) -> None:
        incarnation = self._lease.incarnation
        self._claiming = True

        def done(reply: Any) -> None:
            if incarnation != self._lease.incarnation:
                return
            if reply == 1:
                self._claiming = False
                self._ledger.claimed(claims)
                self._wake()
                return
            self._ledger.not_claimed(claims)
            if isinstance(reply, BusError):
                self._loop.call_later(RETRY, self._claim_again, incarnation)
            else:
                self._found_dead(incarnation)

        args: list[Argument] = [incarnation, len(claims.taken)]
        args += [part for pair in (*claims.taken, *claims.given_up) for part in pair]
        own = keys.of_incarnations(self._name, incarnation)
        self._calls.send(self._claim_script, own, args, done, again=True)

    def _claim_again(self, incarnation: str) -> None:
        if incarnation == self._lease.incarnation:
            self._claiming = False
            self._wake()

    def _send(self, write: Write) -> None:
        incarnation = self._lease.incarnation
        self._under_way += 1

        def done(reply: Any) -> None:
            if incarnation != self._lease.incarnation:
                return
            self._under_way -= 1
            self._answered(write, reply, incarnation)

        own = [*keys.of_room(self._name, write.room), keys.of_incarnation(self._name, write.room, incarnation)]
        args: list[Argument] = [self._calls.channel(write.room), self._names, LARGE, write.number]
        args += [part for value in write.values for part in value]
        self._calls.send(self._write_script, own, args, done, again=True)

    def _answered(self, write: Write, reply: Any, incarnation: str) -> None:
        now = self._loop.time()
        if isinstance(reply, BusError):
            if isinstance(reply, StoreRefused):
                logger.warning("the store refused the presence of room %s: %s", write.room, reply)
            self._ledger.not_written(write, not_before=now + RETRY)
        elif reply[0] == 0:
            self._ledger.not_written(write, not_before=now)
            self._found_dead(incarnation)
        else:
            self._written(write, int(reply[1]), reply[2], now, published=reply[3] == 1)
        if self._waiting:
            self._waited(write.room)
        self._wake(0.0 if write.room in self._waiting else DELAY)

    def _written(self, write: Write, version: int, count: int, now: float, *, published: bool) -> None:
        full = len(write.values) == MAX_WRITE  # many changes at once: the rest follows without a wait
        self._ledger.written(write, not_before=now + LARGE_INTERVAL if count > LARGE and not full else 0.0)
        if self._ledger.users(write.room):
            self._learn(write.room, version, count, now, published=published)
        else:
            self._views.pop(write.room, None)
            self._astir.discard(write.room)

    def _found_dead(self, incarnation: str) -> None:
        """Another worker has declared this incarnation dead: the process was stopped, or cut off from the store."""
        if self._lease.registered and incarnation == self._lease.incarnation:
            self._lease.registered = False
            self._tasks.start(self._begin_anew(), what="new incarnation")

    async def _begin_anew(self) -> None:
        try:
            await self._lease.begin_anew()
        except BusError as error:
            logger.warning("cannot register with the store now: %s", error)

    # ---- telling -----------------------------------------------------------------------------------

    def _learn(self, room: str, version: int, count: int, now: float, *, published: bool = False) -> None:
        view = self._views.get(room)
        if view is not None:
            view.confirmed(version, count, now, published=published)
            self._stir(room, view)

    def _stir(self, room: str, view: RoomView) -> None:
        due = view.next_due()
        if due:
            self._astir.add(room)
            self._wake(max(due - self._loop.time(), 0.0))

    def _announce_changes(self, now: float) -> None:
        for room in list(self._astir):
            view = self._views[room]
            view.tick(now, self._interval)
            change = view.take(now, self._names)
            if not view.next_due():
                self._astir.discard(room)
            if change is not None and self._ledger.present(room):
                self._announce(room, change)

    async def _refresh(self) -> None:
        """Compare each view with the store every `REFRESH` seconds: the last note of a room may have been lost."""
        while True:
            for step in range(REFRESH_STEPS):
                await asyncio.sleep(REFRESH / REFRESH_STEPS)
                rooms = list(self._views)[step::REFRESH_STEPS]
                for batch in _batches(rooms, CONCURRENT):
                    await self._confirm(batch)

    async def _confirm(self, rooms: list[str]) -> None:
        replies = await asyncio.gather(*(self._read(room, 0) for room in rooms), return_exceptions=True)
        now = self._loop.time()
        for room, reply in zip(rooms, replies, strict=True):
            if not isinstance(reply, BaseException):
                self._learn(room, int(reply[0]), reply[1], now)


def _batches(items: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _too_late(told: asyncio.Future[None], room: str) -> None:
    if not told.done():
        told.set_exception(Unavailable(f"the store was not told in time who is in {room}"))
