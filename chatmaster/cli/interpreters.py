"""Which interpreters there are on PATH, and whether one of them is faster than the one that serves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from chatmaster.runtime import interpreter_speed

NAMES: Final = ("python3.14", "python3.13", "python3.12", "python3.11", "python3")  # as etc/environment.sh tries them
FASTER: Final = 0.9  # of the time that the running one takes: less of a difference is not worth another environment
PAIRS: Final = 7  # of runs that alternate: what else the machine does slows single runs by more than that
LOST: Final = 1  # pairs in which the faster one may be the slower
TIMEOUT: Final = 10.0  # seconds for one interpreter


class Speed(NamedTuple):
    """What an interpreter takes for the work of `interpreter_speed`."""

    path: str
    version: str
    micros: int


def measure(path: str, *, bare: bool = False) -> Speed | None:
    """The speed of an interpreter; None for one that is too old, or with `bare` false cannot make environments."""
    command = [path, "-I", "-S", interpreter_speed.__file__, *(["--bare"] if bare else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        micros, version, *_ = done.stdout.split()
        return Speed(path, version, int(micros))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def executable_of(pid: int) -> str:
    """The interpreter of a process, or this one's where the process is not ours to look at."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return os.path.realpath(sys.executable)


def others(running: str) -> Iterator[str]:
    """The interpreters on PATH but for the running one, each once."""
    seen = {os.path.realpath(running)}
    for name in NAMES:
        for directory in os.get_exec_path():
            candidate = Path(directory, name)
            real = os.path.realpath(candidate)
            if real not in seen and os.access(candidate, os.X_OK):
                seen.add(real)
                yield str(candidate)


def compare(one: str, other: str) -> tuple[Speed, Speed] | None:
    """The best of several runs of each, which alternate; None unless `other` is surely and much faster than `one`."""
    runs: list[tuple[Speed, Speed]] = []
    lost = 0
    for number in range(PAIRS):
        first, second = (one, other) if number % 2 else (other, one)
        pair = {path: measure(path, bare=path == one) for path in (first, second)}
        mine, theirs = pair[one], pair[other]
        if mine is None or theirs is None:
            return None
        lost += theirs.micros >= mine.micros
        if lost > LOST:
            return None
        runs.append((mine, theirs))
    slow, fast = (min(speeds, key=lambda speed: speed.micros) for speeds in zip(*runs, strict=True))
    return (slow, fast) if fast.micros < slow.micros * FASTER else None


def faster_than(running: str) -> tuple[Speed, Speed] | None:
    """The running interpreter and the fastest on PATH; None where no other is worth another environment."""
    found = [pair for path in others(running) if (pair := compare(running, path)) is not None]
    return min(found, key=lambda pair: pair[1].micros / pair[0].micros, default=None)
