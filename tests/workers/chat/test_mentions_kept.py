"""Unread mentions, as `welcome` and `joined` tell them: over absences, until they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket
from tests.workers.chat.test_over_sockets import SECRET, people


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    made = Chatmaster(workers=2, settings={"auth.secret": SECRET, "limits.rate": 200, "limits.burst": 400})
    try:
        yield made.start()
    finally:
        made.close()


async def told(server: Chatmaster, room: str, user: str, expected: list[int]) -> bool:
    """Whether a welcome has these mentions: they are kept a moment after the message."""
    async with people(server, room, user) as (again,):
        return bool(again.welcome["rooms"][1].get("mentions") == expected)


async def both_are_known(asks: ChatSocket, room: str) -> bool:
    """Whether the worker of a connection knows the names of two people in a room: then it finds them in a text."""
    return bool((await asks.ask(type="members", room=room))["count"] == 2)


async def knows_all(asks: ChatSocket, room: str, count: int) -> bool:
    """Whether the worker of a connection knows that so many are in a room."""
    return bool((await asks.ask(type="members", room=room))["count"] == count)


async def talking(speaker: ChatSocket, room: str, names: list[str]) -> None:
    """Mention one after the other until cancelled, 150 times at most."""
    for number in range(150):
        await speaker.ask(type="say", room=room, text=f"@{names[number % len(names)]}")


async def test_mentions_wait_for_who_is_away(server: Chatmaster):
    """Those of the user and of everybody, not those of others and not one's own; a later visit is told the same."""
    room = "r-mentions"
    async with people(server, room, "alice") as (alice,):
        async with people(server, room, "bob"):
            await until_async(partial(both_are_known, alice, room))
        texts = ("hello @bob", "no one", "@alice herself", "@room all", "@bob and @bob")
        places = [(await alice.ask(type="say", room=room, text=text))["offset"] for text in texts]
    await until_async(partial(told, server, room, "bob", [places[0], places[3], places[4]]))
    await until_async(partial(told, server, room, "bob", [places[0], places[3], places[4]]))
    await until_async(partial(told, server, room, "alice", []))
    async with people(server, "", "bob") as (bob,):
        assert (await bob.ask(type="join", room=room))["mentions"] == [places[0], places[3], places[4]]


async def test_reading_takes_mentions_off(server: Chatmaster):
    """Up to the offset that was read; what comes after stays."""
    room = "r-mentions-read"
    async with people(server, room, "alice", "bob") as (alice, bob):
        await until_async(partial(both_are_known, alice, room))
        places = [(await alice.ask(type="say", room=room, text=f"@bob {n}"))["offset"] for n in range(3)]
        bob.send_json({"type": "read", "room": room, "offset": places[1]})
        await bob.ask(type="ping")
        await until_async(partial(told, server, room, "bob", [places[2]]))
        bob.send_json({"type": "read", "room": room, "offset": places[2]})
        await bob.ask(type="ping")
        await until_async(partial(told, server, room, "bob", []))


async def test_a_deletion_and_an_edit_change_what_is_mentioned(server: Chatmaster):
    """A deleted message mentions nobody; an edit takes a mention away, or adds one."""
    room = "r-mentions-edit"
    async with people(server, room, "alice", "bob") as (alice, _):
        await until_async(partial(both_are_known, alice, room))
        first, second, third = [
            (await alice.ask(type="say", room=room, text=text))["offset"] for text in ("@bob 1", "@bob 2", "nobody")
        ]
        await alice.ask(type="delete", room=room, offset=first)
        await alice.ask(type="edit", room=room, offset=second, text='not "@" him, "mentions":["bob"]')
        await alice.ask(type="edit", room=room, offset=third, text="you, @bob")
        await until_async(partial(told, server, room, "bob", [third]))


async def test_the_newest_fifty_are_kept(server: Chatmaster):
    """A user who never comes costs a bounded list."""
    room = "r-mentions-many"
    async with people(server, room, "alice", "bob") as (alice, _):
        await until_async(partial(both_are_known, alice, room))
        places = [(await alice.ask(type="say", room=room, text=f"@bob {n}"))["offset"] for n in range(60)]
        await until_async(partial(told, server, room, "bob", places[-50:]))


async def test_a_busy_room_is_counted_to_the_very_offset_that_a_newcomer_is_told(server: Chatmaster):
    """What comes between the question to the store and the welcome is counted and told: no message of it follows."""
    room, names = "r-mentions-busy", [f"n{number}" for number in range(40)]
    async with people(server, room, "alice", "bea") as (alice, bea):
        async with people(server, room, *names):
            await until_async(partial(knows_all, alice, room, len(names) + 2))
        talk = asyncio.create_task(talking(alice, room, names))
        try:
            async with people(server, room, *names) as them:
                states = [one.welcome["rooms"][1] for one in them]
        finally:
            talk.cancel()
        top = max(state["offset"] for state in states)
        said: dict[int, list[str]] = {}
        while max(said, default=0) < top:
            message = await bea.receive_json()
            if message["type"] == "message":
                said[message["offset"]] = message.get("mentions", [])
    for name, state in zip(names, states, strict=True):
        before = [offset for offset in said if offset <= state["offset"]]
        assert (state["unread"], state["mentions"]) == (len(before), [at for at in before if name in said[at]][-50:])
