"""A request about a message names the message's epoch, and does nothing where the log was reset since."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from chatmaster.store import layout
from tests.support.server import Chatmaster
from tests.support.store import RedisServer
from tests.support.wait import until_async
from tests.support.ws import ChatSocket

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    with Chatmaster(workers=1) as made:
        yield made


async def lose(server: Chatmaster, room: str) -> None:
    """The store loses a room: its log begins again."""
    url = server.status()["store"]["url"]
    with redis.Redis.from_url(url) as client:
        client.delete(*layout.keys("chat", room, "meta", "log", "changes", "overlay"))


REQUESTS: list[dict[str, Any]] = [
    {"type": "edit", "offset": 1, "text": "x"},
    {"type": "react", "offset": 1, "emoji": "+"},
    {"type": "say", "reply_to": 1, "text": "x"},
    {"type": "delete", "offset": 1},
]


async def test_what_the_log_lost_is_not_changed_in_the_place_of_another(server: Chatmaster):
    async with await ChatSocket.enter(server.url, "hall") as ada:
        old = await ada.ask(type="say", room="hall", text="old")
        for request in REQUESTS[:3]:
            assert (await ada.ask(room="hall", epoch=old["epoch"], **request))["type"] == "ack"
        await lose(server, "hall")
        new = await ada.ask(type="say", room="hall", text="new")
        assert new["offset"] == old["offset"] and new["epoch"] != old["epoch"]
        for request in REQUESTS:
            answer = await ada.ask(room="hall", epoch=old["epoch"], **request)
            field = "reply_to" if request["type"] == "say" else "offset"
            assert (answer["code"], answer["field"]) == ("not_found", field), request
        (message,) = (await ada.ask(type="history", room="hall"))["messages"]
        assert message["text"] == "new" and "reactions" not in message
        for request in REQUESTS:
            assert (await ada.ask(room="hall", epoch=message["epoch"], **request))["type"] == "ack"


async def test_a_direct_message_is_changed_on_neither_side(server: Chatmaster):
    async with await ChatSocket.enter(server.url) as ada, await ChatSocket.enter(server.url) as bob:
        inbox = f"@{ada.user}"
        old = await ada.ask(type="direct", to=bob.user, text="old")
        await lose(server, inbox)
        await ada.ask(type="direct", to=bob.user, text="new")
        for request in (REQUESTS[0], REQUESTS[1], REQUESTS[3]):
            answer = await ada.ask(room=inbox, epoch=old["epoch"], **request)
            assert (answer["code"], answer["field"]) == ("not_found", "offset")
        shown = (await bob.ask(type="history", room=f"@{bob.user}"))["messages"]
        assert [one["text"] for one in shown] == ["old", "new"]


async def test_a_restart_that_lost_nothing_makes_no_message_another(server: Chatmaster, tmp_path: Any):
    with RedisServer(tmp_path, fsync="always") as store:
        settings = {"store.url": store.url}
        with Chatmaster(workers=1, settings=settings) as other:
            async with await ChatSocket.enter(other.url, "hall") as ada:
                said = await ada.ask(type="say", room="hall", text="before")
                store.stop()
                store.start()

                async def edits() -> bool:
                    answer = await ada.ask(
                        type="edit", room="hall", offset=said["offset"], epoch=said["epoch"], text="x"
                    )
                    assert answer["type"] == "ack" or answer["code"] == "unavailable", answer
                    return bool(answer["type"] == "ack")

                await until_async(edits)


async def test_a_reply_answers_a_message_that_is_there(server: Chatmaster):
    async with await ChatSocket.enter(server.url, "replies") as ada:
        await ada.ask(type="say", room="replies", text="1")
        await ada.ask(type="react", room="replies", offset=1, emoji="+")
        for offset in (2, 3, 999):  # the reaction's own place, its own, and the future
            answer = await ada.ask(type="say", room="replies", text="x", reply_to=offset)
            assert (answer["code"], answer["field"]) == ("not_found", "reply_to")
        first = await ada.ask(type="say", room="replies", text="x", reply_to=1, key="k")
        assert (await ada.expect("message", offset=3))["reply_to"] == 1
        again = await ada.ask(type="say", room="replies", text="x", reply_to=1, key="k")
        assert (first["offset"], again["offset"], again["duplicate"]) == (3, 3, True)


@pytest.mark.parametrize("blank", [" ", "\n\t", "\u200b", "\u3164", "\u2800 \u2800", "\ufeff\u00ad", "\U000e0100"])
async def test_blank_messages_are_refused_by_every_way_to_say_something(server: Chatmaster, blank: str):
    async with await ChatSocket.enter(server.url, "blank") as ada:
        said = await ada.ask(type="say", room="blank", text="seen")
        requests: list[dict[str, Any]] = [
            {"type": "say", "room": "blank"}, {"type": "direct", "to": ada.user},
            {"type": "edit", "room": "blank", "offset": said["offset"]},
        ]  # fmt: skip
        for request in requests:
            answer = await ada.ask(text=blank, **request)
            assert (answer["code"], answer["field"]) == ("bad_request", "text")
        answer = await ada.ask(type="react", room="blank", offset=said["offset"], emoji=blank)
        assert (answer["code"], answer["field"]) == ("bad_request", "emoji")
        assert (await ada.ask(type="say", room="blank", text=f"{blank}👍"))["type"] == "ack"
