"""Owns the counts of connections over all workers: by user, by address, in all; and the limits on them.

Each incarnation writes its own absolute number for each subject, so a retry cannot drift, and the numbers of
the dead are ignored, and removed where one is met. A connection is counted and checked against the limit in one script.
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
CONCURRENT = 1024  # counts under way: 20,000 a second, as many as connect
WRITTEN = 0.002  # seconds between two looks whether something was written
RETRY = 1.0  # seconds after a write failed
KEEP = 86_400  # seconds that a count is kept without being written again: what the dead leave goes by itself
REFRESH = 21_600.0  # seconds in which every count is written again once
REFRESH_STEPS = 360

Giver = tuple[str, str | int]  # an incarnation that connections came from, and how many are left there
NOBODY: Giver = ("", "")
Arrival = tuple[bool, list[bytes]]  # whether it is allowed, and the sanctions as the store keeps them


class CountedAnew(BusError):
    """The connection is counted under another user meanwhile: it is for that question to say whether it may stay."""


class LimitCounts:
    """This worker's own connections by subject: in all, of each user, of each address. Pure.

    `dirty` are the subjects whose count the store has still to be told.
    """

    def __init__(self) -> None:
        self._subjects: dict[str, tuple[str, ...]] = {}  # connection → what it is counted under
        self.counts: dict[str, int] = {}  # by subject; none of them is 0
        self.dirty: dict[str, None] = {}
        self.users = 0  # with a connection here, each once

    def __contains__(self, connection: str) -> bool:
        return connection in self._subjects

    def __len__(self) -> int:
        return len(self._subjects)

    def add(self, connection: str, user: str, address: str) -> tuple[str, ...]:
        """Count a connection; returns its subjects. One that is counted already is moved to the new user."""
        if connection in self._subjects:
            self.remove(connection)
        subjects: tuple[str, ...] = (keys.ALL,)
        if user:
            subjects += (keys.of_user(user),)
            self.users += subjects[-1] not in self.counts
        if address:
            subjects += (keys.of_address(address),)
        self._subjects[connection] = subjects
        counts, dirty = self.counts, self.dirty
        for subject in subjects:
            counts[subject] = counts.get(subject, 0) + 1
            dirty[subject] = None
        return subjects

    def remove(self, connection: str) -> tuple[str, ...]:
        """Count it no longer; returns the subjects that it was counted under: none for one that is not known."""
        subjects = self.discard(connection)
        self.mark(subjects)
        return subjects

    def discard(self, connection: str) -> tuple[str, ...]:
        """As `remove`, where the store learns of it from somebody else."""
        subjects = self._subjects.pop(connection, ())
        for subject in subjects:
            left = self.counts[subject] - 1
            if left:
                self.counts[subject] = left
            else:
                del self.counts[subject]
                self.users -= keys.is_user(subject)
        return subjects

    def subjects_of(self, connection: str) -> tuple[str, ...]:
        """What a connection is counted under."""
        return self._subjects.get(connection, ())

    def count(self, subject: str) -> int:
        """This worker's connections."""
        return self.counts.get(subject, 0)

    def subjects(self) -> list[str]:
        """Everything that is counted."""
        return list(self.counts)

    def mark(self, subjects: Iterable[str]) -> None:
        """The store may have another number."""
        for subject in subjects:
            self.dirty[subject] = None

    def take(self, limit: int) -> list[str]:
        """Subjects of which the store has to be told now."""
        taken = list(islice(self.dirty, limit))
        for subject in taken:
            del self.dirty[subject]
        return taken


class ConnectionLimits:
    """How many connections there are. `lease` says who is alive."""

    def __init__(self, calls: ScriptRunner, lease: Lease, settings: Settings) -> None:
        self._calls = calls
        self._lease = lease
        self._name = settings.master.name
        self._timeout = settings.store.timeout
        limits = settings.limits
        self._limits = {keys.ALL: limits.connections, "u": limits.per_user, "a": limits.per_address}
        self.unlimited = not any(self._limits.values())
        self._loop = asyncio.get_running_loop()
        self._arrive, self._count, self._counts = scripts_of(Path(__file__).parent, "arrive", "count", "counts")
        for script in (self._arrive, self._count, self._counts):
            calls.script(script)
        self.tally = LimitCounts()
        self._tasks = Tasks()
        self._waiting: dict[str, dict[str, asyncio.Future[Arrival]]] = {}  # subject → connection → its answer
        self._asking: dict[str, dict[str, asyncio.Future[Arrival]]] = {}  # while the store is asked
        self._refused: dict[str, set[str]] = {}  # subject → connections that are about to be released
        self._under_way: set[str] = set()
        self._taken_over = NOBODY  # from whom connections came since, and how many are left there
        self._arrived: dict[tuple[str, str], int] = {}  # subject and from whom it came → how many are left there
        self._arrivals: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        lease.when_reborn(self._reborn)

    def limit(self, subject: str) -> int:
        """The most connections of a subject; 0: no limit."""
        return self._limits[subject[:1]]

    @property
    def incarnation(self) -> str:
        """Under which this worker counts."""
        return self._lease.incarnation

    def to_be_asked(self, subject: str) -> bool:
        """Whether the store has to say something before a connection is let in: a limit, or sanctions."""
        return subject != keys.ALL or bool(self.limit(subject))

    def _counted(self, subject: str) -> bool:
        # Nobody asks for the number of an address but its limit.
        return not subject.startswith("a:") or bool(self.limit(subject))

    # ---- coming ------------------------------------------------------------------------------------

    def arrive(self, subject: str, connection: str) -> asyncio.Future[Arrival]:
        """Count a connection of a subject, which the tally has already, if the limit allows it; read its sanctions.

        The result says whether it is allowed, and the sanctions as the store keeps them; or it raises BusError. Those
        of one subject that wait are asked about together, one question at a time, so that each question knows exactly
        how many were let in before it. `withdraw` has to follow for whoever does not stay.
        """
        answer: asyncio.Future[Arrival] = self._loop.create_future()
        self._waiting.setdefault(subject, {})[connection] = answer
        if subject not in self._asking:
            self._asking[subject] = {}
            self._tasks.start(self._ask(subject), what="count arrivals")
        return answer

    def withdraw(self, connection: str, subjects: Iterable[str], error: BusError) -> None:
        """A connection that the tally has no longer waits for no answer but this, and is none of those refused."""
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
        """How many of so many are allowed, and the sanctions. Raises BusError."""
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
            await self._lease.renew()  # someone new, or someone dead
            dead = sorted({one.decode() for one in reply[1:]} - set(self._lease.live()))
        raise BusError("who is alive changes too fast")

    def _admitted(self, subject: str) -> int:
        """This worker's connections of a subject, without those of which it is not decided, or that were refused."""
        undecided = (self._waiting.get(subject, ()), self._asking.get(subject, ()), self._refused.get(subject, ()))
        return self.tally.count(subject) - sum(map(len, undecided))

    # ---- writing -----------------------------------------------------------------------------------

    def wake(self, delay: float = DELAY) -> None:
        """Write what is dirty soon."""
        if self._timer is None and self.tally.dirty:
            self._timer = self._loop.call_later(delay, self._flush)

    def _flush(self) -> None:
        self._timer = None
        if not self._lease.registered:
            return self.wake(RETRY)
        held, due = [], []
        for subject in self.tally.take(CONCURRENT - len(self._under_way)):
            if subject in self._under_way or subject in self._asking:
                held.append(subject)
            elif self._counted(subject):
                due.append(subject)
        for start in range(0, len(due), TOGETHER):
            some = due[start : start + TOGETHER]
            self._write([(subject, self._given() if subject == keys.ALL else NOBODY) for subject in some])
        self.tally.mark(held)
        self.wake()

    def _write(self, counted: list[tuple[str, Giver]]) -> None:
        """Tell the store how many there are of each, and from whom the last one came."""
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
        own = [keys.counts(self._name, subject) for subject in subjects]
        self._calls.send(self._count, own, args, done, again=True)

    async def written(self, subject: str) -> None:
        """Wait until the store has a subject's number as it is here. Raises BusError after `store.timeout`."""
        deadline = self._loop.time() + self._timeout
        while subject in self.tally.dirty or subject in self._under_way:
            if self._loop.time() > deadline:
                raise Unavailable("the store was not told in time who is online")
            if self._timer is not None and self._lease.registered:
                self._timer.cancel()
                self._flush()
            await asyncio.sleep(WRITTEN)

    def _given(self) -> Giver:
        """From whom connections came since the number of all was written last."""
        taken, self._taken_over = self._taken_over, NOBODY
        return taken

    def take_over(self, subject: str, giver: str, left: int) -> None:
        """A connection came from another incarnation, which has `left` at most: both numbers in one script.

        Ten thousand come within a second, and the store also has messages to keep: many are told in one script.
        """
        if subject == keys.ALL:
            self._taken_over = (giver, left)  # every arrival changes it: written with the others' changes
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
        """Write every count again now and then, for ever: the store forgets what nobody repeats."""
        while True:
            for step in range(REFRESH_STEPS):
                await asyncio.sleep(REFRESH / REFRESH_STEPS)
                self.tally.mark(self.tally.subjects()[step::REFRESH_STEPS])
                self.wake()

    async def stop(self, timeout: float) -> None:
        """Write what is left to write, for `timeout` seconds at most."""
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

    # ---- asked -------------------------------------------------------------------------------------

    async def total(self, subject: str) -> int:
        """Connections over all workers. Raises BusError."""
        reply = await self._calls.call_read(self._counts, [keys.counts(self._name, subject)], [])
        counts = {reply[at].decode(): int(reply[at + 1]) for at in range(0, len(reply), 2)}
        if any(counts[one] for one in counts.keys() - {self._lease.incarnation}):
            await self._lease.renew()  # one of them may have died since the last time
        live = set(self._lease.live()) - {self._lease.incarnation}
        return self.tally.count(subject) + sum(count for one, count in counts.items() if one in live)
