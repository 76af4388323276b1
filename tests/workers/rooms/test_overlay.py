"""Edits, deletions and reactions: what recovery shows, from the store and from a worker's memory alike."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.workers.rooms.conftest import until
from workers.bus.port import Change, NoTarget, NotAuthor, Position
from workers.chat.rules.amendments import amended


async def say_and_edit(side):
    first = await side.publish("lobby", "before")
    said = await side.publish("lobby", "helo", author="ann")
    await side.publish("lobby", "hello", author="ann", change=Change("edit", said.offset))
    return first, said


async def test_recovery_shows_edits_whether_it_comes_from_the_store_or_from_the_ring(sides, connect):
    one, two = await sides(), await sides()
    for side in (one, two):
        side.hub.amender = amended
    warm = await connect(two)
    await warm.join("lobby")
    first, said = await say_and_edit(one)
    await until(lambda: len(warm.offsets("lobby")) == 3)
    shown = []
    for side in (one, two):
        peer = await connect(side)
        await peer.join(("lobby", Position(first.epoch, first.offset)))
        await peer.has("lobby", 2)
        shown.append(peer.messages())
    assert shown[0] == shown[1]
    assert (shown[0][0]["offset"], shown[0][0]["text"]) == (said.offset, "hello")


async def test_only_the_author_or_a_moderator_changes_a_message(sides):
    side = await sides()
    _, said = await say_and_edit(side)
    with pytest.raises(NotAuthor):
        await side.publish("lobby", "x", author="bob", change=Change("edit", said.offset))
    await side.publish("lobby", "x", author="bob", change=Change("delete", said.offset), any_author=True)
    top = await side.top("lobby")
    assert top == 4


async def test_a_deletion_wins_and_keeps_its_offset(sides):
    side = await sides()
    _, said = await say_and_edit(side)
    await side.publish("lobby", "", author="ann", change=Change("delete", said.offset))
    for verb in ("edit", "delete", "react"):
        with pytest.raises(NoTarget):
            await side.publish("lobby", "late", author="ann", change=Change(verb, said.offset, "x"))
    page = await side.bus.read("lobby", after=0, limit=10, max_bytes=10_000)
    entry = page.entries[said.offset - 1]
    assert [one.verb for one in entry.amendments] == ["delete"]
    shown = json.loads(amended(entry.payload, entry.amendments))
    assert shown["deleted"] is True and "text" not in shown


async def test_what_is_no_message_of_the_log_cannot_be_changed(sides):
    side = await sides()
    _, said = await say_and_edit(side)
    for target in (99, said.offset + 1):  # the future; the edit itself
        with pytest.raises(NoTarget):
            await side.publish("lobby", "x", author="ann", change=Change("edit", target))


async def test_a_reaction_exists_once_for_each_user_and_emoji(sides):
    side = await sides()
    _, said = await say_and_edit(side)

    async def react(verb, user, emoji):
        await side.publish("lobby", emoji, author=user, change=Change(verb, said.offset, emoji), any_author=True)

    await asyncio.gather(*(react("react", user, "+1") for user in ("ann", "bob", "bob")))
    await react("react", "bob", "heart")
    await react("unreact", "ann", "+1")
    page = await side.bus.read_before("lobby", before=said.offset + 1, limit=1, max_bytes=10_000)
    verbs = [one.verb for one in page.entries[0].amendments]
    assert verbs == ["edit", "react", "react"]


async def test_a_retry_of_an_edit_is_kept_once(sides):
    side = await sides()
    _, said = await say_and_edit(side)
    change = Change("edit", said.offset)
    first = await side.publish("lobby", "hi", author="ann", key="k", change=change)
    again = await side.publish("lobby", "hi", author="ann", key="k", change=change)
    assert (again.offset, again.duplicate) == (first.offset, True)
