"""What a room keeps, on a whole server: no number of reactions pushes a message out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import Chatmaster
from tests.support.ws import ChatSocket

CONFIG = '[[rooms]]\nmatch = "few*"\nhistory_size = 20\n'
REACTIONS = 1010

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    settings = {"limits.rate": 5000, "limits.burst": 5000, "store.history_size": 60, "limits.ping_interval": 60}
    with Chatmaster(workers=2, settings=settings, config=CONFIG) as made:
        yield made


async def react(guest: ChatSocket, room: str, count: int, *, offsets: int) -> None:
    """Put reactions on and take them off, over all of the first `offsets` messages."""
    for number in range(count):
        how = {"emoji": f"e{number // offsets % 10}", "remove": number // offsets % 20 >= 10}
        guest.send_json({"type": "react", "id": number, "room": room, "offset": 1 + number % offsets, **how})
    for number in range(count):
        assert (await guest.expect("ack", id=number))["room"] == room


async def texts(socket: ChatSocket, room: str) -> list[str]:
    return [one["text"] for one in (await socket.ask(type="history", room=room, limit=100))["messages"]]


async def test_a_thousand_reactions_of_one_guest_remove_no_message(server: Chatmaster):
    async with await ChatSocket.enter(server.url, "hall") as ada, await ChatSocket.enter(server.url, "hall") as guest:
        for number in range(30):
            await ada.ask(type="say", room="hall", text=str(number))
        await react(guest, "hall", REACTIONS, offsets=30)
        assert await texts(ada, "hall") == [str(number) for number in range(30)]
        assert (await ada.ask(type="edit", room="hall", offset=1, text="first"))["type"] == "ack"


async def test_what_is_on_the_screen_can_be_edited_after_honest_reactions(
    server: Chatmaster,
):
    async with await ChatSocket.enter(server.url, "few") as ada, await ChatSocket.enter(server.url, "few") as guest:
        for number in range(20):
            await ada.ask(type="say", room="few", text=str(number))
        await react(guest, "few", 24, offsets=20)
        assert await texts(guest, "few") == [str(number) for number in range(20)]
        for offset in range(1, 21):
            assert (await ada.ask(type="edit", room="few", offset=offset, text="x"))["type"] == "ack"


async def test_reactions_remove_no_direct_message(server: Chatmaster):
    async with await ChatSocket.enter(server.url) as ada, await ChatSocket.enter(server.url) as guest:
        for number in range(30):
            await guest.ask(type="direct", to=ada.user, text=str(number))
        await react(guest, f"@{guest.user}", 100, offsets=30)
        for one in (ada, guest):
            assert await texts(one, f"@{one.user}") == [str(number) for number in range(30)]


async def test_who_was_away_is_told_of_changes_that_are_not_kept_and_gets_every_message(server: Chatmaster):
    async with await ChatSocket.enter(server.url, "fewer") as ada, await ChatSocket.enter(server.url, "fewer") as guest:
        first = await ada.ask(type="say", room="fewer", text="before")
        since = {"epoch": first["epoch"], "offset": first["offset"]}
        said = await ada.ask(type="say", room="fewer", text="shown")
        await react(guest, "fewer", 700, offsets=1)  # more than a worker has in memory
        last = await ada.ask(type="say", room="fewer", text="last")
    async with await ChatSocket.open(server.url) as back:
        back.send_json({"type": "hello", "rooms": [{"room": "fewer", "since": since}]})
        room = (await back.expect("welcome"))["rooms"][1]
        assert room["recovered"] is True
        at, seen, gaps = since["offset"], [], []
        while at < last["offset"]:
            message = await back.receive_json()
            if message["type"] == "gap":
                assert (message["from"], message["changes"]) == (at + 1, True)
                gaps.append(message)
                at = message["to"]
            elif "offset" in message:
                assert message["offset"] == at + 1
                at = message["offset"]
                seen += [message["text"]] if message["type"] == "message" else []
        assert seen == ["shown", "last"]
        (gap,) = gaps
        assert (gap["from"], gap["to"] - gap["from"] + 1) == (said["offset"] + 1, 600)
