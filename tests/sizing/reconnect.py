"""A simulation of discrete events: N people lose their host or their region at one moment and come back. Pure.

Each person waits as the clients do (`workers/client/reconnect.py`, the real class), tries, and waits in the queue of a
worker: the kernel's, first come, first served. A worker lets one in after another, each for the CPU that a newcomer
costs; the store behind it takes a part of that for each, in one queue for each shard. Whoever waits for longer than the
server has patience (`limits.hello_timeout`, and `store.timeout` for the store's answer) is turned away, and tries again
after the back-off. So the only inputs are the measured costs, the numbers of workers and shards, and a seed.

With a `grain` each event stands for so many people, who cost as much as all of them: a million need a minute otherwise.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence

from msgspec import Struct

from workers.client.reconnect import LOST, End, ReconnectPolicy

TURNED_AWAY = 0.3  # of a newcomer's cost: the handshake alone, before the hello is too late


class Region(Struct, frozen=True):
    """What comes back, and to what."""

    people: int
    workers: int  # that are left to take them, each with a core of its own
    shards: int
    server_newcomer: float  # seconds of a worker's core
    store_newcomer: float  # seconds of a shard's core
    patience: float = 10.0  # seconds from the connect to the hello
    store_patience: float = 5.0  # seconds for the store's answer
    grain: int = 1  # people of one event
    backlog: int = 4096  # connections that wait in the kernel for one worker; the kernel drops what comes beyond
    seed: int = 1


class Course(Struct, frozen=True):
    """How it went."""

    back_after: list[float]  # seconds from the loss to the welcome, in order
    tries: list[float]  # when somebody knocked
    turned_away: int
    queue: list[tuple[float, int]]  # when, and how many waited
    grain: int = 1  # people for each of these

    def quantile(self, part: float) -> float:
        """Seconds after which that part of all people was back."""
        return self.back_after[min(int(len(self.back_after) * part), len(self.back_after) - 1)]


class _Queues:
    """First come, first served; each with one server whose work is known in advance, so that its end is, too."""

    def __init__(self, count: int) -> None:
        self._free = [0.0] * count

    def begins(self, which: int, now: float) -> float:
        return max(self._free[which], now)

    def serve(self, which: int, now: float, work: float) -> float:
        end = self._free[which] = self.begins(which, now) + work
        return end


def simulate(region: Region) -> Course:
    """Let everybody come back."""
    chance = random.Random(region.seed)
    policies = [ReconnectPolicy(chance.random, renewable=False) for _ in range(region.people // region.grain)]
    first = End(LOST, answered=True)
    events = [(policy.after(first) or 0.0, person) for person, policy in enumerate(policies)]
    heapq.heapify(events)
    workers, shards = _Queues(region.workers), _Queues(region.shards)
    work, part = region.server_newcomer * region.grain, region.store_newcomer * region.grain
    back, tries, queue = [], [], list[tuple[float, int]]()
    turned_away = 0

    def knock(now: float) -> float | None:
        """Lets somebody in; or when somebody is told to come again."""
        worker = chance.randrange(region.workers)  # as SO_REUSEPORT and a balancer spread them
        wait = workers.begins(worker, now) - now
        waiting = int(wait / work)
        queue.append((now, waiting * region.workers * region.grain))
        if waiting * region.grain > region.backlog:
            return now
        if wait > region.patience:
            return workers.serve(worker, now, work * TURNED_AWAY)
        done, shard = workers.serve(worker, now, work), chance.randrange(region.shards)
        if shards.begins(shard, done) - done > region.store_patience:
            return done + region.store_patience  # what was not sent in time costs the store nothing
        back.append(shards.serve(shard, done, part))
        return None

    while events:
        now, person = heapq.heappop(events)
        tries.append(now)
        told = knock(now)
        if told is not None:
            turned_away += region.grain
            heapq.heappush(events, (told + (policies[person].after(End(LOST)) or 0.0), person))
    return Course(sorted(back), tries, turned_away, queue, region.grain)


def a_second(times: Sequence[float], step: float = 0.25) -> list[tuple[float, float]]:
    """How many a second, in steps: (middle of the step, rate)."""
    if not times:
        return []
    counts = [0] * (int(max(times) / step) + 1)
    for time in times:
        counts[int(time / step)] += 1
    return [((at + 0.5) * step, count / step) for at, count in enumerate(counts)]


def longest(queue: Sequence[tuple[float, int]], step: float = 0.25) -> list[tuple[float, float]]:
    """The longest queue in each step."""
    found: dict[int, int] = {}
    for time, waiting in queue:
        found[int(time / step)] = max(found.get(int(time / step), 0), waiting)
    return [((at + 0.5) * step, float(waiting)) for at, waiting in sorted(found.items())]
