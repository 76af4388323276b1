"""A run: a schedule made from a seed, the faults in that order, and the verdict at the end.

The same seed gives the same faults in the same order, each with the same numbers drawn; what the machine makes of it is
its own. The times are those of a machine that keeps up: what has its turn alone waits for the others to be over.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from tests.chaos import (
    faults_clients,
    faults_elsewhere,
    faults_namespaces,
    faults_network,
    faults_operators,
    faults_processes,
    faults_store,
)
from tests.chaos.faults import Fault, Skipped, Turn
from tests.chaos.judge import COLUMNS, Verdict
from tests.chaos.site import Site

REGISTERED: Final = (
    faults_clients,
    faults_elsewhere,
    faults_namespaces,
    faults_network,
    faults_operators,
    faults_processes,
    faults_store,
)
ROUNDS: Final = 3  # in the long run every kind comes that often at least: once alone, and twice among others
LONG: Final = 600.0  # seconds of a run that has so many
FIRST: Final = 1.0  # seconds


class Due(Struct, frozen=True):
    """A fault and when it begins, in seconds from the start."""

    at: float
    fault: Fault
    seed: int
    alone: bool = False


def schedule(seed: int, seconds: float, faults: Iterable[Fault], *, alone: bool = True) -> list[Due]:
    """All faults in random order, in one round after another; from LONG on in ROUNDS of them at least.

    In each round another third of the kinds have their turn alone, which takes three times as long. A run that is
    too short for a round has the first ones of it.
    """
    chance, kinds = random.Random(seed), sorted(faults, key=lambda one: one.name)
    rounds = max(ROUNDS, round(ROUNDS * seconds / LONG)) if alone and seconds >= LONG else ROUNDS
    pace = max(seconds, LONG) / rounds if alone else seconds
    shares = chance.sample(range(len(kinds)), len(kinds))
    found: list[Due] = []
    for number in range(rounds if alone else 1):
        order = chance.sample(range(len(kinds)), len(kinds))
        weights = [3.0 if alone and shares[kind] % ROUNDS == number % ROUNDS else 1.0 for kind in order]
        at, step = FIRST + number * pace, (pace - FIRST) / sum(weights)
        for kind, weight in zip(order, weights, strict=True):
            found.append(Due(at, kinds[kind], chance.getrandbits(32), weight > 1))
            at += weight * step * chance.uniform(0.6, 1.0)
    return [one for one in found if one.at < seconds]


def each_alone(seed: int, faults: Iterable[Fault]) -> list[Due]:
    """Every kind once, alone, one right after the other."""
    chance, kinds = random.Random(seed), sorted(faults, key=lambda one: one.name)
    return [Due(0.0, one, chance.getrandbits(32), alone=True) for one in chance.sample(kinds, len(kinds))]


class Run:
    """Carries a schedule out."""

    def __init__(self, seed: int, due: list[Due], *, herd: int, say: Callable[[str], None] = print) -> None:
        self.seed = seed
        self.due = due
        self.done: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}  # what this machine cannot do, and why
        self.failures: list[str] = []  # what faults found that must not be, or did not do what they should
        self.log = ""
        self._herd = herd
        self._say = say
        self._groups: dict[str, asyncio.Lock] = {}
        self._began = 0.0

    async def run(self) -> Verdict:
        async with Site(self.seed, herd=self._herd, say=self._say) as site:
            begin = self._began = time.monotonic()
            tasks: list[asyncio.Task[None]] = []
            for due in self.due:
                await asyncio.sleep(max(0.0, begin + due.at - time.monotonic()))
                if not due.alone:
                    tasks.append(asyncio.create_task(self._do(site, due)))
                    continue
                await asyncio.gather(*tasks)
                tasks.clear()
                await self._alone(site, due)
                # What comes after it does not come all at once.
                begin += max(0.0, time.monotonic() - begin - due.at - 1.0)
            await asyncio.gather(*tasks)
            try:
                return await site.verdict()
            finally:
                self.log = site.server.log()

    async def _alone(self, site: Site, due: Due) -> None:
        await self._calm(site, f"before {due.fault.name}")
        await self._do(site, due)
        await self._calm(site, f"after {due.fault.name}")

    async def _calm(self, site: Site, when: str) -> None:
        try:
            await site.calm()
        except AssertionError as error:
            self._failed(f"{when}: {error}")

    async def _do(self, site: Site, due: Due) -> None:
        name = due.fault.name
        async with self._groups.setdefault(due.fault.group, asyncio.Lock()):
            self._say(f"{self._now}  {name}{', alone' if due.alone else ''}")
            try:
                await due.fault.act(site, Turn(random.Random(due.seed), due.alone))
            except Skipped as reason:
                self.skipped[name] = str(reason)
                return
            except Exception as error:
                self._failed(f"{name}: {error!r}")
            self.done[name] += 1

    @property
    def _now(self) -> str:
        return f"{time.monotonic() - self._began:7.1f}"

    def _failed(self, sentence: str) -> None:
        self.failures.append(f"{self._now}  {sentence}")
        self._say(f"{self._now}  FAILED {sentence}")


def report(run: Run, verdict: Verdict) -> str:
    """The figures as people read them."""
    lines = [f"{times:5d}  {name}" for name, times in sorted(run.done.items())]
    lines += [f"    -  {name}: {reason}" for name, reason in sorted(run.skipped.items())]
    lines += ["", "  ".join(f"{column:>14}" for column in COLUMNS)]
    lines += ["  ".join(f"{verdict.counts[column]:>14}" for column in COLUMNS), "", str(verdict)]
    return "\n".join([*lines, *run.failures])
