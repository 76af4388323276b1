"""What the kernel says of a process under /proc: memory, CPU, open files. A process that has gone has none of it."""

from __future__ import annotations

import os
import resource
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK: Final = os.sysconf("SC_CLK_TCK")


def resident(pid: int | None) -> int:
    """Resident memory in bytes; 0: it has gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def cpu_seconds(pid: int | None) -> float:
    """User and system time in seconds since its start, its threads included; 0: it has gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # its name may have blanks and brackets
        return (int(fields[11]) + int(fields[12])) / _TICK
    except (OSError, IndexError):
        return 0.0


def open_files(pid: int | None) -> int:
    """How many descriptors it has open; takes longer the more they are (10,000: 3 ms). 0: it has gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def file_limit(pid: int | None) -> tuple[int, int] | None:
    """Soft and hard RLIMIT_NOFILE; None: it has gone, or is not ours to ask."""
    try:
        return resource.prlimit(pid or 0, resource.RLIMIT_NOFILE)
    except (OSError, ValueError):
        return None
