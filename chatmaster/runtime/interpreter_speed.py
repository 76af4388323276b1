"""How fast an interpreter is: prints the microseconds of CPU that a fixed piece of work takes, the version, the path.

    python3 -I -S interpreter_speed.py [--bare]

`etc/environment.sh` runs this file with each Python that could serve, and takes the fastest; `chatctl doctor` compares
them again. The work is measured since not every interpreter says how it was built: with profile-guided optimization
(PEP 744 lists what that does) a worker needs 10 to 20 % less CPU, and Debian's Python, which has it, says nothing of it
in `sysconfig`. The file imports nothing of its package: it runs before there is an environment.

Exit code 1: too old, or without the modules that make environments; with `--bare` those are not asked for.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time

ROUNDS = 25  # of about 0.7 ms; the fastest counts: what else the machine does seldom slows all of them
STEPS = 4000


class _Counter:
    def __init__(self, key: int) -> None:
        self.key = key

    def next_after(self, counts: dict[int, int]) -> int:
        return counts.get(self.key, 0) + 1


def _work() -> None:
    """What workers do most: small objects, calls, attributes, dictionaries."""
    counts: dict[int, int] = {}
    for step in range(STEPS):
        counter = _Counter(step & 63)
        counts[counter.key] = counter.next_after(counts)


def measure() -> int:
    """Microseconds of the fastest round."""
    best = 0
    for _ in range(ROUNDS):
        begin = time.process_time_ns()
        _work()
        took = time.process_time_ns() - begin
        best = min(best, took) if best else took
    return best // 1000


def main() -> int:
    able = "--bare" in sys.argv or (importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv"))
    if sys.version_info < (3, 11) or not able:
        return 1
    version = ".".join(map(str, sys.version_info[:3]))
    sys.stdout.write(f"{measure()} {version} {os.path.realpath(sys.executable)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
