"""Faults of real links, in network namespaces where the machine allows it: cables out, packets lost one way, late."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.chaos.faults import Skipped, Turn, fault
from tests.chaos.namespaces import Namespace, Unavailable
from tests.chaos.site import Site

Trouble = Callable[[Site, Turn, Namespace], Awaitable[None]]


async def link_cut(site: Site, turn: Turn, link: Namespace) -> None:
    link.cut()
    await site.for_a_while(turn.chance.uniform(0.5, 5))


async def link_lost_for_long(site: Site, turn: Turn, link: Namespace) -> None:
    """Longer than pings wait: both ends have to find out by themselves, nobody sends a reset."""
    link.cut()
    await site.for_a_while(17)


async def packets_lost_one_way(site: Site, turn: Turn, link: Namespace) -> None:
    turn.chance.choice((link.lose_incoming, link.lose_outgoing))()
    await site.for_a_while(turn.chance.uniform(0.5, 5))


async def packets_late(site: Site, turn: Turn, link: Namespace) -> None:
    try:
        link.delay(100)
    except Unavailable as why:
        raise Skipped(f"the kernel delays no packets: {why}") from None
    await site.for_a_while(4)


def _register(trouble: Trouble, group: str, kind: str, *, long: bool) -> None:
    async def act(site: Site, turn: Turn) -> None:
        link = site.links.get(kind)
        if link is None:
            raise Skipped(site.no_links)
        try:
            await trouble(site, turn, link)
        finally:
            link.heal()

    act.__name__ = trouble.__name__
    fault(group, long=long)(act)


for _trouble in (link_cut, link_lost_for_long, packets_lost_one_way, packets_late):
    for _kind in ("client", "store"):
        _register(_trouble, f"{_kind} link", _kind, long=_trouble is link_lost_for_long)
