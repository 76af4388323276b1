"""The store comes back without its last part, or with nothing: everybody who had it is told, and nobody takes a new
message for an old one."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos import archive
from tests.chaos.archive import Archive
from tests.chaos.crowd import Crowd, assert_kept
from tests.chaos.proxy import DOWN, Proxy
from tests.support.server import Chatmaster
from tests.support.store import RedisServer
from tests.support.wait import until_async

Make = Callable[..., RedisServer]
Serve = Callable[..., Chatmaster]
SETTINGS = {"store.history_size": 100_000, "store.timeout": 2.0, "limits.rate": 0}


@pytest.fixture
def store(redis_server: Make) -> RedisServer:
    return redis_server(fsync="always")


@pytest.fixture
def server(chatmaster: Serve, store: RedisServer) -> Chatmaster:
    return chatmaster(settings={"store.url": store.url, **SETTINGS})


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="cm-loss-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def last_of(store: RedisServer, folder: Path) -> Archive:
    """Everything that a killed store had, read by another server from a copy of its file."""
    with RedisServer(folder, fsync="always") as reader:
        reader.stop()
        reader.restore(store.save_copy("last"))
        return archive.read(reader.start().client, "hall")


@pytest.mark.parametrize("times", [1, 3])
async def test_restarted_with_an_older_file(server, store, folder, times):
    lost: list[Archive] = []
    async with Crowd(server.url) as crowd:
        for number in range(times):
            await crowd.progress(15)
            old = store.save_copy("old")
            await crowd.progress(60)
            store.kill()
            lost.append(await asyncio.to_thread(last_of, store, folder / str(number)))
            store.restore(old)
            await asyncio.to_thread(store.start)
            await crowd.progress(20)
        verdict = crowd.judge(*lost, await crowd.settle(store.client))
        assert_kept(verdict)
        assert verdict.lost >= 50 * times and verdict.resets >= len(crowd.witnesses), str(verdict)
    noted = "room hall: what was acknowledged up to offset"
    await until_async(lambda: noted in server.log(), 30.0, "the worker notes what it had acknowledged")


async def test_wiped(server, store, folder):
    async with Crowd(server.url) as crowd:
        await crowd.progress(40)
        store.kill()
        lost = await asyncio.to_thread(last_of, store, folder)
        store.wipe()
        await asyncio.to_thread(store.start)
        await crowd.progress(40)
        verdict = crowd.judge(lost, await crowd.settle(store.client))
        assert_kept(verdict)
        assert verdict.lost >= 40 and verdict.resets >= len(crowd.witnesses), str(verdict)


async def test_wiped_while_everybody_is_away(server, store, folder):
    """Who comes back with a `since` of a log that no worker remembers is told as well."""
    async with Crowd(server.url) as crowd:
        await crowd.progress(40)
        for one in crowd.witnesses:
            one.fall_asleep()
        store.kill()
        lost = await asyncio.to_thread(last_of, store, folder)
        store.wipe()
        await asyncio.to_thread(store.start)
        done = await asyncio.to_thread(server.ctl, "reload")
        assert done.returncode == 0, done.stderr
        for one in crowd.witnesses:
            one.wake_up()
        await crowd.progress(40)
        verdict = crowd.judge(lost, await crowd.settle(store.client))
        assert_kept(verdict)
        assert verdict.resets == len(crowd.witnesses), str(verdict)


@pytest.fixture
async def door(folder: Path, store: RedisServer) -> AsyncIterator[Proxy]:
    """What the server takes for its store: whichever is behind it."""
    proxy = Proxy(folder / "d", store.socket_path)
    await proxy.start()
    yield proxy
    await proxy.stop()


async def test_a_replica_promoted_that_lacked_the_last_part(chatmaster, redis_server, door, folder):
    master = redis_server(fsync="always", tcp=True)
    line = Proxy(("127.0.0.1", 0), ("127.0.0.1", master.port))
    await line.start()
    port = line.port
    replica = redis_server(fsync="always", options=("--replicaof", f"127.0.0.1 {port}"))
    door.target = master.socket_path
    server = await asyncio.to_thread(chatmaster, settings={"store.url": f"unix://{door.listen}", **SETTINGS})
    async with Crowd(server.url) as crowd:
        await until_async(lambda: archive.read(replica.client, "hall").top > 20, 20.0, "the replica follows")
        line.hold(DOWN)
        await crowd.progress(60)
        master.kill()
        line.cut()
        lost = await asyncio.to_thread(last_of, master, folder / "l")
        replica.client.replicaof("NO", "ONE")
        door.target = replica.socket_path
        door.cut()
        await crowd.progress(40)
        verdict = crowd.judge(lost, await crowd.settle(replica.client))
        assert_kept(verdict)
        assert verdict.lost >= 40 and verdict.resets >= len(crowd.witnesses), str(verdict)
    await line.stop()


async def test_a_store_that_turns_into_a_replica_is_written_to_again_when_it_is_master(server, store):
    async with Crowd(server.url) as crowd:
        await crowd.progress(20)
        store.client.replicaof("127.0.0.1", "1")  # nobody is there: it keeps its data, and refuses to write
        await until_async(
            lambda: int(store.client.info("errorstats").get("errorstat_READONLY", {}).get("count", 0)) > 5,
            20.0,
            "writes are refused",
        )
        store.client.replicaof("NO", "ONE")
        await crowd.progress(20)
        verdict = crowd.judge(await crowd.settle(store.client))
        assert_kept(verdict)
        assert (verdict.resets, verdict.gaps) == (0, 0), str(verdict)
