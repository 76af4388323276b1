"""The users in each room on this worker, and which of their counts the store does not have yet. Pure.

Theory of operation. For each room and user there is one number: the connections that this worker has. The store never
gets a change, only the number, so that a write whose answer was lost is simply repeated. A room has one write under
way at a time; changes in the meantime go into the next write.

A user's last connection counts for another `GRACE` seconds after it has closed. A user who returns in time, here or on
another worker, never appears to have left: the other worker's connection is counted before this worker's is removed,
so that the total over all workers does not reach 0. The same holds for a connection that is handed over.

The incarnation claims a room before its first write to the room, so that the reaper of a dead incarnation knows the
rooms to look in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

GRACE = 3.0  # seconds; a browser that loads its page again is back in less
MAX_WRITE = 128  # users in one write: about 3 ms of the store's time


@dataclass(frozen=True, slots=True)
class Write:
    """Absolute values for one room, to be carried out once or several times."""

    room: str
    number: int  # increasing; the store ignores a write that arrives after a later one
    values: tuple[tuple[str, int, str], ...]  # user, connections, name


@dataclass(frozen=True, slots=True)
class Claims:
    """Rooms about to be written to, and rooms in which this worker has no users left."""

    taken: tuple[tuple[str, int], ...]  # room, number of the claim
    given_up: tuple[tuple[str, int], ...]


class _Room:
    """The users of a room, as this worker sees them: those with connections, and those whose end is not written yet.

    Nearly every user has one connection, so only the others are counted, and a user costs an entry of one dict.
    """

    __slots__ = ("_counts", "claim", "claimed", "dirty", "not_before", "under_way", "until", "users")

    def __init__(self) -> None:
        self.users: dict[str, str] = {}  # user → name
        self._counts: dict[str, int] = {}  # the connections of users who have another number than one
        self.until: dict[str, float] = {}  # without connections: the time until which the user counts as one
        self.dirty: dict[str, None] = {}  # users, in the order of their changes
        self.under_way: Write | None = None
        self.claim = 0  # the number of the claim that was sent; 0: none
        self.claimed = False
        self.not_before = 0.0  # of the next write

    def connections(self, user: str) -> int:
        """The connections of a user in `users`."""
        return self._counts.get(user, 1)

    def count(self, user: str, connections: int) -> None:
        """Note how many connections a user in `users` has."""
        if connections == 1:
            self._counts.pop(user, None)
        else:
            self._counts[user] = connections

    def value(self, user: str) -> int:
        """The number of connections of a user that is written to the store."""
        return self.connections(user) or int(user in self.until)

    def forget(self, user: str) -> None:
        """The store knows that the user is gone."""
        del self.users[user]
        del self._counts[user]

    @property
    def occupied(self) -> bool:
        """Whether a user has a connection."""
        return any(self.connections(user) for user in self.users)


class LocalPresence:
    """The users of each room on this worker. Times are seconds of one monotonic clock."""

    def __init__(self, *, grace: float = GRACE) -> None:
        self._grace = grace
        self._rooms: dict[str, _Room] = {}
        self._dirty: dict[str, None] = {}  # rooms with something to write and no write under way
        self._leaving: deque[tuple[float, str, str]] = deque()  # until, room, user: in order of time
        self._given_up: list[tuple[str, int]] = []
        self._under_way = 0
        self._number = 0

    # ---- events ------------------------------------------------------------------------------------

    def entered(self, room: str, user: str, name: str) -> None:
        """One more connection of a user is in a room."""
        here = self._rooms.get(room)
        if here is None:
            here = self._rooms[room] = _Room()
        before = here.users.get(user)
        here.users[user] = name
        if before is not None:
            here.count(user, here.connections(user) + 1)
            if here.until.pop(user, 0.0) and before == name:
                return  # the store has this number, or the write under way brings it
        self._mark(room, here, user)

    def left(self, room: str, user: str, now: float, *, grace: float | None = None) -> None:
        """One connection of a user has left a room. `grace` replaces the usual grace; callers pass one fixed value."""
        grace = self._grace if grace is None else grace
        here = self._rooms.get(room)
        if here is None or user not in here.users or not here.connections(user):
            return
        here.count(user, here.connections(user) - 1)
        if here.connections(user) or not grace:
            self._mark(room, here, user)
        else:
            here.until[user] = now + grace
            self._leaving.append((now + grace, room, user))

    def renamed(self, room: str, user: str, name: str) -> None:
        """A user of a room has a new name."""
        here = self._rooms.get(room)
        if here is not None and here.users.get(user, name) != name:
            here.users[user] = name
            self._mark(room, here, user)

    def expire(self, now: float) -> None:
        """Stop counting the users who did not return in time."""
        while self._leaving and self._leaving[0][0] <= now:
            until, room, user = self._leaving.popleft()
            here = self._rooms.get(room)
            if here is not None and here.until.get(user) == until:
                del here.until[user]
                self._mark(room, here, user)

    def reborn(self) -> set[str]:
        """A new incarnation begins: the store knows nothing of it yet, and writes under way do not count.

        Returns the rooms that the old incarnation may have written to, whether or not the store still has its claims.
        """
        claimed = {room for room, here in self._rooms.items() if here.claimed}
        self._given_up, self._under_way = [], 0
        for room, here in self._rooms.items():
            here.under_way, here.claim, here.claimed, here.not_before = None, 0, False, 0.0
            here.dirty = dict.fromkeys(here.users)
            self._dirty[room] = None
        return claimed

    def _mark(self, room: str, here: _Room, user: str) -> None:
        here.dirty[user] = None
        if here.under_way is None:
            self._dirty[room] = None

    # ---- pending claims and writes -----------------------------------------------------------------

    @property
    def clean(self) -> bool:
        """True while the store has every count of this worker."""
        return not self._dirty and not self._under_way

    def pending(self, room: str, user: str) -> bool:
        """Whether a write about a user of a room is pending or unanswered."""
        here = self._rooms.get(room)
        if here is None:
            return False
        under_way = here.under_way is not None and any(one == user for one, _, _ in here.under_way.values)
        return under_way or user in here.dirty

    @property
    def empty(self) -> bool:
        """True while no user is here or expected back."""
        return not self._rooms

    def next_due(self) -> float | None:
        """The time at which `expire` next has a user to expire; None: no such user."""
        return self._leaving[0][0] if self._leaving else None

    def users(self, room: str) -> int:
        """The number of users that this worker has in a room."""
        here = self._rooms.get(room)
        return len(here.users) if here else 0

    def present(self, room: str) -> bool:
        """Whether a connection on this worker must be sent the changes of this room."""
        here = self._rooms.get(room)
        return here is not None and here.occupied

    def take_claims(self, limit: int) -> Claims | None:
        """The rooms to claim and to give up now; the caller reports back by `claimed` or `not_claimed`."""
        taken: list[tuple[str, int]] = []
        for room in self._dirty:
            here = self._rooms[room]
            if not here.claim:
                self._number += 1
                here.claim = self._number
                taken.append((room, here.claim))
                if len(taken) == limit:
                    break
        given_up, self._given_up = self._given_up[:limit], self._given_up[limit:]
        return Claims(tuple(taken), tuple(given_up)) if taken or given_up else None

    def claimed(self, claims: Claims) -> None:
        """The store has recorded the claims."""
        for room, number in claims.taken:
            here = self._rooms.get(room)
            if here is not None and here.claim == number:
                here.claimed = True

    def not_claimed(self, claims: Claims) -> None:
        """It is unknown whether the store has the claims; a claim not given up only costs a reaper one look."""
        for room, number in claims.taken:
            here = self._rooms.get(room)
            if here is not None and here.claim == number:
                here.claim = 0

    def take_writes(self, now: float, limit: int) -> Iterator[Write]:
        """At most `limit` writes to make now; the caller reports each back by `written` or `not_written`."""
        ready = []
        for room in self._dirty:
            here = self._rooms[room]
            if here.claimed and here.not_before <= now:
                ready.append((room, here))
                if len(ready) >= limit:
                    break
        for room, here in ready:
            del self._dirty[room]
            yield self._write(room, here)

    def _write(self, room: str, here: _Room) -> Write:
        users = list(islice(here.dirty, MAX_WRITE))
        for user in users:
            del here.dirty[user]
        self._number += 1
        self._under_way += 1
        values = tuple([(user, here.value(user), here.users[user]) for user in users])
        here.under_way = Write(room, self._number, values)
        return here.under_way

    def written(self, write: Write, *, not_before: float = 0.0) -> None:
        """The store has the write; the room's next write waits until `not_before`."""
        here = self._settled(write, not_before)
        if here is None:
            return
        for user, value, _ in write.values:
            if not value and user not in here.dirty and not here.value(user):
                here.forget(user)
        if here.dirty:
            self._dirty[write.room] = None
        elif not here.users:
            self._given_up.append((write.room, here.claim))
            del self._rooms[write.room]

    def not_written(self, write: Write, *, not_before: float) -> None:
        """It is unknown whether the store has the write: write the users again, with their counts at that time."""
        here = self._settled(write, not_before)
        if here is not None:
            here.dirty = {**dict.fromkeys(user for user, _, _ in write.values), **here.dirty}
            self._dirty[write.room] = None

    def _settled(self, write: Write, not_before: float) -> _Room | None:
        here = self._rooms.get(write.room)
        if here is None or here.under_way is not write:
            return None  # a write of an earlier incarnation
        here.under_way, here.not_before = None, not_before
        self._under_way -= 1
        return here
