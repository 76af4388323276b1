"""Readers that do not read cost themselves only, and readers that read slowly get everything."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import pytest
import redis

from tests.chaos.crowd import Crowd, assert_kept
from tests.chaos.witness import Witness
from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket

Serve = Callable[..., Chatmaster]
QUEUE = 1_048_576  # limits.queue_size
MIB = 2**20


def store_of(server: Chatmaster) -> redis.Redis:
    """The embedded store, behind the server's back."""
    return redis.Redis.from_url(server.status()["store"]["url"], protocol=2)


async def fill(url: str, room: str, *, size: int, count: int, at_once: int = 8) -> None:
    """Say `count` things of `size` bytes."""
    async with Witness(url, room, name="flood") as speaker:
        gate = asyncio.Semaphore(at_once)

        async def say(number: int) -> None:
            async with gate:
                assert await speaker.attempt(f"{number:07d}".ljust(size, "x"), turn=number, timeout=60)

        await asyncio.gather(*(say(number) for number in range(count)))


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_reader_that_never_reads_is_cut_and_costs_no_more_than_its_queue(chatmaster):
    settings = {"limits.lag_timeout": 2.0, "limits.rate": 0}
    server = await asyncio.to_thread(chatmaster, workers=1, settings=settings)
    async with Crowd(server.url, room="quiet", witnesses=4, writers=2) as others:
        await fill(server.url, "flood", size=60_000, count=150)  # what the ring of a busy room costs is there before
        (worker,) = await asyncio.to_thread(lambda: server.pids)
        before = processes.resident(worker)
        stalled = await ChatSocket.enter(server.url, "flood", receive_buffer=4096)
        await fill(server.url, "flood", size=60_000, count=400)
        most = processes.resident(worker)
        await until_async(lambda: "closed with 4008" in server.log(), 30.0, "it is cut")
        assert max(most, processes.resident(worker)) - before <= 2 * QUEUE + MIB
        closed = await stalled.wait_closed(30.0)
        stalled.abort()
        assert closed.code in (4008, 1006)  # the frame is behind what it did not read
        verdict = others.judge(await others.settle(store_of(server)))
        assert_kept(verdict)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_reader_40_mib_behind_that_reads_4_mib_a_second_catches_up_whole_and_in_order(chatmaster):
    size, count, rate = 60_000, 700, 4 * MIB
    settings = {"limits.lag_timeout": 4.0, "limits.rate": 0, "store.history_size": 2000}
    server = await asyncio.to_thread(chatmaster, settings=settings)
    async with Crowd(server.url, room="quiet", witnesses=4, writers=2) as others:
        reader = await ChatSocket.enter(server.url, "flood")
        top = next(state for state in reader.welcome["rooms"] if state["room"] == "flood")
        reader.abort()
        await fill(server.url, "flood", size=size, count=count)
        reader = await ChatSocket.open(server.url, receive_buffer=65_536)
        since = {"epoch": top["epoch"], "offset": top["offset"]}
        reader.send_json({"type": "hello", "rooms": [{"room": "flood", "since": since}]})
        welcome = await reader.expect("welcome")
        state = next(state for state in welcome["rooms"] if state["room"] == "flood")
        assert state["recovered"] is True and state["offset"] == count
        began, received = time.monotonic(), 0
        for offset in range(1, count + 1):
            text = await reader.read_message(30.0)
            message = json.loads(text)
            while message["type"] != "message":
                message = json.loads(await reader.read_message(30.0))
            assert message["offset"] == offset and len(message["text"]) == size
            received += len(text)
            ahead = received / rate - (time.monotonic() - began)
            if ahead > 0:
                await asyncio.sleep(ahead)
        assert received >= 40 * MIB
        await others.progress(10, timeout=10.0)
        assert_kept(others.judge(await others.settle(store_of(server))))
        reader.abort()
