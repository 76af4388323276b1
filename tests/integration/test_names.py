"""Names of rooms and users in any script, and what is none: at every door of a program, of the chat, of chatctl."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket, RawSocket
from workers import Gateway
from workers.client import connect

PROGRAM = Path(__file__).parent / "programs" / "names.py"
NO_ROOMS: list[Any] = ["@bob", "!all", "", "a b", "x" * 65, "\uff20bob", "\u01c3all", "a\ud800", None, 5, ["a"]]
NFD, NFC = "Ku\u0308che", "K\u00fcche"


class Told(RawSocket):
    """A client of the program."""

    async def do(self, verb: str, *arguments: Any) -> Any:
        """Have it done; messages that come before the answer are passed over."""
        self.send_text(json.dumps([verb, *arguments]))
        while True:
            message = await self.read_message()
            answer = json.loads(message) if str(message).startswith("{") else {}
            if verb in answer:
                return answer[verb]


@pytest.fixture
def program(chatmaster: Callable[..., Chatmaster]) -> Chatmaster:
    return chatmaster(str(PROGRAM), workers=2)


async def test_a_programs_client_can_name_no_inbox_and_no_room_of_the_servers(program: Chatmaster) -> None:
    async with AsyncExitStack() as stack:
        bob, eve = [await stack.enter_async_context(await Told.open(program.url)) for _ in range(2)]
        await bob.do("connection.bind", "bob")
        for name in NO_ROOMS:
            wrong = "ValueError" if isinstance(name, str) else "TypeError"
            for verb, *rest in (
                ("connection.join",), ("connection.leave",), ("worker.send_to_room", "x"), ("worker.members",),
            ):  # fmt: skip
                answer = await eve.do(verb, name, *rest)
                assert answer["error"] == wrong and ("1 to 64" in answer["says"] or "is a string" in answer["says"])
            for verb, *rest in (("connection.bind",), ("worker.send_to_user", "x"), ("worker.is_online",)):
                assert (await eve.do(verb, name, *rest))["error"] == wrong, (verb, name)
        assert await eve.do("connection.rooms") == []
        wrongs: list[Any] = [5, None, ["x"], {"a": 1}]
        for bad in wrongs:
            for verb, *before in (
                ("worker.broadcast",), ("worker.send_to_room", "hall"), ("worker.send_to_user", "bob"),
                ("worker.send_to_connection", "a1"), ("connection.send",),
            ):  # fmt: skip
                assert (await eve.do(verb, *before, bad))["error"] == "TypeError", (verb, bad)
            assert (await eve.do("worker.kick", bad))["error"] == "TypeError"
            assert (await eve.do("connection.close", 1000, bad))["error"] == "TypeError"
            assert (await eve.do("connection.close", bad))["error"] == ("ValueError" if bad == 5 else "TypeError")
            if not isinstance(bad, list | dict):
                assert (await eve.do("worker.broadcast", "all", {"exclude": bad}))["error"] == "TypeError"
        # The broadcast reaches everybody still, and a single id is one connection.
        (row,) = [one for one in program.ask("connections") if one["user"] == "bob"]
        await eve.do("worker.broadcast", "not for bob", {"exclude": row["id"]})
        await eve.do("worker.broadcast", "for all")
        assert await bob.read_message() == "for all"
        assert "an order that cannot be decoded" not in program.log()


async def test_what_one_client_hands_in_costs_nobody_a_reload(program: Chatmaster) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await Told.open(program.url)) for _ in range(6)]
        for wrong in (None, 5, "a\ud800"):
            assert "error" in await clients[0].do("connection.join", wrong)
            assert "error" in await clients[0].do("connection.bind", wrong)
        await clients[1].do("connection.bind", NFD)
        await clients[1].do("connection.join", NFD)
        assert program.ctl("reload").returncode == 0
        assert [await client.do("connection.rooms") for client in clients] == [[], [NFC], *[[]] * 4]
        await until_async(lambda: program.status()["master"]["state"] == "ready", what="the reload is over")
        assert "could not be handed over" not in program.log() and "Traceback" not in program.log()


BREAKS = """
from workers import Worker

worker = Worker("websocket://127.0.0.1:8000")

@worker.on_message
def told(connection, data):
    if data == "half":
        connection._user = "\\ud800"  # past every check, as a bug of ours might
    elif data == "number":
        connection._user = 7
    elif data == "object":
        connection.opened_at = object()
    connection.send("done")
"""


async def test_what_cannot_be_written_down_or_read_costs_that_connection_only(
    chatmaster: Callable[..., Chatmaster], tmp_path: Path
) -> None:
    path = tmp_path / "breaks.py"
    path.write_text(BREAKS)
    server = chatmaster(str(path), workers=1, settings={"master.drain_timeout": 2.0})
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await RawSocket.open(server.url)) for _ in range(8)]
        for client, order in zip(clients, ("half", "number", "object", *["nothing"] * 5), strict=True):
            client.send_text(order)
            assert await client.read_message() == "done"
        assert (await asyncio.to_thread(server.ctl, "reload")).returncode == 0
        for client in clients[3:]:
            client.send_text("hello")
            assert await client.read_message() == "done"
        for client in clients[:3]:
            assert (await client.wait_closed()).code == 1012


async def test_two_spellings_are_one_room_over_workers_gateway_and_chatctl(program: Chatmaster) -> None:
    async with AsyncExitStack() as stack:
        ada, bob = [await stack.enter_async_context(await Told.open(program.url)) for _ in range(2)]
        for client, spelling in ((ada, NFC), (bob, NFD)):
            await client.do("connection.bind", spelling)
            await client.do("connection.join", spelling)
        gateway = stack.enter_context(Gateway(program.status()["store"]["url"]))
        gateway.send_to_room(NFD, "to the room")
        gateway.send_to_user(NFC, "to the user")
        for client in (ada, bob):
            assert {await client.read_message() for _ in range(2)} == {"to the room", "to the user"}
        assert gateway.is_online(NFD) and gateway.is_online(NFC)
        await until_async(lambda: len(program.ask("who", NFD)) == 1, what="one user is in the room")
        assert program.ask("who", NFC)[0]["user"] == NFC
        assert len(program.ask("connections", "--room", NFD)) == 2


async def test_the_chat_its_tokens_rules_clients_and_chatctl_share_the_names(
    chatmaster: Callable[..., Chatmaster],
) -> None:
    secret = "s" * 32
    rules = f'[[rooms]]\nmatch = "{NFD}*"\nmessage_size = 20\n\n[[rooms]]\nmatch = "会議*"\nsay = ["käthe"]\n'
    server = chatmaster(settings={"auth.secret": secret}, config=rules)
    token = jwt.encode({"sub": "käthe", "rooms": [f"{NFD}*", "会議室"]}, secret, "HS256")
    async with AsyncExitStack() as stack:
        kate = await stack.enter_async_context(await ChatSocket.enter(server.url, NFD, "会議室", token=token))
        assert kate.user == "käthe"
        refused = await kate.ask(type="join", room="lobby")
        assert refused["code"] == "forbidden"
        client = await stack.enter_async_context(await connect(server.url, rooms=[NFD, "会議室"]))
        assert await client.say(NFD, "from the client") is not None
        assert (await kate.expect("message"))["room"] == NFC
        # Under either spelling: it is the room that was joined.
        for spelling in (NFD, NFC):
            assert (await kate.ask(type="say", room=spelling, text="hello"))["room"] == NFC
            assert (await kate.ask(type="say", room=spelling, text="x" * 21))["code"] == "too_large"
            assert {one["user"] for one in (await kate.ask(type="members", room=spelling))["members"]} >= {"käthe"}
        assert (await kate.ask(type="say", room="会議室", text="hello"))["type"] == "ack"
        assert [one["user"] for one in server.ask("who", "会議室") if one["user"] == "käthe"]
        assert server.ctl("say", NFD, "said").returncode == 0
        assert (await kate.expect("message", text="said"))["room"] == NFC
        with Gateway(server.status()["store"]["url"]) as gateway:
            gateway.say(NFD, "by gateway", user="käthe")
        assert (await kate.expect("message", text="by gateway"))["from"]["user"] == "käthe"
        for name in ("a b", "!all", "@x y", "\uff20x"):
            assert server.ctl("say", name, "x").returncode == 2, name
            assert server.ctl("who", name).returncode == 2 or name == "!all", name
        for verb in ("kick", "ban", "mute", "unban", "unmute"):
            refused_call = server.ctl(verb, "bad user!")
            assert refused_call.returncode == 2 and "no user id" in refused_call.stderr, verb
            assert server.ctl(verb, "käthe", "--room", "a b").returncode == (1 if verb == "kick" else 2), verb
        assert server.ctl("kick", "ka\u0308the").returncode == 0
        assert (await kate.wait_closed()).code == 4003
