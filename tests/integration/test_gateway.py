"""The gateway: another program speaks into a running server through the store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket, RawSocket
from workers import Gateway

PROGRAM = """
from urllib.parse import parse_qs
from workers import Worker

worker = Worker("websocket://127.0.0.1:8000")

@worker.on_connect
async def came(connection):
    await connection.bind(parse_qs(connection.query)["user"][0])
    await connection.join("hall")
    connection.send(connection.id)
"""


@pytest.fixture
def server(chatmaster: Callable[..., Chatmaster], tmp_path: Path) -> Chatmaster:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    return chatmaster(str(program), workers=2)


async def test_another_program_reaches_rooms_users_and_connections_and_asks_who_is_there(server: Chatmaster) -> None:
    async with AsyncExitStack() as stack:
        sockets: dict[str, RawSocket] = {}
        ids: dict[str, str] = {}
        for user in ("ada", "bob", "cyd", "dan"):
            sockets[user] = await stack.enter_async_context(await RawSocket.open(f"{server.url}?user={user}"))
            ids[user] = str(await sockets[user].read_message())
        gateway = stack.enter_context(Gateway(server.status()["store"]["url"]))
        gateway.broadcast("all")
        gateway.send_to_room("hall", b"room", exclude=[ids["bob"]])
        gateway.send_to_user("cyd", "only cyd")
        gateway.send_to_connection(ids["dan"], "only dan")
        assert [await sockets["ada"].read_message() for _ in range(2)] == ["all", b"room"]
        assert await sockets["bob"].read_message() == "all"
        # Rooms have an order each; between two rooms there is none.
        assert {await sockets["cyd"].read_message() for _ in range(3)} == {"all", b"room", "only cyd"}
        assert {await sockets["dan"].read_message() for _ in range(3)} == {"all", b"room", "only dan"}
        await until_async(lambda: gateway.online() == 4, what="four connections are counted")
        await until_async(lambda: len(gateway.members("hall")) == 4, what="four users are in the room")
        assert gateway.is_online("ada") and not gateway.is_online("eve")
        gateway.kick(ids["bob"], reason="enough")
        closed = await sockets["bob"].wait_closed()
        assert (closed.code, closed.reason) == (4003, "enough")
        await until_async(lambda: not gateway.is_online("bob"), what="bob is gone")


async def test_a_room_of_the_chat_keeps_what_the_server_says_and_not_less(
    chatmaster: Callable[..., Chatmaster],
) -> None:
    rules = '[[rooms]]\nmatch = "short"\nhistory_size = 5\nhistory_ttl = 600\n'
    server = chatmaster(settings={"store.history_size": 3000, "limits.rate": 0}, config=rules)
    async with await ChatSocket.enter(server.url, "hall", "short") as guest:
        with Gateway(server.status()["store"]["url"]) as gateway:
            for number in range(1200):
                gateway.say("hall", str(number), user="bot")
            for number in range(10):
                gateway.say("short", str(number), user="bot")
        first = await guest.ask(type="history", room="hall", after=0, limit=1)
        assert first["messages"][0]["offset"] == 1
        short = await guest.ask(type="history", room="short")
        assert [one["text"] for one in short["messages"]] == ["5", "6", "7", "8", "9"]


async def test_a_repetition_with_the_same_key_is_kept_once(server: Chatmaster) -> None:
    async with await RawSocket.open(f"{server.url}?user=ada") as socket:
        await socket.read_message()
        with Gateway(server.status()["store"]["url"]) as gateway:
            for room, user, text in (("bad room", "u", "x"), ("lobby", "a!b", "x"), ("lobby", "u", "y" * 70_000)):
                with pytest.raises(ValueError, match=r"no name of a room|no user id|are allowed"):
                    gateway.say(room, text, user=user)
            first = gateway.send_to_room("hall", "once", key="k1")
            again = gateway.send_to_room("hall", "once", key="k1")
            gateway.send_to_room("hall", "end")
        assert (again.offset, again.duplicate) == (first.offset, True)
        assert [await socket.read_message() for _ in range(2)] == ["once", "end"]
