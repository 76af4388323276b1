"""What the kernel says a server costs: CPU seconds and memory of a process and all below it, the store left out."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from tests.support import processes

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(root: int, without: Collection[int] = ()) -> float:
    """User and system time of the tree, its ended children included: to the nanosecond where the kernel has it so."""
    return sum(_cpu_of(pid) for pid in processes.tree(root) if pid not in without)


def memory(root: int, without: Collection[int] = ()) -> int:
    """Bytes (PSS: shared pages count in parts) of the tree."""
    return sum(_memory_of(pid) for pid in processes.tree(root) if pid not in without)


def _cpu_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        threads = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    ended = sum(int(part) for part in fields[13:15]) / _TICKS  # cutime cstime
    exact = sum(int(thread[0]) for thread in threads) / 1e9
    return ended + (exact or sum(int(part) for part in fields[11:13]) / _TICKS)  # utime stime


def _memory_of(pid: int) -> int:
    try:
        return processes.resident(pid)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def machine() -> dict[str, str]:
    """What a figure is worth nothing without."""
    import platform

    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "cpu": f"{os.cpu_count()} x {model}",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
