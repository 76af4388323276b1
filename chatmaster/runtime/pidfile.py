"""The locked pid file: at most one master for a name and state directory, and its pid.

The lock is a POSIX record lock (fcntl(2)) for three reasons. A fork does not inherit it, so a worker that outlives its
master for a moment holds no lock. An exec in place keeps it. The kernel tells which process holds it, so a stale file
with the pid of another program does no harm. One danger: closing *any* descriptor of the file in the process that
holds the lock releases the lock, so only `PidFile` may open the file there.
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chatmaster.errors import AlreadyRunning, ChatmasterError

TOUCH_EVERY: Final = 5.0  # seconds

_FLOCK = struct.Struct("hhqqi4x")  # struct flock on 64-bit Linux: type, whence, start, length, pid


@dataclass(frozen=True, slots=True)
class PreviousMaster:
    """What a killed master has left in its pid file."""

    pid: int
    seen: float  # Unix time; when it was last alive, up to TOUCH_EVERY seconds earlier than its end


class PidFile:
    """The pid file of a running master, locked until `release`."""

    def __init__(self, path: Path, fd: int, previous: PreviousMaster | None = None) -> None:
        self.path = path
        self.previous = previous  # a master that did not end in order
        self._fd = fd

    @classmethod
    def acquire(cls, path: Path) -> PidFile:
        """Lock the file and write the pid of this process. Raises AlreadyRunning with the pid of the running master."""
        while True:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise ChatmasterError(f"the pid file {path} cannot be opened: {error.strerror}") from None
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                pid = _holder_of(fd)
                os.close(fd)
                if pid is None:
                    continue  # it ended between the two calls
                raise AlreadyRunning(path.stem, pid) from None
            if _is_at(path, fd):
                break
            os.close(fd)  # its last owner removed the file between open and lock: open the new one
        made = cls(path, fd, _left_in(fd))
        made._write()
        return made

    @classmethod
    def adopt(cls, path: Path, fd: int) -> PidFile:
        """Go on with the descriptor from `keep_over_exec`, after an exec in place."""
        os.set_inheritable(fd, False)
        return cls(path, fd)

    def keep_over_exec(self) -> int:
        """Keep the lock over an exec of this process; return the descriptor for `adopt`."""
        os.set_inheritable(self._fd, True)
        return self._fd

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def touch(self) -> None:
        """Set the time of the file to now: the next master reads from it when this one was last alive."""
        try:
            os.utime(self._fd)
        except OSError:
            pass  # a full or read-only disk: the time is less exact then

    def release(self) -> None:
        """Remove the file, then release the lock."""
        if _is_at(self.path, self._fd):
            self.path.unlink(missing_ok=True)
        os.close(self._fd)

    def _write(self) -> None:
        os.fchmod(self._fd, 0o600)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)


def holder(path: Path) -> int | None:
    """Return the pid of the master that holds the lock, or None. Never call this in the master itself."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _holder_of(fd)
    finally:
        os.close(fd)


def _left_in(fd: int) -> PreviousMaster | None:
    """Return the master named in an unlocked file: an orderly end removes the file, so it was killed."""
    written = os.pread(fd, 32, 0).strip()
    return PreviousMaster(int(written), os.fstat(fd).st_mtime) if written.isdigit() else None


def _holder_of(fd: int) -> int | None:
    """Return the pid that holds the lock (F_GETLK); 0: a process in another pid namespace; None: no process."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else max(int(pid), 0)


def _is_at(path: Path, fd: int) -> bool:
    """Return True if the path still names the open file."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False
