"""The state that one image of the master leaves to the next when it executes itself, for a restart or an upgrade.

The descriptors stay open over the exec. Their meaning is written into a memfd, because the environment is limited in
size and visible to others. An environment variable names the memfd and the pid, so that a variable inherited by
accident has no effect. Signals that arrive between the exec and the new image's handlers are blocked until then.

During an upgrade, workers, store and sockets go on. If the new image cannot go on with the state, it executes the old
program again with the same state and the reason (`roll_back`). If the old program cannot go on either, the master ends
with the reason in the log and a code that is not 0, and the kernel ends the workers.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import MutableMapping
from typing import Any, Final, NoReturn

import msgspec

from chatmaster.config.groups import Group
from chatmaster.master.listeners import ListenerSnapshot
from chatmaster.policy.processes import PolicySnapshot
from chatmaster.store.supervisor import StoreSnapshot

log = logging.getLogger(__name__)

VARIABLE: Final = "_CHATMASTER_SUCCESSION"

# Not SIGCHLD: a shell script that starts the program waits for its own children.
_HELD: Final = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN,
    signal.SIGTTOU,
)  # fmt: skip


class MasterProgram(msgspec.Struct, frozen=True):
    """A program that the master can execute."""

    argv: tuple[str, ...]  # the first one is the path
    python_path: str = ""  # PYTHONPATH; "": none


class WorkerSnapshot(msgspec.Struct, frozen=True):
    """A worker process; the policy's record of it is in the `PolicySnapshot`, under its number."""

    number: int
    slot: int
    pid: int
    incarnation: str
    started: float  # Unix time
    row: int  # index of its row of counters
    contract: int  # the version whose table has the row
    channel: int  # descriptor
    waiting: tuple[tuple[bytes, tuple[int, ...]], ...] = ()  # packets not read yet, with their descriptors
    since: float = 0.0  # when it was forked, monotonic; 0: unknown


class CommandSnapshot(msgspec.Struct, frozen=True):
    """A command that has not ended."""

    kind: str
    to: int | None = None
    by: int = 0
    worker: str = ""
    peers: tuple[int, ...] = ()  # connections of the control socket that wait for the answer
    signals: int = 0  # signals that asked
    program: MasterProgram | None = None  # to upgrade to
    began: float = 0.0  # monotonic


class MasterSnapshot(msgspec.Struct, frozen=True):
    """What goes on while the master executes a new program."""

    view: PolicySnapshot
    groups: tuple[Group, ...]
    workers: tuple[WorkerSnapshot, ...]
    tables: dict[int, int]  # version of the contract → memfd of counters
    store: StoreSnapshot | None
    settings: dict[str, Any]  # settings that only a restart changes, by key path
    durability: str
    started: float  # the master, Unix time
    generation: int  # the highest that any command has begun
    scaled: tuple[str, ...]  # groups whose count was changed by hand
    control: int  # the control socket
    visitors: tuple[int, ...]  # its connections without a request yet
    jobs: tuple[CommandSnapshot, ...]  # the upgrade is the first
    back: MasterProgram  # the program that wrote this snapshot
    since: float = 0.0  # the master, monotonic; 0: unknown to the previous image
    refused: str = ""  # why the program executed in between gave the state back


class ExecState(msgspec.Struct, frozen=True):
    """All that stays open over the exec."""

    pid: int
    pid_file: int
    listeners: tuple[ListenerSnapshot, ...] = ()
    askers: tuple[int, ...] = ()  # connections that wait until the new image is ready, at a restart
    running: MasterSnapshot | None = None  # at an upgrade

    def descriptors(self) -> list[int]:
        """Return all descriptors that must survive the exec."""
        found = [self.pid_file, *(one.fd for one in self.listeners), *self.askers]
        if (running := self.running) is not None:
            found += [running.control, *running.visitors, *running.tables.values()]
            found += [fd for job in running.jobs for fd in job.peers]
            for worker in running.workers:
                found += [worker.channel, *(fd for _, fds in worker.waiting for fd in fds)]
        return found


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(ExecState).decode


def take(environ: MutableMapping[str, str]) -> ExecState | None:
    """Return the state that the previous image left; None: there is no previous image."""
    pid, _, number = environ.pop(VARIABLE, "").partition(":")
    if pid != str(os.getpid()) or not number.isdigit():
        return None
    try:
        found = decode(read_all(int(number)))
        for fd in found.descriptors():
            os.set_inheritable(fd, False)
    except (OSError, msgspec.MsgspecError):
        return None
    os.close(int(number))
    return found


def execute(left: ExecState, program: MasterProgram | None = None) -> NoReturn:
    """Execute the program, or this one again, with the same arguments.

    Raises OSError if the program cannot be executed; nothing has changed then.
    """
    program = program or own_program()
    sys.stdout.flush()
    sys.stderr.flush()
    descriptors = [write_all("exec_state", encode(left)), *left.descriptors()]
    environ = program_environment(program) | {VARIABLE: f"{os.getpid()}:{descriptors[0]}"}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        for fd in descriptors:
            os.set_inheritable(fd, True)
        os.execve(program.argv[0], program.argv, environ)
    finally:
        for fd in descriptors:
            os.set_inheritable(fd, False)
        os.close(descriptors[0])
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_signals() -> None:
    """Unblock the signals, once the handlers are installed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


def roll_back(left: ExecState | None, reason: str) -> None:
    """Execute the old program again because this one cannot go on; return only if that is impossible, too."""
    running = left.running if left is not None else None
    if left is None or running is None or running.refused:
        return
    log.critical("the new program cannot take over (%s): going back to the old program", reason)
    given_back = msgspec.structs.replace(running, refused=reason)
    try:
        execute(msgspec.structs.replace(left, running=given_back), running.back)
    except OSError as error:
        log.critical("the old program cannot be executed either: %s", error)


def own_program() -> MasterProgram:
    """Return the program that this process runs."""
    return MasterProgram((sys.executable, *sys.orig_argv[1:]), os.environ.get("PYTHONPATH", ""))


def program_environment(program: MasterProgram) -> dict[str, str]:
    """Return the environment for a program: that of this process, with the PYTHONPATH of the program."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return environ | ({"PYTHONPATH": program.python_path} if program.python_path else {})


def write_all(name: str, data: bytes) -> int:
    """Return a new memfd that contains the data."""
    fd = os.memfd_create(f"chatmaster-{name}", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    return fd


def read_all(fd: int) -> bytes:
    """Return the content of a memfd."""
    return os.pread(fd, os.fstat(fd).st_size, 0)
