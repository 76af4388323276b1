"""Readings from /proc, free ports, and the end of processes that a test started itself."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
from collections.abc import Iterable
from pathlib import Path

from tests.support import wait


def alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not waited for does not."""
    return state(pid) not in ("", "Z", "X")


def state(pid: int) -> str:
    """The letter of proc(5): R, S, D, T (stopped), Z (dead, not waited for); "" when there is no such process."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def children(pid: int) -> list[int]:
    """The direct children, including dead ones that were not waited for."""
    return [other for other in _all() if (fields := _stat(other)) and int(fields[1]) == pid]


def tree(pid: int) -> list[int]:
    """The process and everything below it."""
    parents = {other: int(fields[1]) for other in _all() if (fields := _stat(other))}
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def title(pid: int) -> str:
    """The command line of a process, as `ps` shows it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def descriptors(pid: int) -> dict[int, str]:
    """The open descriptors of a process and their targets."""
    found: dict[int, str] = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(entry.name)] = os.readlink(entry)
        except OSError:
            pass  # closed meanwhile
    return found


def resident(pid: int) -> int:
    """Bytes of its memory that are its own or its share of what is shared (PSS)."""
    return _shares(pid)["Pss"]


def written(pid: int) -> int:
    """The same without what is mapped from files, whose share depends on who else runs the same Python."""
    shares = _shares(pid)
    return shares["Pss"] - shares["Pss_File"]


def time_slice(pid: int) -> int | None:
    """The scheduler's, in nanoseconds; None where the kernel gives no process one of its own, as before 6.12."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())
    try:
        lines = Path(f"/proc/{pid}/sched").read_text().splitlines()
    except OSError:
        return None
    found = next((line.rpartition(":")[2] for line in lines if line.startswith("se.slice")), None)
    return int(found) if found is not None and release >= (6, 12) else None


def _shares(pid: int) -> dict[str, int]:
    """The lines of smaps_rollup in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def end(pids: Iterable[int], timeout: float = 10.0) -> None:
    """Kill these processes and wait until they are gone. Only for those that the test started."""
    left = list(pids)
    for pid in left:
        send(pid, signal.SIGKILL)
    wait.until(lambda: not any(alive(pid) for pid in left), timeout, f"{left} are gone")


def send(pid: int, number: signal.Signals) -> bool:
    """Signal a process; False: it is not there any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def free_port() -> int:
    """A port of 127.0.0.1 without a listener, below those that the kernel gives to outgoing connections (32,768 on).

    A port is drawn at random, so that two tests at a time are unlikely to be given the same one.
    """
    while not is_free(port := random.SystemRandom().randrange(12_000, 32_000)):
        pass
    return port


def is_free(port: int) -> bool:
    """Whether nobody listens at that port of 127.0.0.1."""
    with socket.socket() as sock, contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        return True
    return False


def _all() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name, from the state on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
