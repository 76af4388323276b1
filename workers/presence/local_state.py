"""Owns who is in which room on this worker, and what of it the store has still to be told. Pure.

Theory of operation. For each room and user there is one number: the connections that this worker has. The store is
never told of a change, only of the number, so that a write whose answer was lost is simply made again. A
room has one write under way at a time; what changes meanwhile goes into the next one.

The last connection of a user that goes is kept for `GRACE` seconds as if it were there. Whoever comes back in time,
here or on another worker, was never away for anyone: with the other worker's connection counted, the total over all
workers does not touch 0 when this one is taken away. A connection that is handed over is such a case.

Before the first write to a room the incarnation claims it, so that whoever reaps a dead one knows where to look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

GRACE = 3.0  # seconds; a browser that loads its page again is back in less
MAX_WRITE = 128  # users in one write: about 3 ms of the store's time


@dataclass(slots=True)
class _Held:
    """A user of a room, as this worker sees it."""

    connections: int
    name: str
    until: float = 0.0  # with no connection: until when it counts as one; 0: it does not

    @property
    def value(self) -> int:
        """What the store is told."""
        return self.connections or (1 if self.until else 0)


@dataclass(frozen=True, slots=True)
class Write:
    """Absolute values for one room, to be carried out once or several times."""

    room: str
    number: int  # growing; the store ignores one that comes after a later one
    values: tuple[tuple[str, int, str], ...]  # user, connections, name


@dataclass(frozen=True, slots=True)
class Claims:
    """Rooms about to be written to, and rooms where nothing of this worker is left."""

    taken: tuple[tuple[str, int], ...]  # room, number of the claim
    given_up: tuple[tuple[str, int], ...]


class _Room:
    __slots__ = ("claim", "claimed", "dirty", "not_before", "under_way", "users")

    def __init__(self) -> None:
        self.users: dict[str, _Held] = {}
        self.dirty: dict[str, None] = {}  # users, in the order of their changes
        self.under_way: Write | None = None
        self.claim = 0  # the number of the claim that was sent; 0: none
        self.claimed = False
        self.not_before = 0.0  # of the next write


class LocalPresence:
    """Who is where on this worker. Times are seconds of one monotonic clock."""

    def __init__(self, *, grace: float = GRACE) -> None:
        self._grace = grace
        self._rooms: dict[str, _Room] = {}
        self._dirty: dict[str, None] = {}  # rooms with something to write and no write under way
        self._leaving: deque[tuple[float, str, str]] = deque()  # until, room, user: in order of time
        self._given_up: list[tuple[str, int]] = []
        self._under_way = 0
        self._number = 0

    # ---- what happened -----------------------------------------------------------------------------

    def entered(self, room: str, user: str, name: str) -> None:
        """One more connection of a user is in a room."""
        here = self._rooms.get(room)
        if here is None:
            here = self._rooms[room] = _Room()
        held = here.users.get(user)
        if held is None:
            here.users[user] = _Held(1, name)
        else:
            held.connections += 1
            returned = held.until and held.name == name and held.connections == 1
            held.until, held.name = 0.0, name
            if returned:
                return  # the store has, or is about to be told, just that
        self._mark(room, here, user)

    def left(self, room: str, user: str, now: float, *, grace: float | None = None) -> None:
        """One connection of a user is in a room no longer; `grace` instead of the usual, always the same."""
        grace = self._grace if grace is None else grace
        here = self._rooms.get(room)
        held = here.users.get(user) if here else None
        if here is None or held is None or not held.connections:
            return
        held.connections -= 1
        if held.connections or not grace:
            self._mark(room, here, user)
        else:
            held.until = now + grace
            self._leaving.append((held.until, room, user))

    def renamed(self, room: str, user: str, name: str) -> None:
        """A user of a room has another name now."""
        here = self._rooms.get(room)
        held = here.users.get(user) if here else None
        if here is not None and held is not None and held.name != name:
            held.name = name
            self._mark(room, here, user)

    def expire(self, now: float) -> None:
        """Count the users no longer that did not return in time."""
        while self._leaving and self._leaving[0][0] <= now:
            until, room, user = self._leaving.popleft()
            here = self._rooms.get(room)
            held = here.users.get(user) if here else None
            if here is not None and held is not None and held.until == until:
                held.until = 0.0
                self._mark(room, here, user)

    def reborn(self) -> set[str]:
        """A new incarnation begins: the store knows nothing of it yet, and what was under way does not count.

        Returns the rooms that the old one may have written to, whether or not the store still has its claims.
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

    # ---- what is to be done ------------------------------------------------------------------------

    @property
    def clean(self) -> bool:
        """The store was told everything."""
        return not self._dirty and not self._under_way

    def pending(self, room: str, user: str) -> bool:
        """Whether the store has still to be told of a user of a room, or to answer."""
        here = self._rooms.get(room)
        if here is None:
            return False
        under_way = here.under_way is not None and any(one == user for one, _, _ in here.under_way.values)
        return under_way or user in here.dirty

    @property
    def empty(self) -> bool:
        """Whether no user is here or expected back."""
        return not self._rooms

    def next_due(self) -> float | None:
        """When `expire` has something to do."""
        return self._leaving[0][0] if self._leaving else None

    def users(self, room: str) -> int:
        """How many users this worker has in a room."""
        here = self._rooms.get(room)
        return len(here.users) if here else 0

    def present(self, room: str) -> bool:
        """Whether someone is here whom a change in this room has to be told."""
        here = self._rooms.get(room)
        return here is not None and any(held.connections for held in here.users.values())

    def take_claims(self, limit: int) -> Claims | None:
        """What to claim and give up now; `claimed` or `not_claimed` answers."""
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
        """The store has noted them."""
        for room, number in claims.taken:
            here = self._rooms.get(room)
            if here is not None and here.claim == number:
                here.claimed = True

    def not_claimed(self, claims: Claims) -> None:
        """Nobody knows whether it has; what was to be given up is left as it is, which only costs a look some day."""
        for room, number in claims.taken:
            here = self._rooms.get(room)
            if here is not None and here.claim == number:
                here.claim = 0

    def take_writes(self, now: float, limit: int) -> Iterator[Write]:
        """What to write now, at most `limit`; `written` or `not_written` answers each."""
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
        values = []
        for user in users:
            held = here.users[user]
            values.append((user, held.connections or held.value, held.name))
        here.under_way = Write(room, self._number, tuple(values))
        return here.under_way

    def written(self, write: Write, *, not_before: float = 0.0) -> None:
        """The store has it; the room's next write waits until `not_before`."""
        here = self._settled(write, not_before)
        if here is None:
            return
        for user, value, _ in write.values:
            if not value and user not in here.dirty and not here.users[user].value:
                del here.users[user]
        if here.dirty:
            self._dirty[write.room] = None
        elif not here.users:
            self._given_up.append((write.room, here.claim))
            del self._rooms[write.room]

    def not_written(self, write: Write, *, not_before: float) -> None:
        """Nobody knows whether the store has it: say it again, as it is by then."""
        here = self._settled(write, not_before)
        if here is not None:
            here.dirty = {**dict.fromkeys(user for user, _, _ in write.values), **here.dirty}
            self._dirty[write.room] = None

    def _settled(self, write: Write, not_before: float) -> _Room | None:
        here = self._rooms.get(write.room)
        if here is None or here.under_way is not write:
            return None  # of an incarnation before
        here.under_way, here.not_before = None, not_before
        self._under_way -= 1
        return here
