"""Restore: a snapshot that lies alone in the store's directory becomes the beginning of the store's log.

A log may begin with a snapshot: one that was rewritten does, and so does the single file of an older version. From
Redis 7 on the server takes such a file into its own directory and writes to others, so the file may be a second name of
the snapshot, which stays as it is. Until the server answers, a mark says that the log holds nothing but the snapshot: a
start after one that failed begins anew.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Final

from chatmaster.errors import StoreUnusable

log = logging.getLogger(__name__)

SNAPSHOT: Final = "dump.rdb"  # what BGSAVE writes
MARK: Final = "restoring"
_LOG_FILE: Final = "appendonly.aof"
_LOG_DIRECTORY: Final = "appendonlydir"
_MAGIC: Final = (b"REDIS", b"VALKEY")  # of a snapshot, before the number of its format


class Restore:
    """The restore of one directory."""

    def __init__(self, directory: Path) -> None:
        """Raises StoreUnusable where what would be restored is no snapshot."""
        self._snapshot = directory / SNAPSHOT
        self._mark = directory / MARK
        self._file = directory / _LOG_FILE
        self._directory = directory / _LOG_DIRECTORY
        self._under_way = False
        if self._wanted and not self._is_snapshot():
            raise StoreUnusable(
                f"{self._snapshot} cannot be restored: it is not a snapshot of Redis or Valkey (`BGSAVE` writes one); "
                "put a whole one there, or move it away to start empty"
            )

    @property
    def _wanted(self) -> bool:
        """Whether there is a snapshot and nothing that is newer."""
        newer = not self._mark.exists() and (self._file.exists() or self._directory.exists())
        return self._snapshot.exists() and not newer

    def _is_snapshot(self) -> bool:
        try:
            with self._snapshot.open("rb") as file:
                return file.read(16).startswith(_MAGIC)
        except OSError as error:
            raise StoreUnusable(f"{self._snapshot} cannot be restored: {error.strerror}") from None

    @property
    def failed(self) -> str:
        """What is said where the server ends before it has answered; "" where nothing is restored."""
        return f"the snapshot {self._snapshot} could not be restored: " if self._under_way else ""

    def begin(self) -> None:
        """Make the snapshot the log, if there is no other."""
        self._under_way = self._wanted
        if self._mark.exists():
            shutil.rmtree(self._directory, ignore_errors=True)
            self._file.unlink(missing_ok=True)
            self._mark.unlink()
        if not self._under_way:
            return
        log.warning("the store begins with the snapshot %s, for it has no data of its own", self._snapshot)
        self._mark.touch(mode=0o600)
        try:
            os.link(self._snapshot, self._file)
        except OSError:  # no second names on this file system
            shutil.copyfile(self._snapshot, self._file)

    def end(self) -> None:
        """The server has read the log; from now on the log is what counts."""
        if self._under_way:
            self._under_way = False
            self._mark.unlink(missing_ok=True)
