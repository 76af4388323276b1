"""The soak's comparison finds what grows; `python -m tests.chaos.soak` is the long run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.chaos.soak import LASTING, Sample, Soak, compare, settings, table
from tests.support.server import Chatmaster
from tests.support.ws import ChatSocket


def samples(seconds: float, **growth: float) -> list[Sample]:
    """A look a second; what is named grows by that share from beginning to end."""
    found = []
    for at in range(int(seconds)):
        of = {name: round(1000 * (1 + share * at / seconds)) for name, share in growth.items()}
        steady = dict.fromkeys(("memory", "descriptors", "tasks", "rooms", "keys"), 1000)
        found.append(Sample(at=float(at), connections=50, **(steady | of)))
    return found


def test_what_grows_is_found_and_what_stays_is_not() -> None:
    changes = {one.name: one for one in compare(samples(600, tasks=0.2, keys=0.02), 600)}
    assert [name for name, one in changes.items() if one.too_much] == ["tasks"]
    assert "beyond 5 %" in table(samples(600, tasks=0.2), list(changes.values()))


def test_what_shrinks_is_not_steady_either_and_a_few_more_are_nothing() -> None:
    assert {one.name for one in compare(samples(600, rooms=-0.3), 600) if one.too_much} == {"rooms"}
    few = [Sample(float(at), 1000, 10, 10 + 3 * (at > 300), 1, 1, 1) for at in range(600)]
    assert not any(one.too_much for one in compare(few, 600))


async def test_visits_succeed_and_every_figure_is_seen(chatmaster: Callable[..., Chatmaster]) -> None:
    soak = Soak(await asyncio.to_thread(chatmaster, workers=2, settings=settings(60)), seconds=2, per_second=10)
    await soak.run()
    assert set(soak.outcomes) == {"whole"} and soak.outcomes["whole"] >= 15
    last = soak.samples[-1]
    assert min(last.memory, last.descriptors, last.tasks, last.keys) > 0
    assert last.connections >= 40 and last.rooms >= 40  # those who stay; how many visit just then is chance


async def test_the_rings_begin_with_what_visitors_leave(chatmaster: Callable[..., Chatmaster]) -> None:
    """Entries of another kind would be of another size, and memory would change as long as they are replaced."""
    server = await asyncio.to_thread(chatmaster, workers=2, settings=settings(60))
    soak = Soak(server, seconds=1, per_second=10, rings=3)
    await soak.run()
    async with await ChatSocket.enter(server.url) as person:
        for number in range(LASTING):
            found = await person.ask(type="history", room=f"hall-{number}", limit=100)
            assert len(found["messages"]) >= 3
            assert {one["from"]["user"].partition(":")[0] for one in found["messages"]} == {"guest"}
            assert {one["text"].partition(" ")[0] for one in found["messages"]} == {"visit"}
