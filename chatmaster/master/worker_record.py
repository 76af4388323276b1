"""Owns the names of worker processes that may have left something in the store, in memory and in a file.

A process that is killed leaves its users in the rooms and its connections in the counts until its lease is over. Its
siblings take them out at once; where there are none (a lone worker, a server that was killed as a whole), the workers
that start next have to know the names. The file is in the state directory, so that the next master knows them, too.
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

LEASE: Final = 15.0  # seconds after which the store itself gives up who is dead, and some (`workers/cluster/lease.py`)
MOST_DEAD: Final = 64
MOST_LEFT: Final = 1024  # names that are read
_NAME: Final = re.compile(r"[0-9a-f]{16}")


class WorkerRecord:
    """The workers that run, those that died lately, and those of the master before this one."""

    def __init__(self, path: Path, *, left: Iterable[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._left = tuple(left)
        self._running: dict[str, None] = {}
        self._dead: deque[tuple[float, str]] = deque(maxlen=MOST_DEAD)

    def add(self, *incarnations: str) -> None:
        """These processes run now."""
        self._running |= dict.fromkeys(incarnations)
        self._write()

    def remove(self, incarnation: str, *, orderly: bool) -> None:
        """A process has ended; in order: it has given its lease back."""
        self._running.pop(incarnation, None)
        if not orderly:
            self._dead.append((self._clock(), incarnation))
        self._write()

    def orphans(self) -> tuple[str, ...]:
        """The dead that a process that starts now has to look after."""
        dead = (incarnation for when, incarnation in self._dead if self._clock() - when < LEASE)
        return (*self._left, *dead)

    def forget_left(self) -> None:
        """The workers that run have taken over what the master before this one left."""
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
        except OSError as error:  # a full disk: then the dead are counted until their leases are over
            log.debug("the names of the workers are not in %s: %s", self._path, error.strerror)


def left_in(path: Path) -> tuple[str, ...]:
    """The names that the last master has left there."""
    try:
        text = path.read_text("ascii", errors="replace")
    except OSError:
        return ()
    return tuple(dict.fromkeys(name for name in text.split()[:MOST_LEFT] if _NAME.fullmatch(name)))
