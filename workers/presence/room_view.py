"""A worker's view of all users in its rooms, and the times at which its own members are told of changes. Pure.

Theory of operation. Each change is published with the room's next version and the count after the change. Consecutive
versions give names; a jump means that a note was lost: the count is still right, but the names of those who joined and
left are not known, so members get only the count and ask again for the names if they show them. The loss of a room's
last note shows no jump: a version that was read, or that answered a write, and that no note has brought within a
second, counts as a jump.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

LARGE = 1000  # users; a room with more is told only its count
LARGE_INTERVAL = 1.0  # seconds between two writes for a large room, and between two pushes for each LARGE users
LONGEST_INTERVAL = 5.0  # seconds between two pushes, however many the users are
PATIENCE = 1.0  # seconds that a note may take to arrive


class PresenceNote(Struct, frozen=True):
    """A change, as the scripts publish it."""

    version: int
    count: int
    joined: list[tuple[str, str]] = []  # user, name
    left: list[tuple[str, str]] = []
    renamed: list[tuple[str, str]] = []
    complete: bool = True  # False: there were too many to name


decode_note = msgspec.json.Decoder(PresenceNote).decode


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """The changes of the last interval, as the members of a room are told of them.

    With `complete` false the names are not known or too many: members get only the count, and a client that shows
    names asks again.
    """

    count: int  # users
    joined: tuple[tuple[str, str], ...] = ()  # user, name
    left: tuple[tuple[str, str], ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    complete: bool = True


@dataclass(slots=True)
class RoomView:
    """The view of one room. Times are seconds of one monotonic clock."""

    version: int = -1  # -1: not known yet
    count: int = 0
    told: int = -1  # the count that members were told last
    expected: int = 0  # a version that is known to exist
    expected_count: int = 0
    patience: float = 0.0  # the time until which the note of that version may arrive; 0: no note is awaited
    published: bool = False  # a note was published before the first version was known, and must arrive
    since: float | None = None  # the time of the first change that is not told; None: nothing to tell
    interval: float = 0.0  # seconds that changes of a room which is not large are collected
    complete: bool = True
    joined: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def receive_note(self, note: PresenceNote, now: float, interval: float) -> None:
        """Take in a note of the room."""
        if note.version <= self.version:
            return
        before = self.version if self.version >= 0 else self.expected
        if note.version > before + 1 and before:
            self.complete = False
        self.version, self.count = note.version, note.count
        self._collect(note)
        self._arm(now, interval)

    def confirmed(self, version: int, count: int, now: float, *, published: bool = False) -> None:
        """Take in the store's version and count; with `published` that version's note was published, else perhaps."""
        if self.version < 0:
            self.count = count
            self.published = self.published or published
        if version > self.version and version > self.expected:
            self.expected, self.expected_count = version, count
            self.patience = self.patience or now + PATIENCE

    def tick(self, now: float, interval: float) -> None:
        """Treat a note that has not arrived in time as lost."""
        if not self.patience or now < self.patience:
            return
        self.patience = 0.0
        if self.expected <= self.version:
            return
        begun, self.version, self.count = self.version >= 0, self.expected, self.expected_count
        if begun or self.published:
            self.complete = False
            self._arm(now, interval)
        else:
            self.told = self.told if self.told >= 0 else self.count  # nothing has happened since the first member came

    def doubt(self, now: float, interval: float) -> None:
        """The store may have lost data: versions may restart, and any user may have joined or left."""
        self.version, self.expected, self.patience = -1, 0, 0.0
        self.published = self.complete = False
        self._arm(now, interval)

    def next_due(self) -> float:
        """The time at which `tick` or `take` next has work to do; 0: never."""
        due = 0.0 if self.since is None or self.version < 0 else self._due(self.since)
        return min(due, self.patience) if due and self.patience else due or self.patience

    def take(self, now: float, names: int) -> PresenceChange | None:
        """The change to announce to the members now, with at most `names` names; None: nothing to announce."""
        if self.since is None or self.version < 0 or now < self._due(self.since):
            return None
        joined, left, renamed = self.joined, self.left, self.renamed
        complete = self.complete and self.count <= LARGE and len(joined) + len(left) + len(renamed) <= names
        self.since, self.complete = None, True
        self.joined, self.left, self.renamed = {}, {}, {}
        if self.count == self.told and complete and not (joined or left or renamed):
            return None
        self.told = self.count
        if not complete:
            return PresenceChange(self.count, complete=False)
        return PresenceChange(self.count, tuple(joined.items()), tuple(left.items()), tuple(renamed.items()))

    def _collect(self, note: PresenceNote) -> None:
        """Add a note to the interval; a join and a leave of one user within the interval cancel each other out."""
        if not note.complete:
            self.complete = False
        for user, name in note.joined:
            before = self.left.pop(user, None)
            if before is None:
                self.joined[user] = name
            elif before != name:
                self.renamed[user] = name
        for user, name in note.left:
            self.renamed.pop(user, None)
            if self.joined.pop(user, None) is None:
                self.left[user] = name
        for user, name in note.renamed:
            (self.joined if user in self.joined else self.renamed)[user] = name

    def _arm(self, now: float, interval: float) -> None:
        self.interval = interval
        if self.since is None:
            self.since = now

    def _due(self, since: float) -> float:
        """The time of the next push, by the count as it is now: a room that fills meanwhile is told once, and later."""
        return since + (self.interval if self.count <= LARGE else large_interval(self.count))


def large_interval(count: int) -> float:
    """Seconds between two pushes to so many users, more than LARGE: a push is a write to each of them."""
    return min(LARGE_INTERVAL * count / LARGE, LONGEST_INTERVAL)
