"""The faults of a fleet: each begins and ends by itself while nothing else goes on, and says how long it took."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from tests.fleet.cluster import ClusterStores
from tests.fleet.fleet import FAKETIME, HOSTS, Fleet

# Returns seconds until every client was served again.
Fault = Callable[[Fleet, random.Random], Awaitable[float]]

LASTS: Final = (8.0, 14.0)  # seconds of a partition
SHARDS_MOVED: Final = 8  # besides that of the crowd's room
REST: Final = 3.0  # seconds for the balancer to take a host in again


async def host_killed(fleet: Fleet, chance: random.Random) -> float:
    """A host loses power, and starts again some seconds later."""
    number, began = chance.randrange(HOSTS), time.monotonic()
    await asyncio.to_thread(fleet.kill_host, number)
    took = await fleet.recovered(began)
    await asyncio.to_thread(fleet.hosts[number].start)
    return took


async def host_cut_from_store(fleet: Fleet, chance: random.Random) -> float:
    """A host keeps its clients and loses the store: they go to the others."""
    return await _cut(fleet, chance, fleet.network.cut_from_store)


async def host_cut_from_balancer(fleet: Fleet, chance: random.Random) -> float:
    """A host keeps the store and loses its clients."""
    return await _cut(fleet, chance, fleet.network.cut_from_balancer)


async def _cut(fleet: Fleet, chance: random.Random, cut: Callable[[int], None]) -> float:
    number, began = chance.randrange(HOSTS), time.monotonic()
    cut(number)
    try:
        took = await fleet.recovered(began)
        await asyncio.sleep(max(0.0, began + chance.uniform(*LASTS) - time.monotonic()))
    finally:
        fleet.network.heal(number)
    return took


async def store_killed(fleet: Fleet, chance: random.Random) -> float:
    """The store that has the role of the master dies; with sentinels the replica takes over."""
    began = time.monotonic()
    had = await asyncio.to_thread(fleet.stores.kill_master, chance)
    if had is not None:
        fleet.losses.append(had)
    return await fleet.recovered(began)


async def shards_moved(fleet: Fleet, chance: random.Random) -> float:
    """The crowd's room and some more shards move to other nodes of the cluster, with their keys, under load."""
    assert isinstance(fleet.stores, ClusterStores)
    began = time.monotonic()
    await asyncio.to_thread(fleet.stores.reshard, chance, SHARDS_MOVED)
    return await fleet.recovered(began)


async def clock_skewed(fleet: Fleet, chance: random.Random) -> float:
    """A host comes back with a clock that is hours off, serves with it for a while, and comes back with a true one."""
    number, began = chance.randrange(HOSTS), time.monotonic()
    await asyncio.to_thread(fleet.set_clock, number, chance.choice((-1, 1)) * chance.uniform(600, 7200))
    try:
        await fleet.all_ready()
        took = await fleet.recovered(began)
        await asyncio.sleep(chance.uniform(*LASTS))
    finally:
        await asyncio.to_thread(fleet.set_clock, number, 0.0)
    return took


async def rolling_upgrade(fleet: Fleet, chance: random.Random) -> float:
    """Another version, host by host: each is drained from another one, stops, and starts again."""
    began = time.monotonic()
    fleet.versions += 1
    for number in range(HOSTS):
        await asyncio.to_thread(fleet.upgrade, number)
        await fleet.all_ready()
        await asyncio.sleep(REST)
    versions = {row["version"] for row in await asyncio.to_thread(fleet.rows)}
    assert versions == {f"9.{fleet.versions}"}, f"after a rolling upgrade the hosts run {versions}"
    return await fleet.recovered(began)


FAULTS: Final[tuple[Fault, ...]] = (
    host_killed,
    host_cut_from_store,
    host_cut_from_balancer,
    store_killed,
    rolling_upgrade,
    *([clock_skewed] if FAKETIME.exists() else []),
)
FAULTS_OF_CLUSTER: Final[tuple[Fault, ...]] = (*FAULTS, shards_moved)
