"""A run over a fleet: faults one after the other, in random order, round after round, until the time is over."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from tests.chaos.judge import COLUMNS, Verdict
from tests.fleet.faults import FAULTS, FAULTS_OF_CLUSTER, Fault
from tests.fleet.fleet import Fleet


class FleetRun:
    """One run: what was done, how long each took to recover, what failed."""

    def __init__(
        self,
        seed: int,
        seconds: float,
        *,
        sentinels: int = 0,
        cluster: bool = False,
        faults: Sequence[Fault],
        say: Callable[[str], None] = print,
    ) -> None:
        self.took: defaultdict[str, list[float]] = defaultdict(list)  # seconds, by fault
        self.failures: list[str] = []
        self.logs = ""
        self._seed, self._seconds, self._sentinels, self._say = seed, seconds, sentinels, say
        self._cluster = cluster
        self._faults = faults

    async def run(self) -> Verdict:
        """Carry it out. Raises Unavailable where this machine cannot."""
        chance = random.Random(self._seed)
        async with Fleet(self._seed, sentinels=self._sentinels, cluster=self._cluster, say=self._say) as fleet:
            began = time.monotonic()
            try:
                for fault in order(chance, self._faults):
                    if time.monotonic() - began > self._seconds:
                        break
                    await self._do(fleet, fault, chance, began)
                return await fleet.verdict()
            finally:
                self.logs = "\n".join(host.log()[-4000:] for host in fleet.hosts)

    async def _do(self, fleet: Fleet, fault: Fault, chance: random.Random, began: float) -> None:
        name, at = name_of(fault), time.monotonic() - began
        try:
            took = await fault(fleet, chance)
            await fleet.all_ready()
        except Exception as error:
            self.failures.append(f"{at:7.1f}  {name}: {error!r}")
            self._say(f"{at:7.1f}  FAILED {name}: {error!r}")
            return
        self.took[name].append(took)
        self._say(f"{at:7.1f}  {name}: every client served again after {took:.1f} s")


def faults_of(*, cluster: bool) -> tuple[Fault, ...]:
    """All faults of a fleet on one store, or on a cluster."""
    return FAULTS_OF_CLUSTER if cluster else FAULTS


def order(chance: random.Random, faults: Sequence[Fault]) -> Iterator[Fault]:
    """All faults in random order, again and again."""
    while True:
        yield from chance.sample(faults, len(faults))


def name_of(fault: Fault) -> str:
    """The name of a fault as people read it."""
    name: str = fault.__name__
    return name.replace("_", " ")


def report(run: FleetRun, verdict: Verdict) -> str:
    """The figures as people read them."""
    lines = [
        f"{len(took):3d}  {name}: every client served again after {min(took):.1f} to {max(took):.1f} s"
        for name, took in sorted(run.took.items())
    ]
    lines += ["", "  ".join(f"{column:>14}" for column in COLUMNS)]
    lines += ["  ".join(f"{verdict.counts[column]:>14}" for column in COLUMNS), "", str(verdict)]
    return "\n".join([*lines, *run.failures])
