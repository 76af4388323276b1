"""How many cores this process may use: its affinity and the quota of its control group (cgroups(7)).

A container with half a core still sees all cores of the machine; only the quota of the group tells. Version 2 has it
in `cpu.max`, version 1 in `cpu.cfs_quota_us`; the smallest quota of a group and its ancestors holds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_MOUNT = Path("/sys/fs/cgroup")
_OF_PROCESS = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores that a process may use."""

    pinned: int  # by affinity
    quota: float | None  # by the control group, in cores; None: no limit

    @property
    def count(self) -> int:
        """The number of whole cores that can be kept busy, at least 1; a part of a core counts as one."""
        return self.pinned if self.quota is None else max(1, min(self.pinned, math.ceil(self.quota)))

    def are_crowded_by(self, workers: int) -> bool:
        """True for more than two workers a core: each costs memory, and none of them gets more done."""
        return workers > 2 * self.count

    def __str__(self) -> str:
        limit = "" if self.quota is None else f", the control group's quota is {self.quota:g}"
        return f"{self.pinned} by affinity{limit}"


def available(mount: Path = _MOUNT, of_process: Path = _OF_PROCESS) -> Cores:
    """Return the cores that this process may use now."""
    return Cores(max(len(os.sched_getaffinity(0)), 1), _quota(mount, of_process))


def _quota(mount: Path, of_process: Path) -> float | None:
    try:
        lines = of_process.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            quotas += _along(mount, path, _quota_v2)
            quotas += _along(mount / "unified", path, _quota_v2)
        elif "cpu" in controllers.split(","):
            for name in dict.fromkeys((controllers, "cpu", "cpu,cpuacct")):
                quotas += _along(mount / name, path, _quota_v1)
    return min(quotas, default=None)


def _along(mount: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    """Return the quotas of a group and its ancestors; in its own namespace, the mount is the group."""
    group = PurePosixPath(path)
    places = [mount / str(one).lstrip("/") for one in (group, *group.parents)]
    return [quota for place in places if (quota := read(place)) is not None]


def _quota_v2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        period = int((group / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
