"""Workers die and are replaced under a steady load: nothing is lost, doubled or out of order, and no door is shut."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable

import pytest

from tests.chaos.crowd import Crowd, assert_kept
from tests.chaos.knocker import Knocker
from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.store import RedisServer
from tests.support.wait import until_async

Make = Callable[..., RedisServer]
Serve = Callable[..., Chatmaster]
KILLS, RELOADS = 20, 5


@pytest.fixture
def store(redis_server: Make) -> RedisServer:
    return redis_server(fsync="always")


@pytest.fixture
def server(chatmaster: Serve, store: RedisServer) -> Chatmaster:
    settings = {"store.url": store.url, "store.history_size": 100_000, "limits.rate": 0, "master.hang_timeout": 2.0}
    return chatmaster(settings=settings)


async def kill_one(server: Chatmaster, chance: random.Random) -> None:
    """Kill a worker; where all of them are on their way back, the next that is there."""

    def workers() -> list[int]:
        return [pid for pid in processes.children(server.pid) if ": worker" in processes.title(pid)]

    await until_async(lambda: asyncio.to_thread(workers), 30.0, "there is a worker to kill")
    processes.send(chance.choice(workers()), signal.SIGKILL)


def killed(server: Chatmaster) -> int:
    """How many workers the master has seen end so."""
    return server.log().count("killed by SIGKILL")


async def everyone_is_ready(server: Chatmaster) -> None:
    await until_async(
        lambda: asyncio.to_thread(lambda: set(server.states()) == {"ready"}), 45.0, "every worker is ready"
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_twenty_kills_and_five_reloads(server, store):
    chance = random.Random(3)
    async with Crowd(server.url) as crowd, Knocker(server.url) as knocker:
        for number in range(KILLS):
            await kill_one(server, chance)
            if number % (KILLS // RELOADS) == 2:  # slots that back off come at once with it
                done = await asyncio.to_thread(server.ctl, "reload")
                assert done.returncode == 0, done.stderr
            await crowd.progress(10)
        assert_kept(crowd.judge(await crowd.settle(store.client)))
        await until_async(lambda: killed(server) >= KILLS, what=f"{KILLS} workers were killed")
        assert knocker.bad == {} and knocker.outcomes["in"] > 100
        assert crowd.refused == 0


async def test_a_reload_while_workers_die_fails_or_succeeds_and_loses_nothing(server, store):
    chance = random.Random(5)
    async with Crowd(server.url) as crowd, Knocker(server.url) as knocker:
        reload = asyncio.create_task(asyncio.to_thread(server.ctl, "reload"))
        for _ in range(3):
            await kill_one(server, chance)
            await crowd.progress(10)
        done = await reload
        assert done.returncode in (0, 1, 5), done.stderr
        await until_async(lambda: killed(server) >= 3, what="three workers were killed")
        await everyone_is_ready(server)
        assert_kept(crowd.judge(await crowd.settle(store.client)))
        assert knocker.bad == {}


async def test_a_worker_that_stands_still_is_still_that_worker_and_owes_what_it_owed(server, store):
    async with Crowd(server.url) as crowd:
        pid = (await asyncio.to_thread(lambda: server.pids))[0]
        processes.send(pid, signal.SIGSTOP)
        await until_async(lambda: asyncio.to_thread(lambda: "stopped" in server.states()), what="it is shown so")
        await crowd.progress(20)
        processes.send(pid, signal.SIGCONT)
        await everyone_is_ready(server)
        assert pid in await asyncio.to_thread(lambda: server.pids)
        assert_kept(crowd.judge(await crowd.settle(store.client)))
