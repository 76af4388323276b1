"""Dropping privileges: from root to `master.user` and `master.group`, for good."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass

from chatmaster.errors import ChatmasterError
from chatmaster.settings import Master


@dataclass(frozen=True, slots=True)
class UnixAccount:
    """The user and group to become; None: unchanged."""

    uid: int | None
    gid: int | None
    user: str


def account(settings: Master) -> UnixAccount:
    """Return the configured account. Raises ChatmasterError for a name that does not exist."""
    try:
        entry = pwd.getpwnam(settings.user) if settings.user else None
        gid = grp.getgrnam(settings.group).gr_gid if settings.group else entry.pw_gid if entry else None
    except KeyError as error:
        raise ChatmasterError(str(error.args[0])) from None
    return UnixAccount(entry.pw_uid if entry else None, gid, settings.user)


def drop(wanted: UnixAccount) -> None:
    """Become that account, for good; no effect if the process runs as it already. Raises ChatmasterError."""
    if wanted.uid in (None, os.geteuid()) and wanted.gid in (None, os.getegid()):
        return
    try:
        if wanted.uid is not None and wanted.gid is not None:
            os.initgroups(wanted.user, wanted.gid)
        elif wanted.gid is not None:
            os.setgroups([wanted.gid])
        if wanted.gid is not None:
            os.setresgid(wanted.gid, wanted.gid, wanted.gid)
        if wanted.uid is not None:
            os.setresuid(wanted.uid, wanted.uid, wanted.uid)
    except PermissionError:
        raise ChatmasterError(
            f"only root can become another user: start as root, or without master.user ({wanted.user or wanted.gid})"
        ) from None


def may_read(path: str | os.PathLike[str], wanted: UnixAccount) -> bool:
    """Return True if a file is readable after `drop`; tried in a child, because a drop cannot be undone."""
    pid = os.fork()
    if pid == 0:
        readable = False
        try:
            drop(wanted)
            readable = os.access(path, os.R_OK)
        finally:
            os._exit(0 if readable else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
