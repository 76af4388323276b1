"""What both kinds of `chatctl bench` measure with: CPU of the server's processes, quantiles of ages."""

from __future__ import annotations

from collections.abc import Sequence

from chatmaster.runtime import proc


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of processes; of one that has ended meanwhile nothing."""
    return sum(proc.cpu_seconds(pid) for pid in pids)


def quantile(ages: Sequence[int], part: float) -> float | None:
    """Of sorted ages in ns, in ms; None: there are none."""
    return round(ages[min(int(len(ages) * part), len(ages) - 1)] / 1e6, 3) if ages else None
