"""Presence over several workers and a real store: joins, deaths, a store that goes away, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.store import RedisServer
from tests.support.wait import until_async
from tests.workers.presence.site import GRACE, Site, a_moment
from workers.cluster import keys
from workers.presence import PresentUser
from workers.presence.local_state import MAX_WRITE

Start = Callable[..., Awaitable[Site]]


async def see(site: Site, users: dict[str, int], timeout: float = 10.0) -> None:
    async def seen() -> bool:
        return await site.users() == users

    await until_async(seen, timeout, f"{users} are in the room")


async def test_a_user_with_two_connections_to_two_workers_joins_and_leaves_once(start: Start) -> None:
    one, two = await start("one"), await start("two")
    one.presence.entered("lobby", "host", "Host")
    await see(one, {"host": 1})
    for site in (one, two):
        site.presence.entered("lobby", "ann", "Ann")
        site.presence.entered("lobby", "ann", "Ann")
    await see(two, {"host": 1, "ann": 4})
    found = await one.presence.members("lobby", 10)
    assert PresentUser("ann", "Ann", 4) in found.members
    assert found.count == 2 and not found.truncated
    for site in (one, two, one, two):
        site.presence.left("lobby", "ann")
    await see(one, {"host": 1})
    await until_async(lambda: one.left() == ["ann"], what="the others are told")
    assert one.joined() == ["host", "ann"]
    assert one.presence.count("lobby") == 1


async def test_the_list_of_members_is_cut_and_says_so(start: Start) -> None:
    one = await start("one")
    for number in range(120):
        one.presence.entered("lobby", f"u{number}", "")
    await until_async(lambda: one.presence.count("lobby") == 120)
    await until_async(lambda: one.told, what="they were announced")
    found = await one.presence.members("lobby", 20)
    assert (len(found.members), found.count, found.truncated) == (20, 120, True)
    assert await one.presence.counted("lobby") == 120
    assert not any(change.joined for _, change in one.told)


async def test_who_is_back_within_the_grace_never_left(start: Start) -> None:
    one, two = await start("one"), await start("two")
    two.presence.entered("lobby", "host", "Host")
    one.presence.entered("lobby", "ann", "Ann")
    await see(two, {"host": 1, "ann": 1})
    one.presence.left("lobby", "ann")
    two.presence.entered("lobby", "ann", "Ann")
    await see(two, {"host": 1, "ann": 2})
    await see(two, {"host": 1, "ann": 1})
    await a_moment()
    assert two.left() == []
    assert sorted(two.joined()) == ["ann", "host"]


async def test_a_new_name_is_told_to_the_room(start: Start) -> None:
    one, two = await start("one"), await start("two")
    one.presence.entered("lobby", "ann", "Ann")
    two.presence.entered("lobby", "bob", "Bob")
    await see(one, {"ann": 1, "bob": 1})
    await until_async(lambda: "ann" in two.joined() or two.told)
    one.presence.renamed("lobby", "ann", "Anna")
    await until_async(lambda: any(change.renamed == (("ann", "Anna"),) for _, change in two.told))
    assert PresentUser("ann", "Anna", 1) in (await two.presence.members("lobby", 10)).members


async def test_who_was_only_at_a_dead_worker_leaves_once(start: Start) -> None:
    sites = [await start(process) for process in ("one", "two", "three")]
    one, two, three = sites
    for user, site in (("ann", one), ("ann", two), ("bob", one), ("cat", three)):
        site.presence.entered("lobby", user, user)
    await see(two, {"ann": 2, "bob": 1, "cat": 1})
    await one.die()
    for survivor in (two, three):
        survivor.presence.reap("one")
    await see(two, {"ann": 1, "cat": 1})
    await until_async(lambda: two.left() == three.left() == ["bob"])


async def test_a_worker_that_nobody_saw_die_is_reaped_when_its_lease_is_over(start: Start) -> None:
    one, two = await start("one"), await start("two")
    one.presence.entered("lobby", "ann", "Ann")
    two.presence.entered("lobby", "bob", "Bob")
    await see(two, {"ann": 1, "bob": 1})
    await one.die()
    await see(two, {"bob": 1})


async def test_a_worker_that_was_taken_for_dead_comes_back(start: Start) -> None:
    one, two = await start("one"), await start("two")
    one.presence.entered("lobby", "ann", "Ann")
    two.presence.entered("lobby", "bob", "Bob")
    await see(two, {"ann": 1, "bob": 1})
    before = one.lease.incarnation
    two.presence.reap("one")
    await until_async(lambda: one.lease.incarnation != before, what="it has begun anew")
    await see(two, {"ann": 1, "bob": 1})
    one.presence.left("lobby", "ann")
    await see(two, {"bob": 1})


async def test_who_leaves_in_order_is_missed_only_after_the_grace(start: Start) -> None:
    one, two = await start("one"), await start("two")
    one.presence.entered("lobby", "ann", "Ann")
    two.presence.entered("lobby", "bob", "Bob")
    await see(two, {"ann": 1, "bob": 1})
    one.presence.left("lobby", "ann")
    await one.stop()
    two.presence.reap("one")
    two.presence.entered("lobby", "ann", "Ann")
    await see(two, {"ann": 1, "bob": 1})
    assert two.left() == []


async def test_a_store_that_forgot_everything_is_told_again(start: Start, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "r") as server:
        one, two = await start("one", url=server.url), await start("two", url=server.url)
        one.presence.entered("lobby", "ann", "Ann")
        two.presence.entered("lobby", "bob", "Bob")
        await see(two, {"ann": 1, "bob": 1})
        server.restart(wipe=True)
        await until_async(lambda: one.bus.state == two.bus.state == "ready")
        await see(two, {"ann": 1, "bob": 1})
        two.presence.left("lobby", "bob")
        await see(one, {"ann": 1})
        await until_async(lambda: one.presence.count("lobby") == 1)
        await one.stop()
        await two.stop()


async def test_what_is_written_before_the_loss_of_the_store_is_noticed_counts_once(
    start: Start, tmp_path: Path
) -> None:
    with RedisServer(tmp_path / "r") as server:
        one, two = await start("one", url=server.url, renew=60.0), await start("two", url=server.url, renew=60.0)
        one.presence.entered("lobby", "ann", "Ann")
        two.presence.entered("lobby", "bob", "Bob")
        await see(two, {"ann": 1, "bob": 1})
        server.client.flushall()
        one.presence.entered("lobby", "cyd", "Cyd")
        await see(two, {"cyd": 1})
        for site in (one, two):
            await site.lease.renew()
        await see(two, {"ann": 1, "bob": 1, "cyd": 1})
        one.presence.left("lobby", "cyd")
        await see(two, {"ann": 1, "bob": 1})
        for site in (one, two):
            await site.stop()


async def test_notes_that_were_missed_are_made_up_for(start: Start, store: RedisServer) -> None:
    one, two = await start("one"), await start("two")
    two.presence.entered("lobby", "bob", "Bob")
    await see(two, {"bob": 1})
    two.bus.unsubscribe("lobby")
    one.presence.entered("lobby", "ann", "Ann")
    await see(two, {"ann": 1, "bob": 1})
    two.bus.subscribe("lobby")
    await until_async(lambda: two.presence.count("lobby") == 2)
    await until_async(lambda: two.told and not two.told[-1][1].complete, what="members are told to ask")


async def test_8000_joiners_in_a_second_cost_the_store_little(start: Start, store: RedisServer) -> None:
    """And the members are told the count a few times, not 8,000 names."""
    one, two = await start("one"), await start("two")
    before = store.client.info("commandstats")["cmdstat_evalsha"]["calls"]
    for number in range(4000):
        one.presence.entered("lobby", f"a{number}", "A")
        two.presence.entered("lobby", f"b{number}", "B")
    await until_async(lambda: one.presence.count("lobby") == two.presence.count("lobby") == 8000, 20)
    calls = store.client.info("commandstats")["cmdstat_evalsha"]["calls"] - before
    assert calls < 2 * 8000 / MAX_WRITE + 100
    await until_async(lambda: one.told and one.told[-1][1].count == 8000)
    assert len(one.told) < 10
    assert not one.joined()


async def test_thousands_of_rooms_are_written_and_given_up(start: Start, store: RedisServer) -> None:
    one, two = await start("one", grace=GRACE), await start("two")
    for number in range(2000):
        one.presence.entered(f"room{number}", "ann", "Ann")
    name = one.settings.master.name
    await until_async(lambda: _count(store, f"{name}:*:room*/users") == 2000, 20)
    for number in range(2000):
        one.presence.left(f"room{number}", "ann")
    await until_async(lambda: _count(store, f"{name}:*:room*/users") == 0, 20)
    rooms = keys.of_incarnations(name, one.lease.incarnation)[2]
    await until_async(lambda: store.client.hlen(rooms) == 0, what="the claims are given up")
    assert two.told == []
    await asyncio.sleep(0)


def _count(store: RedisServer, pattern: str) -> int:
    return sum(1 for _ in store.client.scan_iter(pattern, count=5000))
