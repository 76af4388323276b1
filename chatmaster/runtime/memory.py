"""How much memory this process may use: the machine's, or less where its control group has a limit (cgroups(7))."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

_MOUNT = Path("/sys/fs/cgroup")
_OF_PROCESS = Path("/proc/self/cgroup")
_ROUNDED_UP = 1 << 60  # bytes; version 1 has a number near 2^63 where there is no limit


def available(mount: Path = _MOUNT, of_process: Path = _OF_PROCESS) -> int:
    """Return the bytes that all processes of this one's control group may use together."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_limits(mount, of_process)])


def _limits(mount: Path, of_process: Path) -> list[int]:
    """Return the limits of the group and its ancestors; in its own namespace, the mount is the group."""
    try:
        lines = of_process.read_text().splitlines()
    except OSError:
        return []
    found: list[int] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        group = PurePosixPath(path)
        for one in (group, *group.parents):
            below = str(one).lstrip("/")
            if not controllers:
                found += _read(mount / below / "memory.max")
            elif "memory" in controllers.split(","):
                found += _read(mount / controllers / below / "memory.limit_in_bytes")
    return found


def _read(file: Path) -> list[int]:
    try:
        limit = int(file.read_text())
    except (OSError, ValueError):  # "max"
        return []
    return [limit] if 0 < limit < _ROUNDED_UP else []
