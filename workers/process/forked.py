"""Children that application code forks: they must not hold the worker's sockets, and end with the worker.

A forked child has a copy of every descriptor. As long as it lives, a connection that the worker closes stays open
for the client, a dead worker's clients hear nothing, and the port stays in use. So the child gives up the worker's
sockets at once: those of clients and listeners, to the store, to the master and to siblings. Their numbers then lead
to /dev/null instead of being closed, because Python objects of the copy still name them, and would close what is
opened under the same number later. Programs that are executed never see any of this: all is close-on-exec.

The master kills the worker's process group when the worker has ended. A child that is to outlive its worker needs a
session of its own (`start_new_session`).
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterable
from multiprocessing import util
from pathlib import Path
from types import FrameType
from typing import Final

logger = logging.getLogger(__name__)

LAST_WISH: Final = 1.0  # seconds between SIGTERM and the master's SIGKILL for children
_TOLD_TO_END: Final = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG: Final = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before any fork
_EPOLL: Final = "anon_inode:[eventpoll]"


class Forks:
    """Makes each forked child release the worker's sockets and signal handlers. One object for each worker process."""

    def __init__(self, listeners: Iterable[socket.socket] = ()) -> None:
        self._places = {_place(sock) for sock in listeners}
        self.store: Callable[[], Iterable[int]] = tuple  # descriptors of the connections to the store, at a fork
        self._pid = os.getpid()
        self._fork = threading.local()  # two threads may fork at the same time

    def adopt(self, listener: socket.socket) -> None:
        """Add a listening socket of the worker."""
        self._places.add(_place(listener))

    def watch(self) -> None:
        """Watch forks for the rest of the process's life."""
        os.register_at_fork(before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child)
        util.register_after_fork(self, Forks._in_multiprocessing_child)

    def _before(self) -> None:
        self._fork.by_main_thread = threading.current_thread() is threading.main_thread()
        # A signal that arrives before the child restores the default handlers would be lost.
        self._fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _TOLD_TO_END)

    def _in_parent(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._fork.mask)

    def _in_child(self) -> None:
        if os.getppid() == self._pid:  # else this is a grandchild, for which everything is done
            signal.set_wakeup_fd(-1)  # the loop of the worker must not be told of our signals
            for number in _TOLD_TO_END:  # the worker leaves them to the master; we may be terminated
                signal.signal(number, signal.SIG_DFL)
            give_up(self._places, set(self.store()))
        signal.pthread_sigmask(signal.SIG_SETMASK, self._fork.mask)

    def _in_multiprocessing_child(self) -> None:
        """A worker of a pool ends with us also where nobody is left to kill the group: the master was killed, too.

        The signal comes when the *thread* that forked ends, so it is asked for only where that was the main one.
        """
        if self._fork.by_main_thread and os.getppid() == self._pid:
            _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
            if os.getppid() != self._pid:
                os._exit(1)


def give_up(places: set[object], others: set[int]) -> None:
    """Let the descriptors of sockets that are bound to `places`, of pairs of packets, and `others` lead nowhere."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd > 2 and fd != null and (fd in others or _is_the_workers(fd, places)):
            os.dup2(null, fd, inheritable=False)
    os.close(null)


def _is_the_workers(fd: int, places: set[object]) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            # The set of descriptors that the worker's loop waits for is shared with it.
            return os.readlink(f"/proc/self/fd/{fd}") == _EPOLL
        sock = socket.socket(fileno=fd)
    except OSError:
        return False  # that of the listing
    try:
        if sock.family == socket.AF_UNIX and sock.type == socket.SOCK_SEQPACKET:
            return True  # to the master, or to a sibling
        return _place(sock) in places
    except OSError:
        return False
    finally:
        sock.detach()


def _place(sock: socket.socket) -> object:
    """What an accepted connection has in common with its listener: the port, or the path."""
    name = sock.getsockname()
    return name[1] if sock.family in (socket.AF_INET, socket.AF_INET6) else (name or None)


# ---- ending with the worker ----------------------------------------------------------------------------


async def end_children() -> None:
    """Send SIGTERM to every process of this worker's group and wait a moment; the master kills the rest."""
    if os.getpgrp() != os.getpid() or not _children():
        return
    loop = asyncio.get_running_loop()
    loop.remove_signal_handler(signal.SIGTERM)  # the worker gets it, too, and a handler of the program may end it
    signal.signal(signal.SIGTERM, _pass_over)
    os.killpg(os.getpgrp(), signal.SIGTERM)
    deadline = loop.time() + LAST_WISH
    while loop.time() < deadline:
        if not _children():
            return
        await asyncio.sleep(0.02)
    logger.warning("processes that this worker started ignore SIGTERM and are killed")


def _pass_over(number: int, frame: FrameType | None) -> None:
    """Do nothing; unlike SIG_IGN this is not inherited by executed programs."""


def _children() -> list[int]:
    """The running children of this process in its process group."""
    found: list[int] = []
    for thread in Path("/proc/self/task").iterdir():
        try:
            found += map(int, (thread / "children").read_text().split())
        except OSError:
            pass  # that thread has ended, or the kernel does not tell
    return [pid for pid in found if _runs_in(pid, os.getpgrp())]


def _runs_in(pid: int, group: int) -> bool:
    try:
        state, _, its_group = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return False
    return state not in "ZX" and int(its_group) == group
