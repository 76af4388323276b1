"""Records the incarnations of worker processes that may have left state in the store, in memory and in a file.

A killed process leaves its users in the rooms and its connections in the counts until its lease expires. The other
workers remove them at once. If there are none (one worker, or the whole server was killed), the workers that start next
must know the incarnations. The file is in the state directory, so that the next master knows them, too.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

LEASE: Final = 15.0  # seconds; a little longer than a lease lasts in the store (`workers/cluster/lease.py`)
MOST_DEAD: Final = 64
MOST_LEFT: Final = 1024  # incarnations read from the file
_NAME: Final = re.compile(r"[0-9a-f]{16}")


class WorkerRecord:
    """The workers that run, those that died lately, and those of the previous master."""

    def __init__(self, path: Path, *, left: Iterable[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._left = tuple(left)
        self._running: dict[str, None] = {}
        self._dead: deque[tuple[float, str]] = deque(maxlen=MOST_DEAD)

    def add(self, *incarnations: str) -> None:
        """Record processes that run."""
        self._running |= dict.fromkeys(incarnations)
        self._write()

    def remove(self, incarnation: str, *, orderly: bool) -> None:
        """Record that a process has ended; `orderly`: it has released its lease."""
        self._running.pop(incarnation, None)
        if not orderly:
            self._dead.append((self._clock(), incarnation))
        self._write()

    def orphans(self) -> tuple[str, ...]:
        """Return the dead incarnations whose state a process that starts now must remove."""
        dead = (incarnation for when, incarnation in self._dead if self._clock() - when < LEASE)
        return (*self._left, *dead)

    def forget_left(self) -> None:
        """Forget the workers of the previous master: the running workers have removed their state."""
        self._left = ()
        self._write()

    def _write(self) -> None:
        names = [*self._running, *self.orphans()]
        try:
            if not names:
                self._path.unlink(missing_ok=True)
                return
            new = self._path.with_name(f"{self._path.name}.new")
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write("".join(f"{name}\n" for name in names))
            new.replace(self._path)
        except OSError as error:  # a full disk: the dead then count until their leases expire
            log.debug("the incarnations of the workers cannot be written to %s: %s", self._path, error.strerror)


def left_in(path: Path) -> tuple[str, ...]:
    """Return the incarnations that the previous master has left in the file."""
    try:
        text = path.read_text("ascii", errors="replace")
    except OSError:
        return ()
    return tuple(dict.fromkeys(name for name in text.split()[:MOST_LEFT] if _NAME.fullmatch(name)))
