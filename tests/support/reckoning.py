"""What must be so when a scenario is over: all have everything, and the store tells the same story as they do."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from tests.support.actor import ENTRIES, Actor
from tests.support.ledger import Ledger, Story, differences
from tests.support.wait import until_async
from tests.support.ws import ChatSocket


async def settle(ledger: Ledger, rooms: Sequence[str], actors: Sequence[Actor]) -> None:
    """Everybody has come back, nothing is open, and all have everything of the rooms that they are in."""
    for one in actors:
        await until_async(partial(_is_back, one, rooms[:2]), 10, f"{one.user} is back")
        await one.finish()
    tops = {}
    for room in rooms:
        answer = await actors[0].ask(type="join", room=room)
        tops[room] = answer["offset"]

    def behind() -> list[tuple[str, str, int]]:
        return [
            (one.user, room, stay.due - 1)
            for one in actors for room, stay in one.stays.items() if stay.due <= tops.get(room, 0)
        ]  # fmt: skip

    await until_async(lambda: not behind(), 20, "everyone has everything")
    for room, top in tops.items():
        if missing := set(range(1, top + 1)) - set(ledger.logs[room]):
            ledger.fault(f"nobody saw {sorted(missing)} of {room}")
    for text in await _members_differ(rooms, actors):
        ledger.fault(text)


async def _is_back(actor: Actor, rooms: Sequence[str]) -> bool:
    return actor.online or await actor.enter(rooms)


async def _members_differ(rooms: Sequence[str], actors: Sequence[Actor], timeout: float = 15.0) -> list[str]:
    """Where the list of members, or what somebody was told last, is still not what is so after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found = [text for room in rooms async for text in _differing(room, actors)]
        if not found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.1)


async def _differing(room: str, actors: Sequence[Actor]) -> AsyncIterator[str]:
    inside = [one for one in actors if room in one.stays]
    expected = Counter(one.user for one in inside)
    answer = await actors[0].ask(type="members", room=room)
    found = {one["user"]: one["connections"] for one in answer["members"]}
    if found != expected:
        yield f"members of {room}: {found.items() - expected.items()} instead of {expected.items() - found.items()}"
    for one in answer["members"]:
        names = {actor.name for actor in actors if actor.user == one["user"]}
        if {one["name"]} != names:  # a user's connections all have one name, and so has the user
            yield f"members of {room}: {one} is called {names}"
    for one in inside:
        called = {actor.user: actor.name for actor in inside}
        for user, name in one.stays[room].told.items():
            if user in called and name != called[user]:
                yield f"{one.user} thinks that {user} in {room} is called {name}, and not {called[user]}"
        if one.stays[room].count != len(expected):
            yield f"{one.user} thinks that {one.stays[room].count} are in {room}, and not {len(expected)}"


async def compare_with_the_store(
    url: str, ledger: Ledger, rooms: Sequence[str], observer: Actor, players: Sequence[Actor]
) -> None:
    """Who reads everything from the beginning is told what the others saw; positions are kept and counted."""
    stories = {room: ledger.story(room) for room in rooms}
    for room in rooms:
        found = await _whole_history(observer, room)
        for text in differences(stories[room].now(), found):
            ledger.fault(f"history of {room}: {text}")
    for user in sorted({one.user for one in players}):
        mine = [one for one in players if one.user == user]
        inbox = f"@{user}"
        wanted = [{"room": inbox, "since": {"epoch": ledger.epochs[inbox], "offset": 0}}, *({"room": r} for r in rooms)]
        async with await ChatSocket.open(url) as socket:
            socket.send_json({"type": "hello", "token": mine[0].token, "rooms": wanted})
            welcome = await socket.expect("welcome")
            for state in welcome["rooms"]:
                if state["room"] == inbox:
                    await _read_inbox(ledger, socket, state)
                    stories[inbox] = ledger.story(inbox)
                _compare_position(ledger, state, stories[state["room"]], mine)


async def _read_inbox(ledger: Ledger, socket: ChatSocket, state: dict[str, Any]) -> None:
    due = 1
    while due <= state["offset"]:
        entry = await socket.receive_json()
        if entry["room"] == state["room"] and entry["type"] in ENTRIES:
            if entry["offset"] != due:
                ledger.fault(f"{entry} came where {due} was due")
            due = entry["offset"] + 1
            ledger.note(entry)


def _compare_position(ledger: Ledger, state: dict[str, Any], story: Story, mine: Sequence[Actor]) -> None:
    room, read = state["room"], state.get("read", 0)
    least = max(one.read.get(room, 0) for one in mine)
    most = ledger.maybe_read[mine[0].user, room]
    unread = story.unread(read, mine[0].user)
    if not least <= read <= most or state["unread"] != unread:
        ledger.fault(f"{mine[0].user}: {state}, read {least} to {most}, unread {unread}")


async def _whole_history(observer: Actor, room: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    more = True
    while more:
        edge = {"before": found[0]["offset"]} if found else {}
        answer = await observer.ask(type="history", room=room, limit=100, **edge)
        found, more = [*answer["messages"], *found], answer["more"]
    return found
