"""Faults of the network: between the server and its store, and between clients and the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.chaos.faults import Turn, fault
from tests.chaos.proxy import DOWN, UP, Proxy
from tests.chaos.site import Site
from tests.support.wait import until_async

Trouble = Callable[[Site, Turn, Proxy], Awaitable[None]]


async def cut(site: Site, turn: Turn, door: Proxy) -> None:
    turn.expect(door.cut(), "there was no connection to cut")


async def refused(site: Site, turn: Turn, door: Proxy) -> None:
    door.refuse, before = True, door.connections
    door.cut()
    await site.for_a_while(3)
    door.refuse = False
    turn.expect(door.connections > before, "nobody tried to come back")


async def delayed(site: Site, turn: Turn, door: Proxy) -> None:
    """In both directions."""
    door.delay = 0.1
    await site.for_a_while(4)
    door.delay = 0.0


async def half_open(site: Site, turn: Turn, door: Proxy) -> None:
    turn.expect(door.abandon(), "there was no connection to abandon")


async def held(site: Site, turn: Turn, door: Proxy) -> None:
    door.hold()
    await site.for_a_while(turn.chance.uniform(0.5, 5))
    door.heal()


async def one_direction_only(site: Site, turn: Turn, door: Proxy) -> None:
    door.hold(turn.chance.choice((UP, DOWN)))
    await site.for_a_while(turn.chance.uniform(0.5, 5))
    door.heal()


async def reset_in_mid_frame(site: Site, turn: Turn, door: Proxy) -> None:
    for _ in range(5):
        door.cut_in_mid_frame(turn.chance.randint(1, 40))
        await site.for_a_while(0.2)
    if turn.alone:
        await until_async(lambda: not door.will_cut, 10, "the last one was cut in mid-frame")


async def byte_by_byte(site: Site, turn: Turn, door: Proxy) -> None:
    door.dribble = True
    await site.for_a_while(2)
    door.dribble = False


def _register(trouble: Trouble, group: str, door: Callable[[Site], Proxy]) -> None:
    async def act(site: Site, turn: Turn) -> None:
        await trouble(site, turn, door(site))

    act.__name__ = trouble.__name__
    fault(group)(act)


for _trouble in (cut, refused, delayed, half_open, held, one_direction_only, reset_in_mid_frame, byte_by_byte):
    _register(_trouble, "client network", lambda site: site.client_door)
    _register(_trouble, "store network", lambda site: site.store_door)


@fault("client network", long=True)
async def silent_clients(site: Site, turn: Turn) -> None:
    """Half-open towards the server: it hears nothing more of them, and lets them go when no pong comes."""
    if turn.alone:  # everybody is in, which the workers tell a moment later
        await until_async(site.counts_everybody, 10, "everybody is counted")
    behind, before = len(site.behind), await site.metric("connections")
    site.client_door.hold(UP)
    try:
        if turn.alone:
            goal = before - behind + 1
            await until_async(lambda: site.at_most("connections", goal), 40, f"{behind} silent clients were let go")
        else:
            await site.for_a_while(17)
    finally:
        site.client_door.heal()
