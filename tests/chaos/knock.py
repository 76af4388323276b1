"""`python -m tests.chaos.knock`: 1,000 new handshakes a second while the server is reloaded 20 times and scaled 10.

Nobody may be refused, reset or kept waiting: exits with 1 where somebody was, or where an operation failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final

from msgspec import Struct, field

from tests.chaos.handshakes import IN, LATE, REFUSED, RESET, TIMED_OUT
from tests.support.server import ROOT, Chatmaster

SETTLE: Final = 30.0  # seconds for the handshakes that are under way at the end


class Knocks(Struct):
    """The result of a run."""

    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    operations: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # operations

    @property
    def bad(self) -> dict[str, int]:
        """Handshakes that did not end as they should."""
        return {outcome: times for outcome, times in self.outcomes.items() if times and outcome not in (IN, LATE)}

    @property
    def rate(self) -> float:
        return self.outcomes[IN] / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        done = Counter(self.operations)
        lines = [f"{self.outcomes[IN]} handshakes in {self.seconds:.1f} s, {self.rate:.0f} a second"]
        lines += [f"{', '.join(f'{times} x {name}' for name, times in sorted(done.items()))}", ""]
        others = sorted(set(self.bad) - {REFUSED, RESET, TIMED_OUT})
        lines += [f"{name:>12}  {self.outcomes[name]}" for name in (REFUSED, RESET, TIMED_OUT, *others)]
        return "\n".join([*lines, *self.failed])


def plan(reloads: int, scalings: int) -> Iterator[tuple[str, ...]]:
    """So many reloads, and among them so many scalings up and as many down."""
    up = down = 0
    for number in range(1, reloads + 1):
        yield ("reload",)
        while up * reloads < scalings * number:
            up += 1
            yield "scale", "+1"
        while (down + 1) * reloads <= scalings * number:
            down += 1
            yield "scale", "-1"


def knock(
    server: Chatmaster,
    *,
    rate: float,
    processes: int,
    reloads: int,
    scalings: int,
    say: Callable[[str], None] = print,
) -> Knocks:
    """Carry the plan out on a running server while `processes` processes knock."""
    found = Knocks()
    with ExitStack() as stack:
        knockers = [stack.enter_context(_knocker(server.url, rate / processes)) for _ in range(processes)]
        for one in knockers:
            assert one.stdout is not None
            one.stdout.readline()  # it has begun
        began = time.monotonic()
        for arguments in plan(reloads, scalings):
            name, before = " ".join(arguments), time.monotonic()
            done = server.ctl(*arguments, timeout=120)
            found.operations.append(name)
            say(f"{before - began:6.1f}  {name}: {time.monotonic() - before:.2f} s")
            if done.returncode:
                found.failed.append(f"{name}: exit code {done.returncode}: {done.stderr.strip()}")
        found.seconds = time.monotonic() - began
        for one in knockers:
            told, _ = one.communicate("", timeout=SETTLE)
            found.outcomes.update(json.loads(told) if told else {"a knocker died": 1})
    return found


def _knocker(url: str, rate: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "tests.chaos.handshakes", url, f"{rate:g}"]
    return subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdin=-1, stdout=-1, text=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.knock", description=__doc__)
    parser.add_argument("--rate", type=float, default=1000.0, help="handshakes a second")
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--scalings", type=int, default=10, help="up, and as many down")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2, help="that knock")
    parser.add_argument("--log", action="store_true", help="print the server's log, whatever came of it")
    options = parser.parse_args()
    with Chatmaster(workers=options.workers) as server:
        found = knock(
            server,
            rate=options.rate,
            processes=options.processes,
            reloads=options.reloads,
            scalings=options.scalings,
            say=lambda text: print(text, flush=True),
        )
        print(found)
        if found.rate < 0.9 * options.rate:
            print(f"this machine was too slow for {options.rate:g} a second")
        if found.bad or found.failed or options.log:
            print(server.log()[-20_000:], file=sys.stderr)
    return 1 if found.bad or found.failed else 0


if __name__ == "__main__":
    sys.exit(main())
