"""The embedded store: a Valkey or Redis server process on a private unix socket.

Theory of operation. The store is a child of the master in its own session, so Ctrl-C does not reach the store. The
store dies with the master (PDEATHSIG). The child locks its directory with flock(2) before it executes the server, which
inherits the lock: a new store waits until the previous store has ended, and the master does not wait. The server syncs
every write before it answers (`appendfsync always`), so an acknowledged message survives kill -9 and power loss. A
marker beside the data names the server that wrote them.

A server that keeps a log of its writes ignores a snapshot, and would start empty beside one. So a snapshot that lies
alone in the directory, put there to be restored, becomes the beginning of the log (`restore.py`).

Every message waits for the store, which works for some tens of microseconds and sleeps again. So it asks the kernel for
a short time slice: on a core that workers keep busy, it runs soon after it wakes up.

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
from chatmaster.runtime import memory, scheduling
from chatmaster.runtime.exit_status import describe
from chatmaster.runtime.fork import die_with_parent
from chatmaster.store.binary import StoreBinary, check_marker, find_program, write_marker
from chatmaster.store.restore import Restore
from chatmaster.store.url import unix_url

# How far a subscriber (a busy worker) may fall behind before the server disconnects it: a hard limit, or a soft limit
# for that many seconds. The default of 8 MiB for 60 s is one second of the messages of a busy server.
PUBSUB_BUFFER: Final = "pubsub 256mb 64mb 60"
PING_TIMEOUT: Final = 0.05  # seconds that `answers` may block the loop of the master
NOT_EXECUTED: Final = 127  # exit code of a program that cannot be executed, as a shell has it
LOG_LIMIT: Final = 1_000_000  # bytes of the store's log above which a start rotates it

LOG_TAIL: Final = 16_384  # bytes of the log that are searched for the reason of an exit
_LINE = re.compile(r"(?P<pid>\d+):\S+ .*?(?: (?P<level>[.*#-]) (?P<text>.*))?$")

_PEERCRED = struct.Struct("3i")  # struct ucred: pid, uid, gid


class EmbeddedStore:
    """The server process of the embedded store."""

    durability: Final = "disk"

    def __init__(self, name: str, directory: Path, program: StoreBinary | None = None, *, max_memory: int = 0) -> None:
        """`name` is the instance; `directory` holds the data and is created if missing.

        `max_memory`: bytes for its data, beyond which it refuses writes; 0: half of what this process may use.

        Create the object after privileges are dropped, so that the directory belongs to the right user. Raises
        StoreUnusable without a server program, or for data that the program cannot read.
        """
        self.name = name
        self.max_memory = max_memory or memory.available() // 2
        self.directory = directory
        self.socket_path = directory / "store.sock"
        self.log_path = directory / "store.log"
        length = len(os.fsencode(self.socket_path))
        if length > MAX_UNIX_PATH:
            raise StoreUnusable(
                f"the embedded store's socket {self.socket_path} has a path of {length} bytes, a unix socket may "
                f"have {MAX_UNIX_PATH}: set a shorter master.state_dir"
            )
        self.program = program or find_program()
        self.pid: int | None = None
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreUnusable(
                f"the embedded store's directory {directory} cannot be created: {error.strerror}"
            ) from None
        check_marker(directory, self.program)
        self._restore = Restore(directory)

    @property
    def url(self) -> str:
        """The URL for client libraries, percent-encoded (RFC 3986, 2.1)."""
        return unix_url(self.socket_path)

    def spawn(self) -> int:
        """Start the server and return its pid at once; poll `answers` until the server is ready."""
        self._restore.begin()
        write_marker(self.directory, self.program)
        _rotate(self.log_path)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_server(parent)
        self.pid = pid
        return pid

    def answers(self) -> bool:
        """True if this server process answers PING within PING_TIMEOUT seconds.

        The peer of the socket must be the process that `spawn` started: a previous server that is about to end may
        still answer there.
        """
        if self.pid is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(PING_TIMEOUT)
                sock.connect(str(self.socket_path))
                peer, _, _ = _PEERCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
                sock.sendall(b"PING\r\n")
                ready = peer == self.pid and sock.recv(64).startswith(b"+PONG")
        except OSError:
            return False
        if ready:
            self._restore.end()
        return ready

    def terminate(self) -> None:
        """Ask the server to end; the server syncs and closes its files."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server; no acknowledged message is lost."""
        self._signal(signal.SIGKILL)

    def exited(self, status: int) -> str:
        """Record the exit; `status` is that of waitpid. Returns a sentence with the reason in the server's log."""
        pid, self.pid = self.pid, None
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return f"the store was {describe(code)}" + ("" if code == -signal.SIGKILL else f"; see {self.log_path}")
        if code == 0:
            return "the store ended by itself"
        reason = self._restore.failed + _reason(self.log_path, pid)
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
            "maxmemory": str(self.max_memory),
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
                pass  # the server has ended; waitpid follows

    def _become_server(self, parent: int) -> None:
        """Execute the server in the child. Never returns."""
        try:
            os.setsid()
            die_with_parent(signal.SIGKILL, parent)
            scheduling.ask_for_slice(scheduling.SHORTEST)
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
            os.set_inheritable(lock, True)  # the server keeps the lock
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
    """Keep one old log. The server opens its log for each line, so renaming the file is always safe."""
    try:
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
    except OSError:
        pass  # no log yet, or a bad directory, which fails the start with a better message


def _reason(log: Path, pid: int | None) -> str:
    """The last line in which process `pid` gave a reason for its exit, without pid and date; "" without such a line.

    A reason is a warning (`#`), or a line that is not in the format of the log, written before the log was open. Advice
    about the machine, notices (`*`) and lines of other processes are not reasons.
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
