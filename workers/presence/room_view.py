"""Owns what a worker knows of everyone in its rooms, and when its own members are told of a change. Pure.

Theory of operation. Each change is published with the room's next version and the count after it. Versions in a row
give names; a jump means that a note was lost: the count is still right, but not who came and went, so members
are told only the count and ask again if they want to know. A lost last note shows no jump: a version that was read or
that a write was answered with, and that no note has brought within a second, counts as one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

LARGE = 1000  # users; from then on only the count is told
LARGE_INTERVAL = 1.0  # seconds between two writes for a large room, and between two pushes for each LARGE users
LONGEST_INTERVAL = 5.0  # seconds between two pushes, however many the users are
PATIENCE = 1.0  # seconds that a note may take


class PresenceNote(Struct, frozen=True):
    """What the scripts publish of a change."""

    version: int
    count: int
    joined: list[tuple[str, str]] = []  # user, name
    left: list[tuple[str, str]] = []
    renamed: list[tuple[str, str]] = []
    complete: bool = True  # False: there were too many to name


decode_note = msgspec.json.Decoder(PresenceNote).decode


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """What the members of a room are told of the last interval.

    With `complete` false the names are not known or too many: only the count is told, and who shows names asks again.
    """

    count: int  # users
    joined: tuple[tuple[str, str], ...] = ()  # user, name
    left: tuple[tuple[str, str], ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    complete: bool = True


@dataclass(slots=True)
class RoomView:
    """One room. Times are seconds of one monotonic clock."""

    version: int = -1  # -1: not known yet
    count: int = 0
    told: int = -1  # the count that members were told last
    expected: int = 0  # a version that is known to exist
    expected_count: int = 0
    patience: float = 0.0  # until when its note may take
    published: bool = False  # before the first version was known: a note was published that has to come
    due: float = 0.0  # of the next push; 0: nothing to tell
    complete: bool = True
    joined: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def receive_note(self, note: PresenceNote, now: float, interval: float) -> None:
        """A note came."""
        if note.version <= self.version:
            return
        before = self.version if self.version >= 0 else self.expected
        if note.version > before + 1 and before:
            self.complete = False
        self.version, self.count = note.version, note.count
        self._collect(note)
        self._arm(now, interval)

    def confirmed(self, version: int, count: int, now: float, *, published: bool = False) -> None:
        """The store said what is true; the note for it may still be on its way, and surely is with `published`."""
        if self.version < 0:
            self.count = count
            self.published = self.published or published
        if version > self.version and version > self.expected:
            self.expected, self.expected_count = version, count
            self.patience = self.patience or now + PATIENCE

    def tick(self, now: float, interval: float) -> None:
        """Time passed: a note that did not come is lost."""
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
        """The store may have forgotten: versions may begin anew, and anyone may have come or gone."""
        self.version, self.expected, self.patience = -1, 0, 0.0
        self.published = self.complete = False
        self._arm(now, interval)

    def next_due(self) -> float:
        """When `tick` or `take` has something to do; 0: never."""
        due = self.due if self.version >= 0 else 0.0
        return min(due, self.patience) if due and self.patience else due or self.patience

    def take(self, now: float, names: int) -> PresenceChange | None:
        """What to tell the members now, at most `names` names; None: nothing."""
        if not self.due or now < self.due or self.version < 0:
            return None
        joined, left, renamed = self.joined, self.left, self.renamed
        complete = self.complete and self.count <= LARGE and len(joined) + len(left) + len(renamed) <= names
        self.due, self.complete = 0.0, True
        self.joined, self.left, self.renamed = {}, {}, {}
        if self.count == self.told and complete and not (joined or left or renamed):
            return None
        self.told = self.count
        if not complete:
            return PresenceChange(self.count, complete=False)
        return PresenceChange(self.count, tuple(joined.items()), tuple(left.items()), tuple(renamed.items()))

    def _collect(self, note: PresenceNote) -> None:
        """Who came and went within one interval was not here, and the other way round."""
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
        if not self.due:
            self.due = now + (interval if self.count <= LARGE else large_interval(self.count))


def large_interval(count: int) -> float:
    """Seconds between two pushes to so many users, more than LARGE: a push is a write to each of them."""
    return min(LARGE_INTERVAL * count / LARGE, LONGEST_INTERVAL)
