"""The locked pid file: at most one master for a name and state directory, and who it is.

The lock is a POSIX record lock (fcntl(2)), because of what that kind does: a fork does not inherit it, so a worker
that outlives its master for a moment holds nothing; an exec in place keeps it; and the kernel tells who holds it, so
that a stale file with the pid of some other program misleads nobody. Its trap: closing *any* descriptor of the
file in the process that holds the lock lets it go, so nobody but `PidFile` may open the file there.
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
    """What a master that was killed has left in its pid file."""

    pid: int
    seen: float  # Unix time; when it last was alive, give or take TOUCH_EVERY seconds


class PidFile:
    """The pid file of a running master; while it lives, it is locked."""

    def __init__(self, path: Path, fd: int, previous: PreviousMaster | None = None) -> None:
        self.path = path
        self.previous = previous  # by a master that did not come to its end
        self._fd = fd

    @classmethod
    def acquire(cls, path: Path) -> PidFile:
        """Lock the file and write our pid. Raises AlreadyRunning, with the pid of the one that runs."""
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
            os.close(fd)  # its last owner removed it between our open and our lock: the next one is the real one
        made = cls(path, fd, _left_in(fd))
        made._write()
        return made

    @classmethod
    def adopt(cls, path: Path, fd: int) -> PidFile:
        """After an exec in place: go on with the descriptor that `keep_over_exec` named."""
        os.set_inheritable(fd, False)
        return cls(path, fd)

    def keep_over_exec(self) -> int:
        """Let the lock survive an exec of this process; returns the descriptor for `adopt`."""
        os.set_inheritable(self._fd, True)
        return self._fd

    def fileno(self) -> int:
        """Its descriptor."""
        return self._fd

    def touch(self) -> None:
        """Still alive: whoever finds the file after our death sees when that was last true."""
        try:
            os.utime(self._fd)
        except OSError:
            pass  # a full or read-only disk: it only makes the time less exact

    def release(self) -> None:
        """Remove the file, then let the lock go."""
        if _is_at(self.path, self._fd):
            self.path.unlink(missing_ok=True)
        os.close(self._fd)

    def _write(self) -> None:
        os.fchmod(self._fd, 0o600)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)


def holder(path: Path) -> int | None:
    """The pid of the master that holds the file; None: none does. Never call it in the master itself."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _holder_of(fd)
    finally:
        os.close(fd)


def _left_in(fd: int) -> PreviousMaster | None:
    """An orderly end removes the file: who is named in one that nobody holds was killed."""
    written = os.pread(fd, 32, 0).strip()
    return PreviousMaster(int(written), os.fstat(fd).st_mtime) if written.isdigit() else None


def _holder_of(fd: int) -> int | None:
    """Who locks it, by F_GETLK; 0 is somebody in another pid namespace."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else max(int(pid), 0)


def _is_at(path: Path, fd: int) -> bool:
    """Whether the path still names the file that we have open."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False
