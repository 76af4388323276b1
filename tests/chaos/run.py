"""A run: a schedule made from a seed, the faults in that order, and the verdict at the end.

The same seed gives the same faults in the same order at the same times; what the machine makes of it is its own.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from tests.chaos import faults_clients, faults_network, faults_processes, faults_store
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.judge import COLUMNS, Verdict
from tests.chaos.site import Site

REGISTERED: Final = (faults_clients, faults_network, faults_processes, faults_store)
PAUSE: Final = (0.5, 5.0)  # seconds between two faults


class Due(Struct, frozen=True):
    """A fault and when it begins, in seconds from the start."""

    at: float
    fault: Fault
    seed: int


def schedule(seed: int, seconds: float, faults: Iterable[Fault], *, pause: tuple[float, float] = PAUSE) -> list[Due]:
    """All faults in random order, again and again, until the time is over."""
    chance, kinds = random.Random(seed), sorted(faults, key=lambda one: one.name)
    found: list[Due] = []
    at = 1.0
    while True:
        for one in chance.sample(kinds, len(kinds)):
            if at >= seconds:
                return found
            found.append(Due(at, one, chance.getrandbits(32)))
            at += chance.uniform(*pause)


class Run:
    """Carries a schedule out."""

    def __init__(self, seed: int, due: list[Due], *, herd: int, say: Callable[[str], None] = print) -> None:
        self.seed = seed
        self.due = due
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []  # of faults whose own expectation was wrong
        self._herd = herd
        self._say = say
        self._groups: dict[str, asyncio.Lock] = {}

    async def run(self) -> Verdict:
        async with Site(random.Random(self.seed), herd=self._herd, say=self._say) as site:
            began = time.monotonic()
            tasks = []
            for due in self.due:
                await asyncio.sleep(max(0.0, began + due.at - time.monotonic()))
                tasks.append(asyncio.create_task(self._do(site, due, began)))
            await asyncio.gather(*tasks)
            try:
                verdict = await site.verdict()
            finally:
                self.log = site.server.log()
            return verdict

    async def _do(self, site: Site, due: Due, began: float) -> None:
        async with self._groups.setdefault(due.fault.group, asyncio.Lock()):
            # The master is what workers and operators are reached through.
            self._say(f"{time.monotonic() - began:7.1f}  {due.fault.name}")
            site.chance.seed(due.seed)
            try:
                await due.fault.act(site)
            except Exception as error:
                self.failures.append(f"{due.fault.name}: {error!r}")
                self._say(f"{time.monotonic() - began:7.1f}  {self.failures[-1]}")
            self.done[due.fault.name] += 1


def report(run: Run, verdict: Verdict) -> str:
    """The figures as people read them."""
    lines = [f"{times:5d}  {name}" for name, times in sorted(run.done.items())]
    lines += ["", "  ".join(f"{column:>14}" for column in COLUMNS)]
    lines += ["  ".join(f"{verdict.counts[column]:>14}" for column in COLUMNS), "", str(verdict)]
    return "\n".join([*lines, *run.failures])


def short_faults() -> list[Fault]:
    return [one for one in FAULTS.values() if not one.long]
