"""Who was connected to a process that is dead is not shown by the process that comes after it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from websockets.asyncio.client import connect

from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.store import RedisServer
from tests.support.wait import until
from workers.gateway import Gateway

Make = Callable[..., Chatmaster]
PROGRAM = str(Path(__file__).parent / "programs" / "operated.py")
SOON = 6.0  # seconds; a lease is 10


async def _with_ann(server: Chatmaster, kill: Callable[[], None]) -> None:
    async with connect(f"{server.url}?user=ann") as ann:
        assert await ann.recv() == "entered"
        assert [row["user"] for row in await asyncio.to_thread(server.ask, "who", "hall")] == ["ann"]
        await asyncio.to_thread(kill)


async def test_a_start_after_a_server_was_killed_shows_none_of_its_users(
    chatmaster: Make, redis_server: Callable[..., RedisServer]
) -> None:
    """The store lives on, as where it is another machine's."""
    store = redis_server()
    server = await asyncio.to_thread(
        chatmaster,
        PROGRAM,
        workers=2,
        settings={"store.url": store.url},
    )

    def kill_everything() -> None:
        pids = processes.tree(server.pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert server.process is not None
        server.process.wait(10)
        until(lambda: not any(processes.alive(pid) for pid in pids), what="all are gone")

    await _with_ann(server, kill_everything)
    began = time.monotonic()
    await asyncio.to_thread(server.start)
    assert await asyncio.to_thread(server.ask, "who", "hall") == []
    with Gateway(store.url) as gateway:
        assert not await asyncio.to_thread(gateway.is_online, "ann")
        assert await asyncio.to_thread(gateway.online) == 0
    assert time.monotonic() - began < 9, "the lease was over by itself"
    assert len((server.state_dir / "chat.workers").read_text().split()) == 2
    server.stop()
    assert not (server.state_dir / "chat.workers").exists()


async def test_a_lone_worker_that_is_killed_leaves_nobody(chatmaster: Make) -> None:
    """It has no sibling that would take its users out."""
    server = await asyncio.to_thread(chatmaster, PROGRAM, workers=1)
    await _with_ann(server, lambda: os.kill(server.pids[0], signal.SIGKILL))
    began = time.monotonic()
    await asyncio.to_thread(
        until, lambda: server.states() == ["ready"] and server.ask("who", "hall") == [], SOON, "ann is gone"
    )
    assert time.monotonic() - began < SOON


async def test_a_worker_that_was_killed_at_a_stop_leaves_nobody_to_the_next_start(chatmaster: Make) -> None:
    server = await asyncio.to_thread(chatmaster, PROGRAM, workers=1, settings={"master.stop_timeout": 0.5})

    def stop() -> None:
        os.kill(server.pids[0], signal.SIGSTOP)
        server.stop()

    await _with_ann(server, stop)
    began = time.monotonic()
    await asyncio.to_thread(server.start)
    assert await asyncio.to_thread(server.ask, "who", "hall") == []
    assert time.monotonic() - began < 9, "the lease was over by itself"
