"""Claims to names that nobody waits for: how many share a script, and that the store ends with what was wanted last."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.support.wait import until_async
from tests.workers.presence.conftest import start, store
from tests.workers.presence.site import Site
from workers.bus.script import Script
from workers.chat.name_claims import TOGETHER, NameClaims
from workers.chat.rules.names import keys_of
from workers.chat.store import keys
from workers.tasks import Tasks

__all__ = ["start", "store"]

HOLDERS = Script("holders", "return redis.call('HKEYS', KEYS[1])")
Start = Callable[..., Awaitable[Site]]


class Desk:
    """The claims of one worker, the scripts that they ran, and who lost which name."""

    def __init__(self, site: Site) -> None:
        self.site, self.tasks = site, Tasks()
        self.scripts: list[str] = []
        self.lost: list[tuple[str, str]] = []
        send = site.bus.send

        def counted(script: Any, *args: Any, **options: Any) -> None:
            self.scripts.append(script.name)
            send(script, *args, **options)

        site.bus.send = counted  # type: ignore[method-assign]
        self.claims = NameClaims(site.bus, site.lease, site.settings.master.name, self.tasks)
        self.claims.lost = lambda user, name: self.lost.append((user, name))

    async def holders(self, name: str) -> set[str]:
        """The users who have a name by the store's word."""
        found: set[str] = set()
        script = self.site.bus.script(HOLDERS)
        for key in keys_of(name):
            for guests in (True, False):
                own = keys.name_holders(self.site.settings.master.name, key, guests=guests)
                found.update(one.decode().partition(" ")[2] for one in await self.site.bus.call_read(script, [own], []))
        return found


@pytest.fixture
async def desk(start: Start) -> AsyncIterator[Callable[[str], Awaitable[Desk]]]:
    desks: list[Desk] = []

    async def one(process: str) -> Desk:
        desks.append(Desk(await start(process)))
        return desks[-1]

    yield one
    for made in desks:
        await made.tasks.cancel()


async def test_guests_of_one_moment_share_scripts(desk: Any) -> None:
    one = await desk("one")
    guests = [(f"guest:{at:016x}", f"Name{at}") for at in range(2 * TOGETHER)]
    for guest in guests:
        one.claims.hold(guest)
    assert one.scripts.count("claim_names") <= 2
    assert await one.holders("Name0") == {guests[0][0]} and await one.holders("name127") == {guests[127][0]}
    assert not one.lost


async def test_wishes_are_carried_out_in_their_order_whatever_waits_together(desk: Any) -> None:
    one, chance = await desk("one"), random.Random(7)
    guest, names = "guest:0000000000000001", ["Robin", "Marian", "Tuck"]
    held: list[str] = []
    for _ in range(300):
        if held and chance.random() < 0.5:
            one.claims.give_back((guest, held.pop(chance.randrange(len(held)))))
        else:
            name = chance.choice(names)
            held.append(name)
            one.claims.hold((guest, name))
        if chance.random() < 0.05:
            name = chance.choice(names)
            assert await one.claims.take((guest, name)), "what waited was sent before this question"
            held.append(name)
    for name in names:
        wanted = {guest} if name in held else set()

        async def settled(name: str = name, wanted: set[str] = wanted) -> bool:
            return bool(await one.holders(name) == wanted)

        await until_async(settled, what=f"{name} is {'held' if wanted else 'free'}")


async def test_of_wishes_in_one_script_each_has_an_answer_of_its_own(desk: Any) -> None:
    one, two = await desk("one"), await desk("two")
    assert await two.claims.take(("guest:0000000000000002", "Taken"))
    assert await two.claims.take(("guest:0000000000000003", "Given"))
    one.claims.hold(("guest:0000000000000011", "Free"))
    one.claims.hold(("guest:0000000000000012", "TAKEN"))  # a guest finds it taken
    one.claims.hold(("ann", "Given"))  # a user takes it from the guest
    one.claims.hold(("guest:0000000000000013", "Alone"))
    expected = {("guest:0000000000000012", "TAKEN"), ("guest:0000000000000003", "Given")}
    await until_async(lambda: _seen(one, expected), what="both are told who lost a name")
    assert await one.holders("free") == {"guest:0000000000000011"}
    assert await one.holders("alone") == {"guest:0000000000000013"}
    assert "guest:0000000000000012" not in await one.holders("taken")
    assert "ann" in await one.holders("given")


async def _seen(desk: Desk, expected: set[tuple[str, str]]) -> bool:
    return set(desk.lost) == expected
