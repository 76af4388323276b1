"""The I/O of the registry: connected users, admission under the limits, bans and mutes, and the audit trail."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from chatmaster.settings import Settings
from workers.bus.port import BusError
from workers.bus.script import ScriptRunner, scripts_of
from workers.cluster.lease import Lease
from workers.ip_addresses import network_of
from workers.registry import keys
from workers.registry.limits import ConnectionLimits, CountedAnew
from workers.registry.sanction_store import SanctionStore
from workers.registry.sanctions import Sanction, Sanctions, Verb, unpack_all
from workers.tasks import Tasks

logger = logging.getLogger(__name__)

AUDIT_SIZE = 10_000  # entries of the audit trail that are kept, approximately
TRAIL_PAGE = 200
STOP_TIMEOUT = 2.0  # seconds for the last writes


class AuditEntry(Struct, frozen=True, omit_defaults=True):
    """A line of the audit trail."""

    verb: str
    user: str  # the user whom the entry is about
    by: str
    room: str = ""  # "": everywhere
    seconds: float = 0.0  # 0: without end
    reason: str = ""
    time: float = 0.0  # Unix time by the store's clock; set by the store


_encode_deed = msgspec.json.Encoder().encode
_decode_deed = msgspec.json.Decoder(AuditEntry).decode


class Carried(Struct, frozen=True):
    """The registry's state of a connection, which goes with it to another worker."""

    incarnation: str  # that the connection comes from
    left: dict[str, int]  # subject → connections that stay there
    sanctions: dict[str, list[Sanction]]


class Registry:
    """Connections, bans and mutes over all workers and machines. Made inside the running loop."""

    def __init__(self, calls: ScriptRunner, lease: Lease, settings: Settings) -> None:
        self._calls = calls
        self._name = settings.master.name
        self._record, self._trail = map(calls.script, scripts_of(Path(__file__).parent, "record", "trail"))
        self._kept = SanctionStore(calls, self._name)
        self._ipv6_prefix = settings.limits.ipv6_prefix
        self._counts = ConnectionLimits(calls, lease, settings)
        self._tasks = Tasks()
        self._several: set[str] = set()  # subjects with more than one connection here when one was frozen
        self.sanctions = Sanctions(self._counts.tally.counts)

    # ---- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to refresh the counts; the lease must have been started."""
        self._tasks.start(self._counts.refresh(), what="registry refresh")

    async def stop(self) -> None:
        """Write the last changes. Call it before `Lease.stop`."""
        await self._counts.stop(STOP_TIMEOUT)
        await self._tasks.cancel()

    # ---- connections -------------------------------------------------------------------------------

    async def admit(self, connection: str, user: str, address: str, *, new: bool = False) -> str | None:
        """Count a connection, check the limits, and load its bans and mutes.

        Returns None if the connection may stay, else the reason in words for people; then the connection is not
        counted. The caller looks up bans in `sanctions` afterwards. A connection that is counted already moves to the
        new user. `new` means that the user was made just now, so that no worker can know of the user yet. Raises
        BusError: then the connection is not counted either.
        """
        subjects = self.count_in(connection, user, address, new=new)
        return await self.ask(connection, subjects) if subjects else None

    @property
    def users(self) -> int:
        """The number of users with a connection to this worker."""
        return self._counts.tally.users

    def count_in(self, connection: str, user: str, address: str, *, new: bool = False) -> list[str]:
        """The part of `admit` without the store. Returns the subjects left to `ask` about; none: it may stay."""
        added = self._add(connection, user, address, new=new)
        if self._counts.unlimited:  # then the store could add only bans and mutes
            return self.sanctions.unread(added)
        return [one for one in added if self._counts.to_be_asked(one) and not self._is_known(one, new=new)]

    async def ask(self, connection: str, subjects: list[str]) -> str | None:
        """The rest of `admit`, for a connection that is counted. Raises BusError."""
        try:
            answers = await asyncio.gather(*[self._counts.arrive(one, connection) for one in subjects])
        except CountedAnew:
            return None
        except BaseException:
            self.release(connection)
            raise
        for subject, (allowed, _) in zip(subjects, answers, strict=True):
            if not allowed:
                self.release(connection)
                return _refusal(subject)
        for subject, (_, fields) in zip(subjects, answers, strict=True):
            self.sanctions.loaded(subject, unpack_all(fields))
        return None

    def _is_known(self, subject: str, *, new: bool) -> bool:
        """Whether this worker knows everything that the store has about a subject."""
        if self._counts.limit(subject) and not (new and keys.is_user(subject)):
            return False
        return self.sanctions.complete(subject)

    def release(self, connection: str) -> None:
        """Stop counting a connection; nothing happens for a connection that is not counted."""
        self._release(connection, BusError("the connection is gone"))

    def _release(self, connection: str, error: BusError) -> None:
        if connection in self._counts.tally:
            subjects = self._counts.tally.remove(connection)
            self._counts.withdraw(connection, subjects, error)
            self._forget(subjects)
            self._counts.wake()

    def _forget(self, subjects: tuple[str, ...]) -> None:
        for subject in subjects:
            if subject not in self._counts.tally.counts:
                self.sanctions.forget(subject)

    def _add(self, connection: str, user: str, address: str, *, new: bool = False) -> tuple[str, ...]:
        counts = self._counts
        tally = counts.tally
        if connection in tally:
            self._release(connection, CountedAnew("the connection is counted again"))
        subjects = tally.add(connection, user, network_of(address, self._ipv6_prefix))
        # The first stands for all connections, which are never banned as a whole, the second may be a user.
        for subject in subjects[2 if new and user else 1 :]:
            if tally.counts[subject] == 1:
                self.sanctions.begin(subject)
        counts.wake()
        return subjects

    async def written(self, user: str) -> None:
        """Wait until the store has the number of a user's connections here. Raises BusError after `store.timeout`."""
        await self._counts.written(keys.of_user(user))

    # ---- handover ----------------------------------------------------------------------------------

    def freeze(self, connection: str) -> Carried:
        """The state that another worker needs to count a connection, which is counted here until `release`."""
        tally, subjects = self._counts.tally, self._counts.tally.subjects_of(connection)
        left = {subject: tally.count(subject) - 1 for subject in subjects}
        self._several.update(subject for subject, count in left.items() if count)
        known = {subject: found for subject in subjects if (found := self.sanctions.known(subject))}
        return Carried(self._counts.incarnation, left, known)

    def gave_away(self, connection: str) -> None:
        """Another worker has the connection: the script that counts it there also lowers this worker's numbers.

        Two kinds of numbers are written from here: the total, and the number of a subject of which several connections
        may move at once, since the state of each was made as if the others stayed.
        """
        subjects = self._counts.tally.discard(connection)
        self._forget(subjects)
        several = self._several.intersection(subjects)
        self._counts.tally.mark([keys.ALL, *several])
        self._several -= {subject for subject in several if not self._counts.tally.count(subject)}
        self._counts.wake()

    def thaw(self, connection: str, user: str, address: str, carried: Carried) -> None:
        """A connection came from another worker: no limit is checked, and one script moves its count in the store.

        A connection that was not counted there, because its hello has not come yet, is not counted here either.
        """
        if not carried.left:
            return
        for subject in self._add(connection, user, address):
            self.sanctions.loaded(subject, carried.sanctions.get(subject, []))
            self._counts.take_over(subject, carried.incarnation, carried.left.get(subject, 0))

    # ---- queries -----------------------------------------------------------------------------------

    async def is_online(self, user: str) -> bool:
        """Whether the user has a connection to any worker. Raises BusError."""
        return await self._counts.total(keys.of_user(user)) > 0

    async def count(self) -> int:
        """Connections to all workers. Raises BusError."""
        return await self._counts.total(keys.ALL)

    # ---- bans and mutes ----------------------------------------------------------------------------

    async def sanction(
        self,
        verb: Verb,
        user: str,
        *,
        by: str,
        room: str = "",
        seconds: float = 0.0,
        reason: str = "",
        addresses: tuple[str, ...] = (),
    ) -> Sanction:
        """Keep a ban or a mute and write it into the audit trail; 0 seconds: without end.

        The caller must send the result to every worker, which passes it to `sanctions.apply`. The sanction holds for
        the addresses too, and for the addresses of the sanction that it replaces. May be repeated. Raises BusError.
        """
        held = tuple(network_of(address, self._ipv6_prefix) for address in addresses)
        kept = await self._kept.impose(Sanction(verb, user, room, 0, reason, by, 0, held), seconds)
        await self.record(AuditEntry(verb, user, by, room, seconds, reason))
        return kept

    async def extend(self, sanction: Sanction, address: str) -> Sanction | None:
        """Extend a guest's ban or mute to an address, which only the worker with the connection knows.

        The caller must send the result to every worker. None: the sanction no longer holds. Raises BusError.
        """
        return await self._kept.extend(sanction, network_of(address, self._ipv6_prefix))

    async def lift(self, verb: Verb, user: str, *, by: str, room: str = "", reason: str = "") -> tuple[Sanction, bool]:
        """End a ban or a mute, also for the addresses that it held for.

        The audit trail gets an entry only if a sanction was lifted. May be repeated.

        Returns the sanction to send to every worker, and whether a sanction was lifted. Raises BusError.
        """
        lifted, held = await self._kept.lift(Sanction(verb, user, room, by=by, reason=reason, lifted=True))
        if held:
            await self.record(AuditEntry(f"un{verb}", user, by, room, 0.0, reason))
        return lifted, held

    async def sanctions_held(self) -> list[Sanction]:
        """All active bans and mutes, at most `sanction_store.MOST_LISTED`. Raises BusError."""
        return await self._kept.listed()

    async def reload(self) -> float:
        """Reload the sanctions of this worker's users and their addresses. Returns the store's time (Unix time).

        Raises BusError.
        """
        subjects = [one for one in self._counts.tally.subjects() if one != keys.ALL]
        return await self._kept.reload(self.sanctions, subjects)

    # ---- the audit trail ---------------------------------------------------------------------------

    async def record(self, deed: AuditEntry) -> int:
        """Write an action, a kick for example, to the audit trail. Returns its time in ms. Raises BusError."""
        args: list[Any] = [AUDIT_SIZE, _encode_deed(deed)]
        entry = await self._calls.call(self._record, [keys.audit(self._name)], args, again=True)
        return int(entry.partition(b"-")[0])

    async def trail(self, *, room: str = "", user: str = "", limit: int = 100, since: float = 0.0) -> list[AuditEntry]:
        """The last entries, newest first; of one room, about one user, since a time, if given. Raises BusError."""
        return (await self.trail_page(room=room, user=user, limit=limit, since=since))[0]

    async def trail_page(
        self, *, before: str = "", room: str = "", user: str = "", limit: int = 100, since: float = 0.0
    ) -> tuple[list[AuditEntry], str]:
        """As `trail`, from the entry `before` on; also the next page's `before`, "" after the last page.

        Raises BusError, and ValueError for a `before` that does not have the form of an entry's place.
        """
        if before and not _ENTRY.match(before):
            raise ValueError("this is no place in the audit trail")
        found: list[AuditEntry] = []
        last = ""
        start = f"({before}" if before else "+"
        while True:
            page: list[Any] = await self._calls.call_read(self._trail, [keys.audit(self._name)], [start, TRAIL_PAGE])
            for at, deed in zip(range(0, len(page), 2), _deeds(page), strict=True):
                if deed.time < since:
                    return found, ""
                if room in ("", deed.room) and user in ("", deed.user):
                    if len(found) == limit:
                        return found, last
                    found.append(deed)
                    last = page[at].decode()
            if len(page) < 2 * TRAIL_PAGE:
                return found, ""
            start = f"({page[-2].decode()}"


_ENTRY: Final = re.compile(r"\d{1,16}-\d{1,10}\Z", re.ASCII)


def _refusal(subject: str) -> str:
    """Why a connection too many of a subject may not stay, for people."""
    if keys.is_user(subject):
        return "too many connections of this user"
    return "the server has too many connections" if subject == keys.ALL else "too many connections from this address"


def _deeds(page: list[bytes]) -> list[AuditEntry]:
    return [
        msgspec.structs.replace(_decode_deed(page[at + 1]), time=int(page[at].partition(b"-")[0]) / 1000)
        for at in range(0, len(page), 2)
    ]
