"""What a connection may not, what a room keeps, and what is said when the store or the chat itself fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Chatmaster
from tests.support.store import RedisServer
from tests.support.wait import until_async
from tests.support.ws import ChatSocket

PROGRAM = '''
"""A chat with a bug, and with a hook that fails."""
import sys

from workers import Worker
from workers.chat import Hooks
from workers.chat import create, history

hooks = Hooks()


@hooks.on_kept
def write_down(kept):
    message = kept.message
    who = message["from"]["name"]
    print("KEPT", kept.room, kept.offset, message["type"], who, message.get("text", ""), file=sys.stderr, flush=True)


@hooks.on_say
def fails(request):
    if request.text == "boom":
        raise RuntimeError("the filter is broken")


async def broken(*args, **options):
    raise RuntimeError("a bug of the chat")


history.members = broken
worker = Worker("websocket://127.0.0.1:8000", application=lambda worker, node: create(worker, node, hooks))
'''
CONFIG = """
[[rooms]]
match = "short"
history_size = 3

[[rooms]]
match = "brief"
history_ttl = 1
"""


@pytest.fixture
def store(redis_server: Callable[..., RedisServer]) -> RedisServer:
    return redis_server()


@pytest.fixture
def server(chatmaster: Callable[..., Chatmaster], store: RedisServer) -> Chatmaster:
    settings = {
        "store.url": store.url, "store.timeout": 1.0, "limits.rooms_per_connection": 2, "chat.presence_names": 1,
        "chat.presence_interval": 0.05, "limits.rate": 0,
    }  # fmt: skip
    return chatmaster(settings=settings, config=CONFIG)


async def test_one_connection_is_in_so_many_rooms_at_most(server: Chatmaster):
    async with await ChatSocket.enter(server.url, "a", "b", "c") as guest:
        assert [one["room"] for one in guest.welcome["rooms"]] == [f"@{guest.user}", "a", "b"]
        error = await guest.expect("error")
        assert (error["code"], error["field"]) == ("limit_reached", "rooms[2].room")
        assert (await guest.ask(type="join", room="c"))["code"] == "limit_reached"
        await guest.ask(type="leave", room="a")
        assert (await guest.ask(type="join", room="c"))["type"] == "joined"


async def test_what_the_store_did_not_do_is_unavailable_and_one_stays_where_one_was(
    server: Chatmaster, store: RedisServer
):
    async with await ChatSocket.enter(server.url, "hall") as ann, await ChatSocket.enter(server.url, "hall") as bob:
        first = await ann.ask(type="say", room="hall", text="before")
        store.freeze()
        refused = await ann.ask(type="say", room="hall", text="during")
        assert refused["code"] == "unavailable" and refused["retry_after_ms"] > 0
        since = {"epoch": first["epoch"], "offset": 0}
        refused = await ann.ask(type="join", room="hall", since=since)
        assert refused["code"] == "unavailable"
        store.thaw()
        await until_async(lambda: _says(bob, "after"))
        assert (await ann.expect("message", text="after"))["room"] == "hall"
        assert not [one for one in ann.passed if one["type"] == "left"]
        again = await ann.ask(type="join", room="hall", since=since)
        assert again["recovered"] is True
        assert (await ann.expect("message"))["text"] == "before"


async def _says(socket: ChatSocket, text: str) -> bool:
    return bool((await socket.ask(type="say", room="hall", text=text, key="k"))["type"] == "ack")


async def test_only_the_count_is_told_where_too_many_come_at_once(server: Chatmaster):
    async with await ChatSocket.enter(server.url, "hall") as ann:
        others = await asyncio.gather(*(ChatSocket.enter(server.url, "hall") for _ in range(12)))
        told: dict[str, Any] = {"count": 0}
        seen = []
        while told["count"] != 13:
            told = await ann.expect("presence", room="hall")
            seen.append(told)
        assert all(len(one.get("joined", ())) <= 1 for one in seen)
        assert any("joined" not in one and one["count"] > 1 for one in seen), seen
        for one in others:
            one.abort()


async def test_history_is_bounded_by_what_is_sent_and_not_by_what_was_kept(server: Chatmaster):
    async with await ChatSocket.enter(server.url, "hall") as ann:
        for number in range(1, 21):
            await ann.ask(type="say", room="hall", text=str(number))
        for number in range(1, 21):
            await ann.ask(type="edit", room="hall", offset=number, text=f"{number} " + "x" * 60_000)
        for how in ("before", "after"):
            seen: list[int] = []
            edge = {how: 21 if how == "before" else 0}
            while True:
                ann.send_json({"type": "history", "id": 1, "room": "hall", "limit": 100, **edge})
                while (answer := json.loads(raw := await ann.read_message()))["type"] != "history":
                    pass
                assert len(raw) < 300_000
                offsets = [one["offset"] for one in answer["messages"]]
                assert len(offsets) == 4 or len(seen) == 20  # where only entries that are no messages are left
                seen = [*seen, *offsets] if how == "after" else [*offsets, *seen]
                if not answer["more"]:
                    break
                edge = {how: seen[-1] if how == "after" else seen[0]}
            assert seen == list(range(1, 21))


async def test_a_room_keeps_as_much_as_its_rule_says(server: Chatmaster):
    async with await ChatSocket.enter(server.url, "short", "brief") as ann:
        for number in range(6):
            await ann.ask(type="say", room="short", text=str(number))
        assert await _texts(ann, "short") == ["3", "4", "5"]
        await ann.ask(type="say", room="brief", text="gone in a second")
        assert await _texts(ann, "brief") == ["gone in a second"]
        await until_async(lambda: _is_empty(ann, "brief"))


async def _texts(socket: ChatSocket, room: str) -> list[str]:
    return [one["text"] for one in (await socket.ask(type="history", room=room))["messages"]]


async def _is_empty(socket: ChatSocket, room: str) -> bool:
    return not await _texts(socket, room)


async def test_a_failing_hook_is_internal_and_a_bug_of_the_chat_costs_one_connection(
    chatmaster: Callable[..., Chatmaster], tmp_path: Path
):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    server = chatmaster(str(program), workers=1)
    async with await ChatSocket.enter(server.url, "hall") as ann, await ChatSocket.enter(server.url, "hall") as bob:
        failed = await ann.ask(type="say", room="hall", text="boom")
        assert failed["code"] == "internal" and failed["retry_after_ms"] > 0 and "filter" not in failed["message"]
        assert (await ann.ask(type="say", room="hall", text="fine"))["type"] == "ack"
        ann.send_json({"type": "members", "room": "hall"})
        closed = await ann.wait_closed()
        assert closed.code == 1011 and "bug" not in closed.reason
        assert (await bob.ask(type="say", room="hall", text="still here"))["type"] == "ack"
    assert "a bug of the chat" in server.log()


async def test_an_archive_sees_everything_that_is_kept_once(chatmaster: Callable[..., Chatmaster], tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    server = chatmaster(str(program), workers=2)
    async with await ChatSocket.enter(server.url, "hall", name="Ann") as ann:
        inbox = f"@{ann.user}"
        requests: list[dict[str, Any]] = [
            {"type": "say", "room": "hall", "text": "one", "key": "k"},
            {"type": "say", "room": "hall", "text": "one", "key": "k"},
            {"type": "edit", "room": "hall", "offset": 1, "text": "two"},
            {"type": "react", "room": "hall", "offset": 1, "emoji": "x"},
            {"type": "delete", "room": "hall", "offset": 1},
            {"type": "direct", "to": "bob", "text": "psst"},
            {"type": "edit", "room": inbox, "offset": 1, "text": "hush"},
        ]
        for request in requests:
            assert (await ann.ask(**request))["type"] == "ack", request
        server.ctl("say", "hall", "attention")
    expected = [
        "hall 1 message Ann one", "hall 2 edited Ann two", "hall 3 reacted Ann", "hall 4 deleted Ann",
        f"{inbox} 1 message Ann psst", f"{inbox} 2 edited Ann hush", "hall 5 message operator attention",
    ]  # fmt: skip
    await until_async(lambda: "attention" in server.log())
    assert [line.partition("KEPT ")[2].strip() for line in server.log().splitlines() if "KEPT " in line] == expected


async def test_who_is_refused_after_the_time_for_hello_has_to_say_it_again_in_time(
    chatmaster: Callable[..., Chatmaster], store: RedisServer
):
    settings = {"store.url": store.url, "store.timeout": 1.0, "limits.hello_timeout": 0.3}
    server = chatmaster(settings=settings, workers=1)
    async with await ChatSocket.enter(server.url) as known, await ChatSocket.open(server.url) as late:
        store.freeze()
        late.send_json({"type": "hello", "id": 1, "token": known.welcome["token"]})
        assert (await late.expect("error", id=1))["code"] == "unavailable"
        assert (await late.expect("bye"))["code"] == 4002
        assert (await late.wait_closed()).code == 4002
        store.thaw()
