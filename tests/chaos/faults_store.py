"""Faults of the store."""

from __future__ import annotations

import asyncio
import contextlib

import redis

from tests.chaos.faults import Turn, fault
from tests.chaos.site import Site
from tests.chaos.witness import Witness
from tests.support.wait import until_async
from workers.client import ClientError


@fault("store")
async def store_killed(site: Site, turn: Turn) -> None:
    site.store.kill()
    await asyncio.to_thread(site.store.start)


@fault("store")
async def store_frozen(site: Site, turn: Turn) -> None:
    site.store.freeze()
    try:
        await _silent(site, turn, turn.chance.uniform(0.5, 8))
    finally:
        site.store.thaw()


@fault("store")
async def connections_cut(site: Site, turn: Turn) -> None:
    for kind in ("pubsub", "normal", "pubsub"):
        cut = site.store.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        turn.expect(cut or kind == "pubsub", f"there was no {kind} connection to cut")
        await site.for_a_while(turn.chance.uniform(0, 0.3))


@fault("store")
async def scripts_flushed(site: Site, turn: Turn) -> None:
    for _ in range(5):
        site.store.client.script_flush()
        await site.for_a_while(turn.chance.uniform(0, 0.2))


@fault("store")
async def out_of_memory(site: Site, turn: Turn) -> None:
    site.store.client.config_set("maxmemory", 1_000_000)
    try:
        await _silent(site, turn, 3)
    finally:
        site.store.client.config_set("maxmemory", 0)


@fault("store")
async def read_only(site: Site, turn: Turn) -> None:
    site.store.client.replicaof("127.0.0.1", "1")  # nobody is there
    try:
        await _silent(site, turn, 3)
    finally:
        site.store.client.replicaof("NO", "ONE")


@fault("store")
async def slow(site: Site, turn: Turn) -> None:
    site.store_door.delay = 0.1  # a way
    await site.for_a_while(5)
    site.store_door.delay = 0.0


@fault("store")
async def output_buffer_overflows(site: Site, turn: Turn) -> None:
    """A subscriber that is behind is cut off by the store."""
    before = _overflows(site)
    # What is larger than the 16 KiB that a connection has for replies counts; so little is over the limit at once.
    site.store.client.config_set("client-output-buffer-limit", "pubsub 1 0 0")
    try:
        with contextlib.suppress(ClientError, OSError, TimeoutError):
            async with Witness(site.server.url, "bulk", name="bulk", timeout=20) as speaker:
                said = [speaker.attempt(f"{number}".ljust(60_000), turn=number, timeout=5) for number in range(20)]
                await asyncio.gather(*said)
        turn.expect(_overflows(site) > before, "the store has cut nobody for being behind")
    finally:
        site.store.client.config_set("client-output-buffer-limit", "pubsub 256mb 64mb 60")


@fault("store")
async def wiped(site: Site, turn: Turn) -> None:
    await site.lose(site.store.wipe)
    await _told(site, turn)


@fault("store")
async def restarted_with_older_file(site: Site, turn: Turn) -> None:
    old = await asyncio.to_thread(site.store.save_copy, "old")
    await site.for_a_while(2)
    await site.lose(lambda: site.store.restore(old))
    await _told(site, turn)


@fault("store")
async def history_trimmed(site: Site, turn: Turn) -> None:
    """A client that needs the lost entries comes back afterwards."""
    assert site.crowd is not None
    sleeper = turn.chance.choice(site.crowd.witnesses)
    before = sleeper.told_of_loss
    sleeper.fall_asleep()
    await site.for_a_while(1)
    with contextlib.suppress(redis.RedisError):
        site.trim()
    try:
        await site.ctl("reload")  # new workers remember nothing that could cover for the log
    finally:
        sleeper.wake_up()
    if turn.alone:
        await until_async(lambda: sleeper.told_of_loss > before, 30, f"{sleeper.nickname} is told of a gap")


async def _silent(site: Site, turn: Turn, seconds: float) -> None:
    """For so long; in the second half of it nothing can be acknowledged."""
    assert site.crowd is not None
    await site.for_a_while(seconds / 2)
    before = site.crowd.acked
    await site.for_a_while(seconds / 2)
    turn.expect(site.crowd.acked == before, "something was acknowledged although the store cannot write")


def _overflows(site: Site) -> int:
    with contextlib.suppress(redis.RedisError):
        told = site.store.client.info("stats")
        assert isinstance(told, dict)
        return int(told["client_output_buffer_limit_disconnections"])
    return 0


async def _told(site: Site, turn: Turn) -> None:
    """At least one client has seen the lost entries."""
    assert site.crowd is not None
    before = sum(one.told_of_loss for one in site.crowd.witnesses)
    if turn.alone:
        crowd = site.crowd
        await until_async(
            lambda: sum(one.told_of_loss for one in crowd.witnesses) > before, 60, "somebody is told of the loss"
        )
