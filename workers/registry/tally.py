"""Owns this worker's own truth of its connections: how many in all, of each user, of each address. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from workers.registry import keys


class LimitCounts:
    """Connections by subject. What the store has still to be told is `dirty`."""

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
