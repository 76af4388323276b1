"""Creates the state directory with mode 0700; refuses one whose content others could read or replace."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from chatmaster.errors import ChatmasterError

OTHERWISE = "name another one with --state-dir or master.state_dir"


def prepare(path: Path, *, uid: int | None = None, gid: int | None = None) -> None:
    """Create the directory, or check an existing one. Raises ChatmasterError.

    `uid` and `gid` are those that the master will drop to; None: unchanged. A directory that others may enter is
    refused, not repaired: others may have good reason to use it.
    """
    owner = os.geteuid() if uid is None else uid
    try:
        made = _make(path)
        if made and (uid is not None or gid is not None):
            os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid)
        found = path.stat()
    except OSError as error:
        raise ChatmasterError(f"the state directory {path} cannot be made: {error.strerror}; {OTHERWISE}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise ChatmasterError(f"the state directory {path} is no directory; {OTHERWISE}")
    if found.st_uid != owner:
        raise ChatmasterError(
            f"the state directory {path} belongs to user {found.st_uid}, not to user {owner}; {OTHERWISE}"
        )
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise ChatmasterError(
            f"the state directory {path} is open to others (mode {mode:04o}): chmod 700 it, or {OTHERWISE}"
        )


def _make(path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return False
    path.chmod(0o700)  # whatever the umask was
    return True
