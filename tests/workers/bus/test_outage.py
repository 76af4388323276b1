"""Of a store that is away the log says when it was lost, why, and when it is back: each once."""

from __future__ import annotations

from tests.support.wait import until_async
from workers.bus.outage import Outage


async def test_three_connections_that_are_lost_together_are_one_outage(caplog):
    caplog.set_level("INFO", logger="workers.bus.outage")
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
    caplog.set_level("INFO", logger="workers.bus.outage")
    outage = Outage(settled=0.02)
    for _ in range(3):
        outage.lost("a")
        outage.over("a")
    await until_async(lambda: len(caplog.messages) == 2, what="it is told that it is over")
    assert caplog.messages[1].startswith("connected to the store again")


async def test_a_store_that_was_not_there_at_the_start_is_told_as_well(caplog):
    caplog.set_level("INFO", logger="workers.bus.outage")
    outage = Outage(settled=0.02)
    outage.failed("a", OSError("refused"))
    outage.failed("b", OSError("refused"))
    outage.over("a")
    assert caplog.messages == ["refused; it is tried again and again"]
    outage.over("b")
    await until_async(lambda: caplog.messages[-1].startswith("connected to the store again"), what="it is over")
