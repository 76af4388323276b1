"""Of a store that is away the log says when it was lost, why, and when it is back: each once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.store import RedisServer
from tests.support.wait import until_async
from tests.workers.presence.site import Site
from workers.bus.outage_log import Outage

SLOW_TO_LOAD = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")


async def test_three_connections_that_are_lost_together_are_one_outage(caplog):
    caplog.set_level("INFO", logger="workers.bus.outage_log")
    outage = Outage(settled=0.02)
    for what in ("a", "b", "c"):
        outage.over(what)
    assert caplog.messages == []
    for _ in range(2):
        for what in ("a", "b", "c"):
            outage.lost(what)
        for what in ("b", "c", "b"):
            outage.failed(what, OSError("no such socket."))
        for what in ("a", "b", "c"):
            outage.over(what)
        await until_async(lambda: len(caplog.messages) == 3, what="it is told that it is over")
        lost, why, back = caplog.messages
        assert lost.startswith("the connection to the store is lost (a)")
        assert why == "no such socket; it is tried again and again"
        assert back.startswith("connected to the store again, after ")
        caplog.clear()


async def test_connections_that_are_lost_again_at_once_are_the_same_outage(caplog):
    caplog.set_level("INFO", logger="workers.bus.outage_log")
    outage = Outage(settled=0.02)
    for _ in range(3):
        outage.lost("a")
        outage.over("a")
    await until_async(lambda: len(caplog.messages) == 2, what="it is told that it is over")
    assert caplog.messages[1].startswith("connected to the store again")


async def test_a_store_that_was_not_there_at_the_start_is_told_as_well(caplog):
    caplog.set_level("INFO", logger="workers.bus.outage_log")
    outage = Outage(settled=0.02)
    outage.failed("a", OSError("refused"))
    outage.failed("b", OSError("refused"))
    outage.over("a")
    assert caplog.messages == ["refused; it is tried again and again"]
    outage.over("b")
    await until_async(lambda: caplog.messages[-1].startswith("connected to the store again"), what="it is over")


async def test_what_the_store_refuses_is_told_once_for_each_outage(caplog):
    outage = Outage(settled=0.02)
    for _ in range(2):
        outage.lost("a")
        for _ in range(50):
            outage.over("a")
            outage.refused("LOADING Redis is loading the dataset in memory")
            outage.lost("a")
        outage.over("a")
        await until_async(lambda: outage._since is None, what="it is over")
        assert [one.split(" (")[0] for one in caplog.messages] == [
            "the connection to the store is lost", "the store takes no commands now"
        ]  # fmt: skip
        caplog.clear()


@pytest.mark.timeout(60)
async def test_a_store_that_loads_for_seconds_is_told_in_a_few_lines(tmp_path: Path, caplog):
    """Each of the scripts that were loaded anew, on each connection and at each try, was answered with a line."""
    caplog.set_level("WARNING", logger="workers")
    with RedisServer(tmp_path / "s", fsync="always", options=SLOW_TO_LOAD) as store:
        store.client.mset({f"k{number}": "x" * 100 for number in range(4000)})
        store.client.bgrewriteaof()  # what is loaded from the base file is loaded with a look at connections between
        await until_async(lambda: not store.client.info("persistence")["aof_rewrite_in_progress"])
        site = Site(store.url, "outage", "one")
        await site.start()
        store.kill()
        await asyncio.to_thread(store.start)
        await until_async(lambda: site.bus.state == "ready", 30, "the bus is ready again")
        await site.stop()
    refused = [one for one in caplog.messages if one.startswith("the store takes no commands now (LOADING")]
    assert len(refused) == 1, caplog.messages
    assert len(caplog.messages) <= 4, caplog.messages
