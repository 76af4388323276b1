"""Faults of the store."""

from __future__ import annotations

import asyncio
import contextlib

import redis

from tests.chaos.faults import fault
from tests.chaos.site import Site
from tests.chaos.witness import Witness


@fault("store")
async def store_killed(site: Site) -> None:
    site.store.kill()
    await asyncio.to_thread(site.store.start)


@fault("store")
async def store_frozen(site: Site) -> None:
    site.store.freeze()
    await site.for_a_while(site.chance.uniform(0.5, 8))
    site.store.thaw()


@fault("store")
async def connections_cut(site: Site) -> None:
    for kind in ("pubsub", "normal", "pubsub"):
        site.store.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        await site.for_a_while(site.chance.uniform(0, 0.3))


@fault("store")
async def scripts_flushed(site: Site) -> None:
    for _ in range(5):
        site.store.client.script_flush()
        await site.for_a_while(site.chance.uniform(0, 0.2))


@fault("store")
async def out_of_memory(site: Site) -> None:
    site.store.client.config_set("maxmemory", 1_000_000)
    await site.for_a_while(3)
    site.store.client.config_set("maxmemory", 0)


@fault("store")
async def read_only(site: Site) -> None:
    site.store.client.replicaof("127.0.0.1", "1")  # nobody is there
    await site.for_a_while(3)
    site.store.client.replicaof("NO", "ONE")


@fault("store")
async def slow(site: Site) -> None:
    site.store_door.delay = 0.2
    await site.for_a_while(5)
    site.store_door.delay = 0.0


@fault("store")
async def output_buffer_overflows(site: Site) -> None:
    """A subscriber that is behind is cut off by the store."""
    site.store.client.config_set("client-output-buffer-limit", "pubsub 64kb 32kb 1")
    with contextlib.suppress(Exception):
        async with Witness(site.server.url, "bulk", name="bulk", timeout=20) as speaker:
            site.store_door.hold("down")
            said = [speaker.attempt(f"{number}".ljust(60_000), turn=number, timeout=5) for number in range(20)]
            await asyncio.gather(*said)
    site.store_door.heal()
    site.store.client.config_set("client-output-buffer-limit", "pubsub 256mb 64mb 60")


@fault("store")
async def wiped(site: Site) -> None:
    await site.lose(site.store.wipe)


@fault("store")
async def restarted_with_older_file(site: Site) -> None:
    old = await asyncio.to_thread(site.store.save_copy, "old")
    await site.for_a_while(2)
    await site.lose(lambda: site.store.restore(old))


@fault("store")
async def history_trimmed(site: Site) -> None:
    """Somebody comes back after it, who needs what is gone."""
    assert site.crowd is not None
    sleeper = site.chance.choice(site.crowd.witnesses)
    sleeper.fall_asleep()
    await site.for_a_while(1)
    with contextlib.suppress(redis.RedisError):
        site.trim()
    await site.ctl("reload")  # new workers remember nothing that could cover for the log
    sleeper.wake_up()
