"""Limits, who is online, bans and the audit trail over several workers and a real store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.support.store import RedisServer
from tests.support.wait import until_async
from tests.workers.presence.site import Site, encoded
from workers.bus.script import Script
from workers.registry import AuditEntry, keys
from workers.registry.limits import CONCURRENT
from workers.registry.registry import Carried

Start = Callable[..., Awaitable[Site]]


@pytest.mark.parametrize(
    ("limit", "word"), [("connections", "the server"), ("per_address", "address"), ("per_user", "user")]
)
async def test_a_limit_holds_over_all_workers(start: Start, limit: str, word: str) -> None:
    one, two = await start("one", **{limit: 3}), await start("two", **{limit: 3})
    assert await one.registry.admit("c1", "ann", "10.0.0.1") is None
    assert await one.registry.admit("c2", "ann", "10.0.0.1") is None
    assert await two.registry.admit("c3", "ann", "10.0.0.1") is None
    for site in (one, two):
        refused = await site.registry.admit("c4", "ann", "10.0.0.1")
        assert refused is not None and word in refused
    one.registry.release("c1")

    async def admitted() -> bool:
        return await two.registry.admit("c5", "ann", "10.0.0.1") is None

    await until_async(admitted, what="the place of the one that left is free")

    async def counted() -> bool:
        return await one.registry.count() == 3

    await until_async(counted)


async def test_a_limit_of_one_user_is_no_limit_of_another(start: Start) -> None:
    one = await start("one", per_user=1, per_address=2)
    assert await one.registry.admit("c1", "ann", "10.0.0.1") is None
    assert await one.registry.admit("c2", "bob", "10.0.0.1") is None
    assert await one.registry.admit("c3", "cat", "10.0.0.1") is not None
    assert await one.registry.admit("c4", "cat", "10.0.0.2") is None


async def test_a_limit_is_never_exceeded_by_many_at_once(start: Start) -> None:
    sites = [await start(process, per_user=5) for process in ("one", "two", "three")]
    answers = await asyncio.gather(
        *(site.registry.admit(f"{site.process}{n}", "ann", "") for n in range(10) for site in sites)
    )
    assert answers.count(None) == 5
    await until_async(lambda: _settled(sites))
    assert await sites[0].registry.admit("late", "ann", "") is not None


async def test_as_many_of_those_who_come_at_once_get_in_as_may(start: Start) -> None:
    one = await start("one", per_user=5)
    answers = await asyncio.gather(*(one.registry.admit(f"c{n}", "ann", "") for n in range(10)))
    assert answers.count(None) == 5


async def _settled(sites: list[Site]) -> bool:
    counts = {await site.registry.count() for site in sites}
    return len(counts) == 1


async def test_the_connections_of_the_dead_do_not_count(start: Start) -> None:
    one, two = await start("one", per_user=1), await start("two", per_user=1)
    assert await one.registry.admit("c1", "ann", "") is None
    assert await two.registry.admit("c2", "ann", "") is not None
    await one.die()
    two.presence.reap("one")  # the master says so: from this moment on they do not count
    assert await two.registry.admit("c2", "ann", "") is None
    assert await two.registry.is_online("ann")
    assert await two.registry.count() == 1


async def test_a_worker_that_was_taken_for_dead_is_counted_again(start: Start) -> None:
    one, two = await start("one", per_user=1), await start("two", per_user=1)
    assert await one.registry.admit("c1", "ann", "") is None
    before = one.lease.incarnation
    two.presence.reap("one")
    await until_async(lambda: one.lease.incarnation != before)

    async def counted() -> bool:
        return await two.registry.is_online("ann")

    await until_async(counted)
    assert await two.registry.admit("c2", "ann", "") is not None


async def test_online_is_who_has_a_connection_anywhere(start: Start) -> None:
    one, two = await start("one"), await start("two")
    assert not await two.registry.is_online("ann")
    await one.registry.admit("c1", "", "10.0.0.1")
    await one.registry.admit("c1", "ann", "10.0.0.1")  # it has said who it is
    assert await two.registry.is_online("ann")
    assert not await two.registry.is_online("bob")

    async def count() -> bool:
        return await two.registry.count() == 1

    await until_async(count, what="it counts once")
    one.registry.release("c1")
    one.registry.release("c1")

    async def gone() -> bool:
        return not await two.registry.is_online("ann") and await two.registry.count() == 0

    await until_async(gone)


async def test_a_storm_of_connects_is_counted_by_few_scripts(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await start("one"), await start("two")
    sent: list[int] = []
    send = one.bus.send

    def counted(script: Script, own: Sequence[str], *args: Any, **options: Any) -> None:
        sent.append(len(own))
        send(script, own, *args, **options)

    monkeypatch.setattr(one.bus, "send", counted)
    for number in range(500):
        assert await one.registry.admit(f"c{number}", f"u{number}", "10.0.0.1", new=True) is None

    async def all_known() -> bool:
        return all(await asyncio.gather(*(two.registry.is_online(f"u{number}") for number in range(500))))

    await until_async(all_known)
    assert await two.registry.count() == 500
    assert sum(sent) <= 600 and len(sent) <= 20, "many users in one script, and each of them once"


async def test_a_connection_that_moves_is_counted_once(start: Start) -> None:
    one, two = await start("one", per_user=2), await start("two", per_user=2)
    for connection in ("c1", "c2"):
        assert await one.registry.admit(connection, "ann", "") is None
    ban = await one.registry.sanction("ban", "ann", room="lobby", by="mod", reason="r")
    one.registry.sanctions.apply(ban)
    carried = encoded(one.registry.freeze("c1"))
    two.registry.thaw("c1", "ann", "", carried)
    one.registry.release("c1")
    assert two.registry.sanctions.banned("ann", "", "lobby", time.time()) == "r"

    async def moved() -> bool:
        return await two.registry.count() == 2 and await two.registry.admit("c3", "ann", "") is not None

    await until_async(moved)
    one.registry.release("c2")
    two.registry.release("c1")

    async def gone() -> bool:
        return not await one.registry.is_online("ann")

    await until_async(gone)


async def test_all_connections_of_a_user_that_move_at_once_are_counted_once(start: Start) -> None:
    one, two = await start("one"), await start("two", per_user=2)
    connections = ("c1", "c2", "c3")
    for connection in connections:
        assert await one.registry.admit(connection, "ann", "") is None
    carried = {connection: encoded(one.registry.freeze(connection)) for connection in connections}
    for connection in connections:
        two.registry.thaw(connection, "ann", "", carried[connection])
        one.registry.gave_away(connection)

    async def only_there() -> bool:
        assert await two.registry.is_online("ann")
        for connection in connections:
            two.registry.release(connection)
        return not await one.registry.is_online("ann")

    await until_async(only_there)


async def test_more_counts_under_way_than_are_begun_at_once_delay_the_others_and_no_more(
    start: Start, store: RedisServer
) -> None:
    """Ten thousand connections arrive from another worker while the store is slow."""
    one = await start("one")
    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context))
    arrived = [f"u{number}" for number in range(CONCURRENT + 200)]
    store.freeze()
    try:
        for user in arrived:
            one.registry.thaw(f"c-{user}", user, "", Carried("another", {user: 0}, {}))
        await until_async(lambda: len(one.registry._counts._under_way) > CONCURRENT)
        one.registry.release("c-u0")  # a change, which waits for those under way
        timer = one.registry._counts._timer
        await until_async(lambda: one.registry._counts._timer is not timer)
    finally:
        store.thaw()

    async def counted() -> bool:
        return await one.registry.count() == len(arrived) - 1

    await until_async(counted)
    assert failed == []


async def test_a_ban_is_known_at_the_next_hello(start: Start) -> None:
    one, two = await start("one"), await start("two")
    ban = await one.registry.sanction("ban", "ann", by="mod", reason="spam", addresses=("10.0.0.1",))
    assert ban.until == 0 and abs(ban.at / 1000 - time.time()) < 5
    await two.registry.admit("c1", "ann", "10.0.0.2")
    await two.registry.admit("c2", "guest:7", "10.0.0.1")
    known = two.registry.sanctions
    assert known.banned("ann", "", "", time.time()) == "spam"
    assert known.banned("guest:7", "10.0.0.1", "", time.time()) == "spam"
    lifted, held = await one.registry.lift("ban", "ann", by="mod")
    assert held and lifted.addresses == ("10.0.0.1",)
    assert not (await one.registry.lift("ban", "ann", by="mod"))[1], "there is nothing left to lift"
    known.apply(encoded(lifted))
    assert known.banned("ann", "", "", time.time()) is None
    assert known.banned("guest:7", "10.0.0.1", "", time.time()) is None
    await one.registry.admit("c3", "guest:8", "10.0.0.1")
    assert one.registry.sanctions.banned("guest:8", "10.0.0.1", "", time.time()) is None


async def test_a_mute_that_is_over_is_forgotten(start: Start, store: RedisServer) -> None:
    one, two = await start("one"), await start("two")
    mute = await one.registry.sanction("mute", "ann", room="lobby", by="mod", seconds=0.2)
    assert mute.until == mute.at + 200
    await one.registry.sanction("mute", "ann", room="other", by="mod")
    await until_async(lambda: time.time() * 1000 > mute.until)
    await two.registry.admit("c1", "ann", "")
    assert two.registry.sanctions.muted("ann", "", "lobby", 0.0) is None, "the store does not even say it"
    assert two.registry.sanctions.muted("ann", "", "other", time.time()) == float("inf")


async def test_the_trail_says_who_did_what(start: Start) -> None:
    one, two = await start("one"), await start("two")
    await one.registry.sanction("mute", "ann", by="mod", room="lobby", seconds=60, reason="loud")
    await one.registry.lift("mute", "ann", by="boss", room="lobby")
    await one.registry.lift("mute", "ann", by="boss", room="lobby")  # nothing is left: nothing was done
    await one.registry.record(AuditEntry("kick", "bob", "mod", "lobby"))
    trail = await two.registry.trail()
    assert [(deed.verb, deed.user, deed.by) for deed in trail] == [
        ("kick", "bob", "mod"),
        ("unmute", "ann", "boss"),
        ("mute", "ann", "mod"),
    ]
    assert (trail[2].room, trail[2].seconds, trail[2].reason) == ("lobby", 60, "loud")
    assert abs(trail[2].time - time.time()) < 5
    assert [deed.verb for deed in await two.registry.trail(user="ann", limit=1)] == ["unmute"]
    assert [deed.verb for deed in await two.registry.trail(room="lobby")] == ["kick", "unmute", "mute"]


async def test_a_long_trail_is_read_in_pages(start: Start) -> None:
    one = await start("one")
    for number in range(450):
        await one.registry.record(AuditEntry("kick", f"u{number % 3}", "mod"))
    assert len(await one.registry.trail(limit=1000)) == 450
    assert len(await one.registry.trail(user="u0", limit=1000)) == 150


async def test_a_connection_that_gets_a_user_while_it_is_being_counted_stays_and_is_counted_once(start: Start) -> None:
    one = await start("one", per_user=1, connections=1)
    answers = tuple(await asyncio.gather(one.registry.admit("c1", "", ""), one.registry.admit("c1", "ann", "")))
    assert answers == (None, None)
    assert await one.registry.count() == 1 and await one.registry.is_online("ann")
    assert await one.registry.admit("c2", "ben", "") is not None


def test_the_keys_of_many_counts_are_those_of_each() -> None:
    subjects = [
        keys.of_user("ann"),
        keys.ALL,
        keys.of_address("10.0.0.1"),
        keys.of_user("guest:1"),
        keys.of_api_key("k"),
    ]
    assert keys.counts_of_all("chat", subjects) == [keys.counts("chat", one) for one in subjects]
