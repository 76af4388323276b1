"""What every bus promises about a full inbox: whoever writes most loses the oldest, and nobody else anything."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from chatmaster.store import layout

SIZE = 200
SPARE = SIZE // 8  # messages by which an inbox may be larger for a while


async def written(under: Any, count: int, author: str, **options: Any) -> None:
    """Messages to one inbox, not all at once."""
    for _ in range(0, count, 50):
        await asyncio.gather(*(under.publish("@ann", author=author, **options) for _ in range(min(count, 50))))


async def by_author(under: Any) -> dict[str, list[int]]:
    """The offsets in the inbox by author; all guests are one."""
    page = await under.bus.read("@ann", after=0, limit=1000, max_bytes=1 << 20)
    found: dict[str, list[int]] = {}
    for entry in page.entries:
        found.setdefault(entry.author.partition(":")[0], []).append(entry.offset)
    return found


async def test_a_flood_of_one_sender_or_of_many_guests_pushes_out_nobody_elses_letters(make):
    under = await make(history_size=SIZE)
    await written(under, 50, "ben")
    await written(under, 10, "cem")
    await written(under, 2000, "dan")
    found = await by_author(under)
    assert found["ben"] == list(range(1, 51)) and found["cem"] == list(range(51, 61))
    assert SIZE - 60 <= len(found["dan"]) <= SIZE - 60 + SPARE and found["dan"][-1] == 2060
    for number in range(40):
        await written(under, 50, f"guest:{number}")
    found = await by_author(under)
    assert found["ben"] == list(range(1, 51)) and found["cem"] == list(range(51, 61))
    fair = (SIZE - 60) // 2
    assert fair - SPARE <= len(found["dan"]) <= fair + SPARE, "two who write too much have the same"
    assert sum(map(len, found.values())) <= SIZE + SPARE
    assert 0 < len(found["guest"]) <= fair + SPARE


async def test_a_flood_that_comes_all_at_once_pushes_out_nobody_elses_letters(make):
    size = 64  # less than one script may bring, with what an inbox has to spare
    under = await make(history_size=size)
    await written(under, 10, "ben")
    await written(under, 100, "guest:1")
    flood = [under.publish("@ann", author="dan", key=f"{n}" if n > 300 else "") for n in range(600)]
    await asyncio.gather(*flood)
    found = await by_author(under)
    assert found["ben"] == list(range(1, 11))
    fair = (size - 10) // 2
    assert len(found["guest"]) == fair and found["dan"][-1] == 710
    assert fair <= len(found["dan"]) <= fair + size // 4


async def test_guests_share_what_they_have_together(make):
    under = await make(history_size=SIZE)
    await written(under, 10, "guest:ben")
    await written(under, 50, "cem")
    for number in range(12):
        await written(under, 200, f"guest:{number}")
    page = await under.bus.read("@ann", after=0, limit=1000, max_bytes=1 << 20)
    counts = Counter(entry.author for entry in page.entries)
    assert counts["guest:ben"] == 10 and counts["cem"] == 50
    assert len(counts) == 14, "none of the guests lost everything"


async def test_a_talk_of_two_keeps_the_newest_of_both(make):
    under = await make(history_size=SIZE)
    for _ in range(250):
        await under.publish("@ann", author="ann")
        await under.publish("@ann", author="ben")
    page = await under.bus.read("@ann", after=0, limit=1000, max_bytes=1 << 20)
    offsets = [entry.offset for entry in page.entries]
    assert SIZE <= len(offsets) <= SIZE + SPARE
    assert offsets == list(range(501 - len(offsets), 501)), "without a hole"


async def test_many_who_wrote_one_letter_each_are_let_go_in_order(make):
    under = await make(history_size=SIZE)
    for number in range(3 * SIZE):
        await under.publish("@ann", author=f"user-{number}")
    page = await under.bus.read("@ann", after=0, limit=1000, max_bytes=1 << 20)
    offsets = [entry.offset for entry in page.entries]
    assert offsets == list(range(offsets[0], 3 * SIZE + 1)) and SIZE <= len(offsets) <= SIZE + SPARE


async def test_whoever_comes_back_is_told_what_is_gone_and_that_it_may_have_been_messages(make):
    under = await make(history_size=SIZE)
    await under.publish("@ann", author="ben")
    await written(under, 1000, "dan")
    page = await under.bus.read("@ann", after=0, limit=1000, max_bytes=1 << 20)
    assert page.state.first == 1 and page.entries[1].offset > 700
    assert page.state.dropped == page.entries[1].offset - 1
    assert (await under.state("@ann")).dropped == page.state.dropped
    assert (await under.state("@bob")).dropped == 0


async def test_an_inbox_and_what_is_known_of_its_senders_are_bounded_and_end_together(make):
    under = await make(history_size=SIZE, history_ttl=600)
    names = layout.keys("chat", "@ann", "log", "senders")
    sizes = []
    for _ in range(3):
        await written(under, 1000, "dan", key="")
        await written(under, 500, "guest:1")
        with under.store.client() as client:
            sizes.append([client.memory_usage(name, samples=0) for name in names])
            assert all(590 <= client.ttl(name) <= 600 for name in names)
            assert client.xlen(names[0]) == client.xlen(names[1]) <= SIZE + SPARE
    assert max(sizes[2]) <= 1.3 * max(sizes[0]), f"log and senders grow: {sizes}"
    with under.store.client() as client:
        client.delete(names[1])  # as of an inbox that an earlier version wrote
    await written(under, 1000, "ben")
    found = await by_author(under)
    assert len(found["ben"]) >= SIZE and sum(map(len, found.values())) <= SIZE + 2 * SPARE + 100


async def test_a_key_is_known_after_its_message_was_dropped(make):
    under = await make(history_size=SIZE)
    await under.publish("@ann", author="ben")
    first = await under.publish("@ann", author="dan", key="k")
    await written(under, 1000, "dan")
    again = await under.publish("@ann", author="dan", key="k")
    assert (again.offset, again.duplicate) == (first.offset, True)
