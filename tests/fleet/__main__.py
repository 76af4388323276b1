"""`python -m tests.fleet --minutes 10 [--sentinel|--cluster] [--seed N]`: three hosts in namespaces, and faults.

A Redis with a replica (with --sentinel also three sentinels; with --cluster six nodes), HAProxy, nine clients. Takes
root, iproute2 and haproxy.
Exits with 1 where a promise was broken or a fault was not got over, with 3 where this machine cannot do it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sys
import time

from tests.chaos.namespaces import Unavailable
from tests.fleet.run import FleetRun, faults_of, name_of, report


def main() -> int:
    """Run, and print the verdict."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--sentinel", action="store_true", help="three sentinels that replace the store")
    kind.add_argument("--cluster", action="store_true", help="a cluster of three masters with a replica each")
    parser.add_argument("--only", default="", help="faults whose name contains this")
    options = parser.parse_args()
    every = faults_of(cluster=options.cluster)
    faults = [one for one in every if options.only in name_of(one)]
    if not faults:
        parser.error(f"no fault's name contains {options.only!r}: {', '.join(map(name_of, every))}")
    if shutil.which("haproxy") is None:
        print("this takes haproxy", file=sys.stderr)
        return 3
    run = FleetRun(
        options.seed,
        options.minutes * 60,
        sentinels=3 if options.sentinel else 0,
        cluster=options.cluster,
        faults=faults,
        say=lambda text: print(text, flush=True),
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whatever ends it, it leaves no namespace behind
    began = time.monotonic()
    try:
        verdict = asyncio.run(run.run())
    except Unavailable as why:
        print(why, file=sys.stderr)
        return 3
    print(report(run, verdict))
    print(f"seed {options.seed}: {time.monotonic() - began:.0f} s")
    if verdict.faults or run.failures:
        print(run.logs, file=sys.stderr)
    return 1 if verdict.faults or run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
