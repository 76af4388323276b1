"""Forks a worker or probe: prepares the child process, runs the workers' entry in it, and exits.

The steps in the child, in order: signals are blocked over the fork, so that the child writes none to the master's
wake-up descriptor. Descriptors that the worker does not own are closed, so that the sockets of a dead master are really
closed. Privileges are dropped before PDEATHSIG is set, because setuid clears it. SIGABRT writes the stack to the log
and kills the process. The child never returns into the master's code: it ends with `os._exit`.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import importlib
import logging
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from types import FrameType
from typing import NoReturn

import setproctitle

from chatmaster import contract, own_package
from chatmaster.contract import ExitCode, Launch, Probe, Task
from chatmaster.errors import ChatmasterError
from chatmaster.runtime import log_streams, logs, privileges
from chatmaster.runtime.log_keeper import LogKeeper
from chatmaster.stats import Field

log = logging.getLogger(__name__)

# For the master only; a program that a worker starts must not use them.
_SUPERVISOR_VARIABLES = (
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
)  # fmt: skip

_PR_SET_PDEATHSIG = 1
# Looked up before any fork: loading a library in a child of a large process is slow, and may fail.
_prctl = ctypes.CDLL(None, use_errno=True).prctl

MOST_DESCRIPTORS = 65_536  # that are closed one by one if they cannot be listed


def preload(entry: str) -> None:
    """Import the workers' code and its libraries once, so that a fork starts at once and shares their memory.

    `entry` is `module:function`. The module of the application is not preloaded: each worker imports it.
    Raises ChatmasterError where another package hides ours.
    """
    if entry == contract.WORKERS_ENTRY and (complaint := own_package.complaint()):
        raise ChatmasterError(complaint)
    _find(entry)
    gc.collect()
    gc.freeze()


def fork(task: Task, *, entry: str, title: str, process: str, keep: Iterable[int] = ()) -> int:
    """Fork a process that runs `entry` with `task`; returns its pid. Raises OSError.

    `title` is what `ps` shows, `process` the name in its log lines, `keep` the descriptors that it may have
    besides those of the task.
    """
    parent = os.getpid()
    everything = signal.valid_signals()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    try:
        pid = os.fork()
        if pid == 0:
            _become_worker(task, entry=entry, title=title, process=process, keep=set(keep), parent=parent)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return pid


def end_group(pid: int) -> None:
    """Kill the processes that a child which has ended leaves in its process group.

    The number stays reserved while a process of the group lives, and is not reused at once afterwards.
    """
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # the group is empty, or the child never had its own group


def die_with_parent(number: signal.Signals, parent: int) -> None:
    """Have the kernel send this process a signal when its parent ends (prctl(2), PR_SET_PDEATHSIG).

    Called in the child, after privileges are dropped: setuid clears the setting. `parent` is the pid that forked
    this process: if that one is gone already, no signal would ever come, so the process exits. Raises OSError.
    """
    if _prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(0)


def _become_worker(task: Task, *, entry: str, title: str, process: str, keep: set[int], parent: int) -> NoReturn:
    code = int(ExitCode.NOT_READY)
    try:
        _reset_signals()
        os.setpgid(0, 0)  # Ctrl-C and Ctrl-Z are for the master alone
        setproctitle.setproctitle(title)
        keeper = _start_logging(task, process)
        if keeper is not None and isinstance(task, Launch):
            task = dataclasses.replace(task, log=keeper)
        _close_all_but({*keep, *_descriptors(task), *(keeper.descriptors() if keeper is not None else ())})
        for name in _SUPERVISOR_VARIABLES:
            os.environ.pop(name, None)
        privileges.drop(privileges.account(task.settings.master))
        die_with_parent(signal.SIGKILL, parent)
        code = int(_find(entry)(task))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else ExitCode.FAILED if error.code else ExitCode.DONE
    except BaseException as error:
        log.exception("the worker ends")
        _report(task.channel, error)
    finally:
        try:
            _flush()
        finally:  # in any case: the frames below belong to the master
            os._exit(code)


def _reset_signals() -> None:
    """Reset the signal handlers to the defaults, except for signals that a terminal sends to the whole group.

    INT and TERM are for the master, which lets the workers drain first. A function that does nothing, rather than
    SIG_IGN, is not inherited by programs that the worker starts.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave_it_to_the_master)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _leave_it_to_the_master(number: int, frame: FrameType | None) -> None:
    """See `_reset_signals`."""


def _start_logging(task: Task, process: str) -> LogKeeper | None:
    row = task.stats if isinstance(task, Launch) else None

    def count(dropped: int) -> None:
        if row is not None:
            row[Field.LOGS_DROPPED] = dropped

    try:
        handler = logs.configure(
            task.settings.log,
            process,
            instance=task.settings.master.name,
            secrets=task.settings.secrets,
            on_drop=count,
        )
    except OSError as error:  # the master's own handler stays in use
        log.error("%s: the log %s cannot be opened: %s", process, task.settings.log.file, error.strerror)
        return None
    if task.settings.log.format == "json":
        log_streams.capture(handler)
    return LogKeeper(handler, task.settings.log)


def _descriptors(task: Task) -> set[int]:
    owned = {task.channel.fileno()}
    if isinstance(task, Launch):
        owned |= {listener.sock.fileno() for listener in task.listeners}
        owned.add(task.stats.table.fd)
    return owned


def _close_all_but(keep: set[int]) -> None:
    """Close descriptors by number. Frames of the master below keep its objects alive, so none is finalised later."""
    keep |= {0, 1, 2, *(handler.fileno() for handler in logging.getLogger().handlers if hasattr(handler, "fileno"))}
    for number in _open_descriptors():
        if number not in keep:
            try:
                os.close(number)
            except OSError:
                pass  # the descriptor of the listing itself
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # the terminal would stop a worker that reads from it
    if null not in keep:
        os.close(null)


def _open_descriptors() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # no free descriptor to list them with, or no /proc
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return list(range(min(soft, MOST_DESCRIPTORS) if soft != resource.RLIM_INFINITY else MOST_DESCRIPTORS))


def _report(channel: socket.socket, error: BaseException) -> None:
    failed = contract.Failed(
        ExitCode.NOT_READY, f"it ended with {error!r}"[:2000], "".join(traceback.format_exception(error))[-16_000:]
    )
    try:
        channel.settimeout(1.0)
        channel.send(contract.encode(failed))
    except OSError:
        pass  # the master has ended or does not read; the log has the error


def _flush() -> None:
    log_streams.end()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # a program may have replaced the stream by anything
            pass


def _find(entry: str) -> Callable[[Task], int]:
    module, _, name = entry.partition(":")
    found: Callable[[Task], int] = getattr(importlib.import_module(module), name)
    return found


def probe_title(name: str) -> str:
    """Return the title that `ps` shows for a probe."""
    return f"chatmaster: probe [{name}]"


def worker_title(slot: int, name: str) -> str:
    """Return the title that `ps` shows for a worker."""
    return f"chatmaster: worker {slot} [{name}]"


__all__ = ["Launch", "Probe", "die_with_parent", "fork", "preload", "probe_title", "worker_title"]
