"""The counts of connections over all workers, by user, by address and in total; and the limits on them.

Each incarnation writes its own absolute number for each subject, so a retry cannot drift. The numbers of dead
incarnations are ignored, and removed where a script finds one. One script counts a connection and checks the limit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from chatmaster.settings import Settings
from workers.bus.port import BusError, Unavailable
from workers.bus.script import Argument, ScriptRunner, scripts_of
from workers.cluster.lease import Lease
from workers.registry import keys
from workers.tasks import Tasks

logger = logging.getLogger(__name__)

DELAY = 0.05  # seconds that changes are collected before they are written
TOGETHER = 64  # counts in one script: 0.2 ms of the store's time
CONCURRENT = 1024  # counts under way: 20,000 a second, as many as there are new connections
WRITTEN = 0.002  # seconds between two checks whether a count has been written
RETRY = 1.0  # seconds after a write failed
KEEP = 86_400  # seconds that a count is kept without being written again: the counts of the dead expire
REFRESH = 21_600.0  # seconds in which every count is written again once
REFRESH_STEPS = 360

Giver = tuple[str, str | int]  # an incarnation that connections came from, and how many are left there
NOBODY: Giver = ("", "")
Arrival = tuple[bool, list[bytes]]  # whether the connection is allowed, and the sanctions as the store keeps them


class CountedAnew(BusError):
    """The connection was counted under another user meanwhile; the later check decides whether it may stay."""


class LimitCounts:
    """This worker's own connections by subject: in total, of each user, of each address. Pure.

    `dirty` holds the subjects whose counts the store does not have yet.
    """

    def __init__(self) -> None:
        self._users: dict[str, str] = {}  # connection → its user, "" for none
        self._addresses: dict[str, str] = {}  # connection → the subject of its address, "" for none
        self.counts: dict[str, int] = {}  # by subject; no count is 0
        self.dirty: dict[str, None] = {}
        self.users = 0  # distinct users with a connection here

    def __contains__(self, connection: str) -> bool:
        return connection in self._users

    def __len__(self) -> int:
        return len(self._users)

    def add(self, connection: str, user: str, address: str) -> tuple[str, ...]:
        """Count a connection; return its subjects. A connection that is counted already moves to the new user."""
        if connection in self._users:
            self.remove(connection)
        place = keys.of_address(address) if address else ""
        self._users[connection], self._addresses[connection] = user, place
        subjects = _subjects(user, place)
        counts, dirty = self.counts, self.dirty
        for subject in subjects:
            counts[subject] = counts.get(subject, 0) + 1
            dirty[subject] = None
        if user:
            self.users += counts[subjects[1]] == 1
        return subjects

    def remove(self, connection: str) -> tuple[str, ...]:
        """Stop counting a connection; return the subjects it was counted under: none for an unknown connection."""
        subjects = self.discard(connection)
        self.mark(subjects)
        return subjects

    def discard(self, connection: str) -> tuple[str, ...]:
        """As `remove`, for a connection whose removal the store learns from another worker."""
        subjects = self.subjects_of(connection)
        self._users.pop(connection, None)
        self._addresses.pop(connection, None)
        for subject in subjects:
            left = self.counts[subject] - 1
            if left:
                self.counts[subject] = left
            else:
                del self.counts[subject]
                self.users -= keys.is_user(subject)
        return subjects

    def subjects_of(self, connection: str) -> tuple[str, ...]:
        """The subjects that a connection is counted under, all connections first; none for an unknown connection.

        They are found anew each time: a tuple kept for each connection would cost twice what the two dicts do.
        """
        user = self._users.get(connection)
        return () if user is None else _subjects(user, self._addresses[connection])

    def count(self, subject: str) -> int:
        """This worker's number of connections of a subject."""
        return self.counts.get(subject, 0)

    def subjects(self) -> list[str]:
        """All subjects with a count."""
        return list(self.counts)

    def mark(self, subjects: Iterable[str]) -> None:
        """Mark subjects for which the store may have another number."""
        for subject in subjects:
            self.dirty[subject] = None

    def take(self, limit: int) -> list[str]:
        """Take at most `limit` subjects whose counts are to be written now."""
        taken = list(islice(self.dirty, limit))
        for subject in taken:
            del self.dirty[subject]
        return taken


def _subjects(user: str, place: str) -> tuple[str, ...]:
    """All connections, then the user and the subject of the address, where there are such."""
    if user:
        user = keys.of_user(user)
        return (keys.ALL, user, place) if place else (keys.ALL, user)
    return (keys.ALL, place) if place else (keys.ALL,)


class ConnectionLimits:
    """The counts of connections over all workers. `lease` names the live incarnations."""

    def __init__(self, calls: ScriptRunner, lease: Lease, settings: Settings) -> None:
        self._calls = calls
        self._lease = lease
        self._name = settings.master.name
        self._timeout = settings.store.timeout
        limits = settings.limits
        self._limits = limits
        self.unlimited = not (limits.connections or limits.per_user or limits.per_address)
        self._loop = asyncio.get_running_loop()
        scripts = scripts_of(Path(__file__).parent, "arrive", "count", "counts")
        self._arrive, self._count, self._counts = map(calls.script, scripts)
        self.tally = LimitCounts()
        self._tasks = Tasks()
        self._waiting: dict[str, dict[str, asyncio.Future[Arrival]]] = {}  # subject → connection → its answer
        self._asking: dict[str, dict[str, asyncio.Future[Arrival]]] = {}  # the same, while the store is queried
        self._refused: dict[str, set[str]] = {}  # subject → connections that are about to be released
        self._under_way: set[str] = set()
        self._taken_over = NOBODY  # the last incarnation that connections came from, and how many are left there
        self._arrived: dict[tuple[str, str], int] = {}  # subject, incarnation it came from → how many are left there
        self._arrivals: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        lease.when_reborn(self._reborn)

    def limit(self, subject: str) -> int:
        """The most connections of a subject; 0: no limit."""
        if keys.is_user(subject):
            return self._limits.per_user
        return self._limits.connections if subject == keys.ALL else self._limits.per_address

    @property
    def incarnation(self) -> str:
        """The incarnation under which this worker counts."""
        return self._lease.incarnation

    def to_be_asked(self, subject: str) -> bool:
        """Whether the store must be queried about a subject before a connection is let in: a limit, or sanctions."""
        return subject != keys.ALL or bool(self.limit(subject))

    def _counted(self, subject: str) -> bool:
        # The number of an address serves only its limit.
        return not keys.is_address(subject) or bool(self._limits.per_address)

    # ---- arrivals ----------------------------------------------------------------------------------

    def arrive(self, subject: str, connection: str) -> asyncio.Future[Arrival]:
        """Count a connection of a subject, which the tally has already, if the limit allows it; read its sanctions.

        The future gives whether the connection is allowed, and the sanctions as the store keeps them, or BusError. The
        waiting connections of one subject share a query, and a subject has one query at a time, so that each query
        knows exactly how many connections were let in before. `withdraw` must follow for a connection that does not
        stay.
        """
        answer: asyncio.Future[Arrival] = self._loop.create_future()
        self._waiting.setdefault(subject, {})[connection] = answer
        if subject not in self._asking:
            self._asking[subject] = {}
            self._tasks.start(self._ask(subject), what="count arrivals")
        return answer

    def withdraw(self, connection: str, subjects: Iterable[str], error: BusError) -> None:
        """End the wait of a connection that the tally no longer has by `error`, and forget a refusal of it."""
        for subject in subjects:
            for table in (self._waiting, self._asking):
                answer = table.get(subject, {}).pop(connection, None)
                if answer is not None and not answer.done():
                    answer.set_exception(error)
            refused = self._refused.get(subject, set())
            refused.discard(connection)
            if not refused:
                self._refused.pop(subject, None)

    async def _ask(self, subject: str) -> None:
        try:
            while waiting := self._waiting.pop(subject, None):
                self._asking[subject] = waiting
                await self._ask_about(subject, dict(waiting))
        finally:
            del self._asking[subject]

    async def _ask_about(self, subject: str, asked: dict[str, asyncio.Future[Arrival]]) -> None:
        error: BusError | None = None
        granted, fields = 0, list[bytes]()
        try:
            granted, fields = await self._arrive_some(subject, len(asked))
        except BusError as failed:
            error = failed
        self._asking[subject] = {}
        for number, (connection, answer) in enumerate(asked.items()):
            if answer.done():
                continue
            if error is not None or number >= granted:
                self._refused.setdefault(subject, set()).add(connection)
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result((number < granted, fields))

    async def _arrive_some(self, subject: str, wanted: int) -> tuple[int, list[bytes]]:
        """The number of connections allowed, of `wanted`, and the sanctions of the subject. Raises BusError."""
        own = [keys.counts(self._name, subject), keys.sanctions(self._name, subject)]
        limit = self.limit(subject)
        dead: list[str] = []
        for _ in range(3):
            live = self._lease.live() if limit else []
            number = self._admitted(subject) if self._counted(subject) else ""
            args: list[Argument] = [self._lease.incarnation, number, limit, KEEP, wanted, len(live)]
            reply = await self._calls.call(self._arrive, own, [*args, *live, *dead], again=True)
            if reply[0] != 2:
                return reply[1], reply[2:]
            await self._lease.renew()  # an incarnation is new or dead
            dead = sorted({one.decode() for one in reply[1:]} - set(self._lease.live()))
        raise BusError("who is alive changes too fast")

    def _admitted(self, subject: str) -> int:
        """This worker's connections of a subject, without the undecided and the refused ones."""
        count = self.tally.count(subject)
        for undecided in (self._waiting, self._asking, self._refused):
            if undecided:
                count -= len(undecided.get(subject, ()))
        return count

    # ---- writing -----------------------------------------------------------------------------------

    def wake(self, delay: float = DELAY) -> None:
        """Write the dirty counts in `delay` seconds."""
        if self._timer is None and self.tally.dirty:
            self._timer = self._loop.call_later(delay, self._flush)

    def _flush(self) -> None:
        self._timer = None
        if not self._lease.registered:
            return self.wake(RETRY)
        held, due = [], []
        under_way, asking, addresses = self._under_way, self._asking, bool(self._limits.per_address)
        for subject in self.tally.take(max(0, CONCURRENT - len(under_way))):
            if subject in under_way or subject in asking:
                held.append(subject)
            elif addresses or self._counted(subject):
                due.append(subject)
        for start in range(0, len(due), TOGETHER):
            some = due[start : start + TOGETHER]
            self._write([(subject, self._given() if subject == keys.ALL else NOBODY) for subject in some])
        self.tally.mark(held)
        self.wake()

    def _write(self, counted: list[tuple[str, Giver]]) -> None:
        """Write the count of each subject to the store, and the incarnation that the last connection came from."""
        own = keys.counts_of_all(self._name, [subject for subject, _ in counted])
        for places in self._calls.split(own):
            self._write_together([counted[at] for at in places], [own[at] for at in places])

    def _write_together(self, counted: list[tuple[str, Giver]], own: list[str]) -> None:
        """The part of `_write` that one script may take."""
        subjects = [subject for subject, _ in counted]
        self._under_way.update(subjects)

        def done(reply: Any) -> None:
            self._under_way.difference_update(subjects)
            if isinstance(reply, BusError):
                logger.debug("%d counts were not written: %s", len(subjects), reply)
                self.tally.mark(subjects)
                self.wake(RETRY)
            else:
                self.wake()

        args: list[Argument] = [self._lease.incarnation, KEEP]
        for subject, giver in counted:
            args += (self._admitted(subject), *giver)
        self._calls.send(self._count, own, args, done, again=True)

    async def written(self, subject: str) -> None:
        """Wait until the store has this worker's number of a subject. Raises BusError after `store.timeout`."""
        deadline = self._loop.time() + self._timeout
        while subject in self.tally.dirty or subject in self._under_way:
            if self._loop.time() > deadline:
                raise Unavailable("the store was not told in time who is online")
            if self._timer is not None and self._lease.registered:
                self._timer.cancel()
                self._flush()
            await asyncio.sleep(WRITTEN)

    def _given(self) -> Giver:
        """Take the incarnation that connections came from since the total was written last."""
        taken, self._taken_over = self._taken_over, NOBODY
        return taken

    def take_over(self, subject: str, giver: str, left: int) -> None:
        """A connection came from another incarnation, which has `left` at most: one script writes both numbers.

        Ten thousand connections may come within a second, and the store also has messages to keep: one script writes
        the numbers of many connections.
        """
        if subject == keys.ALL:
            self._taken_over = (giver, left)  # every arrival changes the total: written with the other changes
        elif self._counted(subject):
            self.tally.dirty.pop(subject, None)
            self._arrived[subject, giver] = left
            if self._arrivals is None:
                self._arrivals = self._loop.call_later(DELAY, self._write_arrivals)

    def _write_arrivals(self) -> None:
        self._arrivals = None
        free = (one for one in self._arrived.items() if one[0][0] not in self._asking)
        some = dict(islice(free, TOGETHER))
        for key in some:
            del self._arrived[key]
        if self._arrived:
            self._arrivals = self._loop.call_later(0.0 if some else DELAY, self._write_arrivals)
        self._write([(subject, (giver, left)) for (subject, giver), left in some.items()])

    def _reborn(self, old: str) -> None:
        self.tally.mark(self.tally.subjects())
        self.wake()

    async def refresh(self) -> None:
        """Write every count again each `REFRESH` seconds, until cancelled: the store drops counts not repeated."""
        while True:
            for step in range(REFRESH_STEPS):
                await asyncio.sleep(REFRESH / REFRESH_STEPS)
                self.tally.mark(self.tally.subjects()[step::REFRESH_STEPS])
                self.wake()

    async def stop(self, timeout: float) -> None:
        """Write the remaining counts, for `timeout` seconds at most."""
        deadline = self._loop.time() + timeout
        while (
            (self.tally.dirty or self._arrived or self._under_way)
            and self._lease.registered
            and self._loop.time() < deadline
        ):
            await asyncio.sleep(DELAY / 2)
        for timer in (self._timer, self._arrivals):
            if timer is not None:
                timer.cancel()

    # ---- queries -----------------------------------------------------------------------------------

    async def total(self, subject: str) -> int:
        """Connections of a subject over all workers. Raises BusError."""
        reply = await self._calls.call_read(self._counts, [keys.counts(self._name, subject)], [])
        counts = {reply[at].decode(): int(reply[at + 1]) for at in range(0, len(reply), 2)}
        if any(counts[one] for one in counts.keys() - {self._lease.incarnation}):
            await self._lease.renew()  # one of these incarnations may have died since the last renewal
        live = set(self._lease.live()) - {self._lease.incarnation}
        return self.tally.count(subject) + sum(count for one, count in counts.items() if one in live)
