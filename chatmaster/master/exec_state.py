"""What one image of the master leaves to the next when it executes itself, for a restart or an upgrade.

The descriptors stay open over the exec. What they are is written into a memfd, because the environment is limited in
size and can be seen; an environment variable names that one, and our pid, so that a variable that was inherited by
accident means nothing. Signals that come between the exec and the new image's handlers are blocked and wait for them.

At an upgrade everything goes on meanwhile: workers, store, sockets. Should the new image not be able to go on with what
it was left, it executes the old program again with the same, and with the reason (`roll_back`). Only if that one
cannot go on either does it end, with the reason in the log and a code that is not 0, and the kernel ends the workers.
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

# Not SIGCHLD: a shell that starts the program waits for children of its own.
_HELD: Final = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN,
    signal.SIGTTOU,
)  # fmt: skip


class MasterProgram(msgspec.Struct, frozen=True):
    """What to execute."""

    argv: tuple[str, ...]  # the first one is the path
    python_path: str = ""  # PYTHONPATH; "": none


class WorkerSnapshot(msgspec.Struct, frozen=True):
    """A worker process; what is thought of it is in the `PolicySnapshot`, under its number."""

    number: int
    slot: int
    pid: int
    incarnation: str
    started: float  # Unix time
    row: int  # of counters
    contract: int  # whose table the row is in
    channel: int  # descriptor
    waiting: tuple[tuple[bytes, tuple[int, ...]], ...] = ()  # packets that it has not taken, with their descriptors
    since: float = 0.0  # when it was forked, monotonic; 0: not said


class CommandSnapshot(msgspec.Struct, frozen=True):
    """Something that was asked and is not done."""

    kind: str
    to: int | None = None
    by: int = 0
    worker: str = ""
    peers: tuple[int, ...] = ()  # connections of the control socket that wait for the answer
    signals: int = 0  # signals that asked
    program: MasterProgram | None = None  # to upgrade to
    began: float = 0.0  # monotonic


class MasterSnapshot(msgspec.Struct, frozen=True):
    """What goes on while the master executes its new program."""

    view: PolicySnapshot
    groups: tuple[Group, ...]
    workers: tuple[WorkerSnapshot, ...]
    tables: dict[int, int]  # version of the contract → memfd of counters
    store: StoreSnapshot | None
    settings: dict[str, Any]  # those that only a restart changes, by key path
    durability: str
    started: float  # the master, Unix time
    generation: int  # the highest that was ever begun
    scaled: tuple[str, ...]  # groups whose count was changed by hand
    control: int  # the control socket
    visitors: tuple[int, ...]  # its connections that have not asked yet
    jobs: tuple[CommandSnapshot, ...]  # the upgrade is the first
    back: MasterProgram  # the program that left all this
    since: float = 0.0  # the master, monotonic; 0: the image before this one did not say
    refused: str = ""  # why the one that was executed in between gave it back


class ExecState(msgspec.Struct, frozen=True):
    """Everything that stays open."""

    pid: int
    pid_file: int
    listeners: tuple[ListenerSnapshot, ...] = ()
    askers: tuple[int, ...] = ()  # who waits until the new image is ready, at a restart
    running: MasterSnapshot | None = None  # at an upgrade

    def descriptors(self) -> list[int]:
        """All that must survive the exec."""
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
    """What the image before this one left; None: this is a start of its own."""
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
    """Become that program, or our own again, with the same arguments.

    Raises OSError where it cannot be executed; then nothing has changed.
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
    """The handlers are there: let come what has waited."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


def roll_back(left: ExecState | None, reason: str) -> None:
    """Execute the old program again, since this one cannot go on; returns only where that is impossible, too."""
    running = left.running if left is not None else None
    if left is None or running is None or running.refused:
        return
    log.critical("the new program cannot go on with what it was left (%s): back to the old one", reason)
    given_back = msgspec.structs.replace(running, refused=reason)
    try:
        execute(msgspec.structs.replace(left, running=given_back), running.back)
    except OSError as error:
        log.critical("the old program cannot be executed either: %s", error)


def own_program() -> MasterProgram:
    """What we are."""
    return MasterProgram((sys.executable, *sys.orig_argv[1:]), os.environ.get("PYTHONPATH", ""))


def program_environment(program: MasterProgram) -> dict[str, str]:
    """Our own, but for what says where its packages are."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return environ | ({"PYTHONPATH": program.python_path} if program.python_path else {})


def write_all(name: str, data: bytes) -> int:
    """A new memfd with that in it."""
    fd = os.memfd_create(f"chatmaster-{name}", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(data)
    return fd


def read_all(fd: int) -> bytes:
    """What is in a memfd."""
    return os.pread(fd, os.fstat(fd).st_size, 0)
