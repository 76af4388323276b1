"""`python -m tests.chaos --minutes 10 [--seed N]`: everything that can break breaks, again and again.

Exits with 1 where a promise was broken. `--list` prints the schedule of a seed only; `--only` picks faults by a part of
their name. From ten minutes on every kind comes three times at least, once alone and twice among others.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections import Counter

from tests.chaos.faults import FAULTS
from tests.chaos.run import Run, each_alone, report, schedule


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--only", default="", help="faults whose name contains this")
    parser.add_argument("--herd", type=int, default=2000, help="clients that come in one second")
    parser.add_argument("--each", action="store_true", help="each kind once, alone, however long that takes")
    parser.add_argument("--list", action="store_true", help="print the schedule and end")
    options = parser.parse_args()
    faults = [one for one in FAULTS.values() if options.only in one.name]
    if not faults:
        parser.error(f"no fault's name contains {options.only!r}: {', '.join(sorted(FAULTS))}")
    due = each_alone(options.seed, faults) if options.each else schedule(options.seed, options.minutes * 60, faults)
    least = min(Counter(one.fault.name for one in due).get(fault.name, 0) for fault in faults)
    print(f"seed {options.seed}, {len(due)} faults of {len(faults)} kinds, each {least} times or more", flush=True)
    if options.list:
        print("\n".join(f"{one.at:7.1f}  {one.fault.name}{', alone' if one.alone else ''}" for one in due))
        return 0
    run = Run(options.seed, due, herd=options.herd, say=lambda text: print(text, flush=True))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever ends it, it leaves no namespace behind
    began = time.monotonic()
    verdict = asyncio.run(run.run())
    print(report(run, verdict))
    print(f"seed {options.seed}: {time.monotonic() - began:.0f} s")
    if verdict.faults or run.failures:
        print(run.log[-20_000:], file=sys.stderr)
    return 1 if verdict.faults or run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
