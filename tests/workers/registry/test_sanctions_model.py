"""Bans and mutes over two workers, held against the plain rules: each is a record of its own, wherever it is asked."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.workers.presence.site import Site, encoded
from workers.registry.sanctions import Verb

Start = Callable[..., Awaitable[Site]]

USERS = ("guest:a", "guest:b", "ann")
ADDRESSES = {"guest:a": "10.0.0.1", "guest:b": "10.0.0.1", "ann": ""}
ROOMS = ("", "lobby")
VERBS: tuple[Verb, ...] = ("ban", "mute")
LONG = 1000.0

Step = tuple[Verb, str, str, str]  # verb, user, room, what is done: impose, shorten, lift
steps = st.lists(
    st.tuples(
        st.sampled_from(VERBS),
        st.sampled_from(USERS),
        st.sampled_from(ROOMS),
        st.sampled_from(("for ever", "long", "lift")),
    ),
    max_size=12,
)


def expected(model: dict[tuple[Verb, str, str], str], verb: Verb, who: str, address: str, room: str) -> str | None:
    """How long somebody is kept out (`for ever`, `long`), by a record of one's own or of the same address."""
    held = [
        how
        for (kind, user, place), how in model.items()
        if kind == verb and place in ("", room) and (user == who or (address and ADDRESSES[user] == address))
    ]
    return min(held, default=None)  # "for ever" is before "long" in the alphabet, and lasts longer


def seen(site: Site, verb: Verb, who: str, address: str, room: str) -> str | None:
    known, now = site.registry.sanctions, time.time()
    if verb == "ban":
        reason = known.banned(who, address, room, now)
        return None if reason is None else reason
    until = known.muted(who, address, room, now)
    return None if until is None else "for ever" if until == float("inf") else "long"


async def _newcomer(site: Site, who: str, address: str) -> None:
    """Somebody comes, and whatever this worker knew before is forgotten."""
    site.registry.release(f"c-{who}")
    assert await site.registry.admit(f"c-{who}", who, address) is None


@given(script=steps)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_rules_hold_after_any_steps(script: list[Step], store: Any) -> None:
    """On the worker that heard it all through the control room, and on one that reads the store."""
    asyncio.run(_play(script, store.url))


_runs = itertools.count()


async def _play(script: list[Step], url: str) -> None:
    name = f"model{next(_runs)}"
    one, two = Site(url, name, "one"), Site(url, name, "two")
    await one.start()
    await two.start()
    try:
        for who in (*USERS, "guest:new"):
            await _newcomer(one, who, ADDRESSES.get(who, "10.0.0.1"))
        model: dict[tuple[Verb, str, str], str] = {}
        for number, (verb, user, room, how) in enumerate(script):
            by = (one, two)[number % 2]
            if how == "lift":
                told, held = await by.registry.lift(verb, user, by="m", room=room)
                assert held == (model.pop((verb, user, room), None) is not None)
            else:
                seconds = 0.0 if how == "for ever" else LONG
                addresses = (ADDRESSES[user],) if ADDRESSES[user] else ()
                told = await by.registry.sanction(
                    verb, user, by="m", room=room, seconds=seconds, reason=how, addresses=addresses
                )
                model[verb, user, room] = how
            one.registry.sanctions.apply(encoded(told))
        await _holds(model, one, two)
    finally:
        await one.stop()
        await two.stop()


async def _holds(model: dict[tuple[Verb, str, str], str], one: Site, two: Site) -> None:
    for who, address in (*ADDRESSES.items(), ("guest:new", "10.0.0.1"), ("guest:far", "10.0.0.9")):
        await _newcomer(two, who, address)
        for verb, room in itertools.product(VERBS, (*ROOMS, "other")):
            wanted = expected(model, verb, who, address, room)
            for site in (two,) if who == "guest:far" else (one, two):
                assert seen(site, verb, who, address, room) == wanted, (site.process, verb, who, room)
    listed = {(one.verb, one.user, one.room): one.reason for one in await two.registry.sanctions_held()}
    assert listed == model


@pytest.mark.parametrize("seed", range(6))
async def test_whoever_bans_and_lifts_at_once_leaves_nothing_half_done(start: Start, seed: int) -> None:
    """Two workers ban, lift and extend the same guests' bans at the same time: at the end the copies say what the
    records say. A copy written late by one must not bring back what the other has lifted."""
    one, two = await start("one"), await start("two")
    chance = random.Random(seed)

    async def moderate(site: Site, user: str) -> None:
        for _ in range(6):
            if chance.random() < 0.5:
                ban = await site.registry.sanction("ban", user, by="m", addresses=("10.0.0.1",))
                if chance.random() < 0.5:
                    await site.registry.extend(ban, "2001:db8::1")
            else:
                await site.registry.lift("ban", user, by="m")

    users = ("guest:a", "guest:b")
    await asyncio.gather(*(moderate(site, user) for user in users for site in (one, two) for _ in range(2)))
    fresh = await start("fresh")
    known, now, held = fresh.registry.sanctions, time.time(), []
    for user in users:
        await fresh.registry.admit(f"c-{user}", user, "")
        if known.banned(user, "", "", now) is not None:
            held.append(user)
    assert {one.user for one in await fresh.registry.sanctions_held()} == set(held)
    await fresh.registry.admit("c-1", "guest:x", "10.0.0.1")
    assert {one.user for one in known.known("*a:10.0.0.1")} == set(held)
    for user in users:
        lifted, _ = await one.registry.lift("ban", user, by="m")
        known.apply(lifted)
    await fresh.registry.admit("c-2", "guest:y", "2001:db8::2")
    assert known.banned("guest:y", "2001:db8::/64", "", now) is None
    assert known.banned("guest:x", "10.0.0.1", "", now) is None


async def test_a_ban_that_was_lifted_meanwhile_is_not_extended(start: Start) -> None:
    """The worker with the guest learns of the ban, and before it has added the address somebody lifts it."""
    one, two = await start("one"), await start("two")
    ban = await one.registry.sanction("ban", "guest:a", by="m")
    await two.registry.lift("ban", "guest:a", by="m")
    assert await one.registry.extend(ban, "10.0.0.1") is None
    await two.registry.admit("c1", "guest:b", "10.0.0.1")
    assert two.registry.sanctions.banned("guest:b", "10.0.0.1", "", time.time()) is None
    assert await two.registry.sanctions_held() == []


async def test_what_was_told_while_a_worker_slept_is_read_again(start: Start) -> None:
    one, two = await start("one"), await start("two")
    await two.registry.admit("c1", "guest:a", "10.0.0.1")
    await two.registry.admit("c2", "ann", "10.0.0.2")
    two.registry.sanctions.apply(await one.registry.sanction("mute", "ann", by="m"))
    await one.registry.lift("mute", "ann", by="m")
    await one.registry.sanction("ban", "guest:b", by="m", reason="r", addresses=("10.0.0.1",))
    known = two.registry.sanctions
    assert known.muted("ann", "", "", time.time()) is not None
    await two.registry.reload()
    assert known.muted("ann", "", "", time.time()) is None
    assert known.banned("guest:a", "10.0.0.1", "", time.time()) == "r"


@pytest.mark.parametrize(
    ("prefix", "other", "refused"),
    [
        (64, "2001:db8:0:1::2", False),
        (48, "2001:db8:0:1::2", True),
        (64, "2001:db8::ffff:2", True),
        (128, "2001:db8::2", False),
    ],
)  # fmt: skip
async def test_an_ipv6_network_is_one_address(start: Start, prefix: int, other: str, refused: bool) -> None:
    one, two = [await start(name, per_address=1, ipv6_prefix=prefix) for name in ("one", "two")]
    assert await one.registry.admit("c1", "ann", "2001:db8::1") is None
    assert (await two.registry.admit("c2", "bob", other) is not None) is refused
