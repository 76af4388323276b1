"""Owns this worker's own truth of its connections: how many in all, of each user, of each address. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from workers.registry import keys


class Tally:
    """Connections by subject. What the store has still to be told is `dirty`."""

    def __init__(self) -> None:
        self._subjects: dict[str, tuple[str, ...]] = {}  # connection → what it is counted under
        self._counts: dict[str, int] = {}
        self.dirty: dict[str, None] = {}

    def __contains__(self, connection: str) -> bool:
        return connection in self._subjects

    def __len__(self) -> int:
        return len(self._subjects)

    def add(self, connection: str, user: str, address: str) -> tuple[str, ...]:
        """Count a connection; returns its subjects. One that is counted already is moved to the new user."""
        self.remove(connection)
        subjects = tuple(
            subject
            for subject, wanted in (
                (keys.ALL, True),
                (keys.of_user(user), bool(user)),
                (keys.of_address(address), bool(address)),
            )
            if wanted
        )
        self._subjects[connection] = subjects
        for subject in subjects:
            self._counts[subject] = self._counts.get(subject, 0) + 1
        self.mark(subjects)
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
            left = self._counts[subject] - 1
            if left:
                self._counts[subject] = left
            else:
                del self._counts[subject]
        return subjects

    def subjects_of(self, connection: str) -> tuple[str, ...]:
        """What a connection is counted under."""
        return self._subjects.get(connection, ())

    def count(self, subject: str) -> int:
        """This worker's connections."""
        return self._counts.get(subject, 0)

    def subjects(self) -> list[str]:
        """Everything that is counted."""
        return list(self._counts)

    def mark(self, subjects: Iterable[str]) -> None:
        """The store may have another number."""
        self.dirty.update(dict.fromkeys(subjects))

    def take(self, limit: int) -> list[tuple[str, int]]:
        """What the store has to be told now: absolute numbers."""
        taken = list(self.dirty)[:limit]
        for subject in taken:
            del self.dirty[subject]
        return [(subject, self.count(subject)) for subject in taken]
