"""The embedded store: finds a Valkey or Redis server, runs it on a private unix socket, and says how it is.

Theory of operation. The store is a child of the master in a session of its own, so that Ctrl-C does not reach it, and
it dies with the master (PDEATHSIG). Its directory is locked with flock(2) by the child itself before it executes
the server, which inherits the lock: a store that is started while the last one still writes waits for it, and the
master does not. Every write is synced before it is answered (`appendfsync always`), so an acknowledged message
survives kill -9 and power loss. Which server made the data is written beside them.

The master owns waitpid and restarts; this file only spawns, asks and signals.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import struct
from pathlib import Path
from typing import Final

from chatmaster.addresses import MAX_UNIX_PATH
from chatmaster.errors import StoreUnusable
from chatmaster.runtime.exit_status import describe
from chatmaster.runtime.fork import die_with_parent
from chatmaster.store.binary import StoreBinary, check_marker, find_program, write_marker
from chatmaster.store.url import unix_url

# Room for a subscriber (a worker's loop that is busy) to fall behind before the server cuts it: hard limit, or
# soft limit for that many seconds. The default's 8 MiB for 60 s is one second of a busy server's messages.
PUBSUB_BUFFER: Final = "pubsub 256mb 64mb 60"
PING_TIMEOUT: Final = 0.05  # seconds that `answers` may take: the master's loop waits for it
NOT_EXECUTED: Final = 127  # exit code of a program that cannot be executed, as a shell has it
LOG_LIMIT: Final = 1_000_000  # bytes of the store's log that a start keeps as it is

LOG_TAIL: Final = 16_384  # bytes of it in which a reason for its end is looked for
_LINE = re.compile(r"(?P<pid>\d+):\S+ .*?(?: (?P<level>[.*#-]) (?P<text>.*))?$")

_PEERCRED = struct.Struct("3i")  # struct ucred: pid, uid, gid


class EmbeddedStore:
    """The server that the master runs for itself."""

    durability: Final = "disk"

    def __init__(self, name: str, directory: Path, program: StoreBinary | None = None) -> None:
        """`name` is the instance's, `directory` the store's own (made if missing).

        Make it after privileges are dropped: it makes the directory as who it is.
        Raises StoreUnusable where there is no server program, or it cannot read the data that are there.
        """
        self.name = name
        self.directory = directory
        self.socket_path = directory / "store.sock"
        self.log_path = directory / "store.log"
        length = len(os.fsencode(self.socket_path))
        if length > MAX_UNIX_PATH:
            raise StoreUnusable(
                f"the embedded store's socket {self.socket_path} has {length} bytes in its path, a unix socket may "
                f"have {MAX_UNIX_PATH}: name a shorter master.state_dir"
            )
        self.program = program or find_program()
        self.pid: int | None = None
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreUnusable(
                f"the embedded store's directory {directory} cannot be made: {error.strerror}"
            ) from None
        check_marker(directory, self.program)

    @property
    def url(self) -> str:
        """What a client library connects to; what would begin a query or fragment is encoded (RFC 3986, 2.1)."""
        return unix_url(self.socket_path)

    def spawn(self) -> int:
        """Start the server and return its pid at once. `answers` tells when it can be used."""
        write_marker(self.directory, self.program)
        _rotate(self.log_path)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_server(parent)
        self.pid = pid
        return pid

    def answers(self) -> bool:
        """Whether this very server answers PING, asked within PING_TIMEOUT seconds.

        The socket's peer must be the process that we started: one that is just ending still answers there.
        """
        if self.pid is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(PING_TIMEOUT)
                sock.connect(str(self.socket_path))
                peer, _, _ = _PEERCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
                sock.sendall(b"PING\r\n")
                return peer == self.pid and sock.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def terminate(self) -> None:
        """Ask it to end: it syncs and closes its files."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once; nothing that was acknowledged is lost."""
        self._signal(signal.SIGKILL)

    def exited(self, status: int) -> str:
        """It was waited for; `status` is waitpid's. Returns what happened, in words, with the reason that it gave."""
        pid, self.pid = self.pid, None
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return f"the store was {describe(code)}" + ("" if code == -signal.SIGKILL else f"; see {self.log_path}")
        if code == 0:
            return "the store ended by itself"
        reason = _reason(self.log_path, pid)
        return f"the store ended with {describe(code)}" + (f": {reason}" if reason else f"; see {self.log_path}")

    def command(self) -> list[str]:
        """The server's command line."""
        options = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "600",
            "dir": str(self.directory),
            "daemonize": "no",
            "loglevel": "notice",
            "logfile": str(self.log_path),
            "databases": "1",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "client-output-buffer-limit": PUBSUB_BUFFER,
            "proc-title-template": f"chatmaster: store [{self.name}]",
        }
        return [str(self.program.path), *(part for key, value in options.items() for part in (f"--{key}", value))]

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass  # it ended by itself and is about to be waited for

    def _become_server(self, parent: int) -> None:
        """In the child: never returns."""
        try:
            os.setsid()
            die_with_parent(signal.SIGKILL, parent)
            signal.set_wakeup_fd(-1)
            for number in (
                signal.SIGTERM,
                signal.SIGINT,
                signal.SIGHUP,
                signal.SIGPIPE,
                signal.SIGUSR1,
                signal.SIGUSR2,
            ):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.umask(0o077)
            log = os.open(self.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            null = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((null, 0), (log, 1), (log, 2)):
                os.dup2(source, target)
            lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            os.set_inheritable(lock, True)  # the server holds it, too
            os.closerange(3, lock)
            os.closerange(lock + 1, _highest_open() + 1)
            fcntl.flock(lock, fcntl.LOCK_EX)
            command = self.command()
            os.execv(command[0], command)
        except BaseException as error:
            os.write(2, f"the store could not be executed: {error}\n".encode())
        finally:
            os._exit(NOT_EXECUTED)


def _highest_open() -> int:
    return max(int(name) for name in os.listdir("/proc/self/fd"))


def _rotate(log: Path) -> None:
    """Keep one old log; the server opens its log anew for each line, so this is safe at any time."""
    try:
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
    except OSError:
        pass  # none yet, or a directory that is about to make the start fail with a better message


def _reason(log: Path, pid: int | None) -> str:
    """The last line by which that process said what is wrong, without its pid and date; "": there is none.

    That is one of its warnings (`#`), or a line that is not in the form of the log: what was written before there was
    one. Its advice about the machine and its notices (`*`) are no reasons, as is nothing of those before it.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        said = _LINE.match(line)
        if said is None and line.strip():
            return line.strip()
        if said is not None and int(said["pid"]) != pid:
            return ""
        if said is not None and said["level"] == "#" and not said["text"].startswith("WARNING"):
            return said["text"]
    return ""
