"""The store dies, freezes, forgets its scripts, is full or cuts us off under a steady load: nothing is lost by it."""

from __future__ import annotations

import asyncio
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.chaos.crowd import Crowd, assert_kept
from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.store import RedisServer
from tests.support.wait import until_async

Make = Callable[..., RedisServer]
Serve = Callable[..., Chatmaster]
KILLS = 10
FROZEN = 10.0  # seconds: longer than a probe may be away, and than `store.timeout`
SETTINGS = {"store.history_size": 100_000, "store.timeout": 2.0, "limits.rate": 0}


@pytest.fixture
def store(redis_server: Make) -> RedisServer:
    return redis_server(fsync="always")


@pytest.fixture
def server(chatmaster: Serve, store: RedisServer) -> Chatmaster:
    return chatmaster(settings={"store.url": store.url, **SETTINGS})


def readiness(server: Chatmaster) -> int:
    """The status of /ready, of whichever worker answers."""
    try:
        with urllib.request.urlopen(f"{server.http}/ready", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def refusals(store: RedisServer) -> int:
    """How often the store said that it is out of memory."""
    errors: Any = store.client.info("errorstats")
    return int(errors.get("errorstat_OOM", {}).get("count", 0))


async def keeps_everything(crowd: Crowd, store: RedisServer) -> None:
    """And nobody was told that something is gone, since nothing is."""
    verdict = crowd.judge(await crowd.settle(store.client))
    assert_kept(verdict)
    assert (verdict.gaps, verdict.resets, verdict.lost) == (0, 0, 0), str(verdict)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_killed_and_restarted_ten_times(server, store):
    async with Crowd(server.url) as crowd:
        for _ in range(KILLS):
            store.kill()
            await asyncio.to_thread(store.start)
            await crowd.progress(15)
        await keeps_everything(crowd, store)
        assert sum(one.ends.total() for one in crowd.witnesses) == 0, "no client was cut"


@pytest.mark.timeout(90)
async def test_the_embedded_store_killed(chatmaster):
    server = chatmaster(settings=SETTINGS)
    url = server.status()["store"]["url"]
    async with Crowd(server.url) as crowd:
        for _ in range(2):
            processes.send((await asyncio.to_thread(lambda: server.store_pid)), signal.SIGKILL)
            await crowd.progress(15)
        client = redis.Redis.from_url(url, protocol=2)
        verdict = crowd.judge(await crowd.settle(client))
        client.close()
        assert_kept(verdict)
        assert (verdict.gaps, verdict.resets, verdict.lost) == (0, 0, 0), str(verdict)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_frozen_for_ten_seconds_in_which_every_worker_says_that_it_is_not_ready(server, store):
    async with Crowd(server.url) as crowd:
        store.freeze()
        until = time.monotonic() + FROZEN
        await until_async(lambda: asyncio.to_thread(lambda: readiness(server) == 503), 30.0, "/ready says 503")
        await asyncio.sleep(until - time.monotonic())
        answers = [await asyncio.to_thread(readiness, server) for _ in range(20)]  # of all workers, most likely
        assert set(answers) == {503}
        store.thaw()
        await crowd.progress(20)
        await until_async(lambda: asyncio.to_thread(lambda: readiness(server) == 200), 30.0, "/ready says 200")
        await keeps_everything(crowd, store)
        assert sum(one.ends.total() for one in crowd.witnesses) == 0, "no client was cut"


async def test_connections_cut_by_the_store(server, store):
    async with Crowd(server.url) as crowd:
        for _ in range(5):
            for kind in ("pubsub", "normal"):
                store.client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                await crowd.progress(8)
        await keeps_everything(crowd, store)


async def test_scripts_forgotten(server, store):
    async with Crowd(server.url) as crowd:
        for _ in range(10):
            store.client.script_flush()
            await crowd.progress(8)
        await keeps_everything(crowd, store)
        assert crowd.witnesses[0].ends.total() == 0


async def test_out_of_memory_and_back(server, store):
    async with Crowd(server.url) as crowd:
        await crowd.progress(10)
        store.client.config_set("maxmemory", 1_000_000)
        newcomer = Crowd(server.url, witnesses=2, writers=1, prefix="late", timeout=60)
        entering = asyncio.create_task(newcomer.start())
        await until_async(lambda: refusals(store) > 20, 20.0, "the store refused twenty things")
        store.client.config_set("maxmemory", 0)
        await entering
        await crowd.progress(20)
        await newcomer.progress(5)
        await newcomer.stop_writing()
        crowd.witnesses += newcomer.witnesses
        await keeps_everything(crowd, store)


async def test_history_trimmed_below_what_clients_need(chatmaster, store):
    """Who comes back too late is told which offsets are gone, and gets everything after them.

    The reload is there because a worker's memory would cover for the log.
    """
    server = chatmaster(settings={"store.url": store.url, **SETTINGS, "store.history_size": 50})
    async with Crowd(server.url) as crowd:
        sleeper = crowd.witnesses[-1]
        await until_async(lambda: sleeper.offset > 0, what="the sleeper has seen something")
        sleeper.fall_asleep()
        await crowd.progress(100)
        done = await asyncio.to_thread(server.ctl, "reload")
        assert done.returncode == 0, done.stderr
        sleeper.wake_up()
        verdict = crowd.judge(await crowd.settle(store.client))
        assert_kept(verdict)
        assert verdict.resets == 0, str(verdict)
        assert sleeper.told_of_loss == 1
