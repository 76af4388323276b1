"""Faults of the network: between the server and its store, and between clients and the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.chaos.faults import fault
from tests.chaos.proxy import DOWN, UP, Proxy
from tests.chaos.site import Site

Trouble = Callable[[Site, Proxy], Awaitable[None]]


async def cut(site: Site, door: Proxy) -> None:
    door.cut()


async def refused(site: Site, door: Proxy) -> None:
    door.refuse = True
    door.cut()
    await site.for_a_while(2)
    door.refuse = False


async def delayed(site: Site, door: Proxy) -> None:
    door.delay = 0.1
    await site.for_a_while(4)
    door.delay = 0.0


async def half_open(site: Site, door: Proxy) -> None:
    door.abandon()


async def held(site: Site, door: Proxy) -> None:
    door.hold()
    await site.for_a_while(site.chance.uniform(0.5, 5))
    door.heal()


async def one_direction_only(site: Site, door: Proxy) -> None:
    door.hold(site.chance.choice((UP, DOWN)))
    await site.for_a_while(site.chance.uniform(0.5, 5))
    door.heal()


async def reset_in_mid_frame(site: Site, door: Proxy) -> None:
    for _ in range(5):
        door.cut_in_mid_frame(site.chance.randint(1, 40))
        await site.for_a_while(0.2)


async def byte_by_byte(site: Site, door: Proxy) -> None:
    door.dribble = True
    await site.for_a_while(2)
    door.dribble = False


def _register(trouble: Trouble, group: str, door: Callable[[Site], Proxy]) -> None:
    async def act(site: Site) -> None:
        await trouble(site, door(site))

    act.__name__ = trouble.__name__
    fault(group)(act)


for _trouble in (cut, refused, delayed, half_open, held, one_direction_only, reset_in_mid_frame, byte_by_byte):
    _register(_trouble, "client network", lambda site: site.client_door)
    _register(_trouble, "store network", lambda site: site.store_door)
