"""The gateway: another program speaks into a running server through the store."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket, RawSocket
from workers import Gateway, GatewayError, GatewayRefused, GatewayUnavailable, InstanceNotRunning, WrongApplication

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
    # The guest answers no ping while the gateway writes.
    settings = {"store.history_size": 3000, "limits.rate": 0, "limits.ping_timeout": 300}
    server = chatmaster(settings=settings, config=rules)
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
            for room, user, text in (("bad room", "u", "x"), ("lobby", "a!b", "x")):
                with pytest.raises(ValueError, match=r"no name of a room|no user id"):
                    gateway.say(room, text, user=user)
            first = gateway.send_to_room("hall", "once", key="k1")
            again = gateway.send_to_room("hall", "once", key="k1")
            gateway.send_to_room("hall", "end")
        assert (again.offset, again.duplicate) == (first.offset, True)
        assert [await socket.read_message() for _ in range(2)] == ["once", "end"]


async def test_what_the_chats_clients_would_misunderstand_is_refused(chatmaster: Callable[..., Chatmaster]) -> None:
    server = chatmaster()
    async with await ChatSocket.enter(server.url, "lobby") as guest:
        (row,) = server.ask("connections")
        with Gateway(server.status()["store"]["url"]) as gateway:
            for send in (
                lambda: gateway.send_to_room("lobby", "raw"),
                lambda: gateway.send_to_user(guest.user, "raw"),
                lambda: gateway.broadcast("raw"),
                lambda: gateway.send_to_connection(row["id"], "raw"),
            ):
                with pytest.raises(WrongApplication, match="whose clients understand only `say`"):
                    send()
            assert gateway.online() == 1 and gateway.is_online(guest.user)
            assert [one["user"] for one in gateway.members("lobby")] == [guest.user]
            with pytest.raises(ValueError, match="are allowed"):
                gateway.say("lobby", "y" * 70_000, user="bot")
            for text, name in (("", ""), (" \u3164 ", ""), ("x", "n" * 100), ("x", "a\u202eb"), ("x", "\ud800")):
                with pytest.raises(ValueError, match=r"visible character|in a name|a name has"):
                    gateway.say("lobby", text, user="bot", name=name)
            gateway.say("lobby", "hello", user="bot")
            message = await guest.expect("message")
            assert (message["text"], message["offset"]) == ("hello", 1)
            gateway.kick(row["id"])
        assert (await guest.wait_closed()).code == 4003


async def test_the_chats_language_is_refused_where_no_chat_runs(server: Chatmaster) -> None:
    with Gateway(server.status()["store"]["url"]) as gateway, pytest.raises(WrongApplication, match="runs no chat"):
        gateway.say("hall", "hello", user="bot")


async def test_an_instance_that_nobody_runs_gets_nothing(server: Chatmaster) -> None:
    url = server.status()["store"]["url"]
    with Gateway(url, name="other") as gateway:
        for ask in (
            lambda: gateway.send_to_room("hall", "x"), lambda: gateway.send_to_user("ada", "x"),
            lambda: gateway.online(),
            lambda: gateway.broadcast("x"), lambda: gateway.kick("a1"), lambda: gateway.send_to_connection("a1", "x"),
            lambda: gateway.is_online("ada"), lambda: gateway.members("hall"),
            lambda: gateway.say("hall", "x", user="b"),
        ):  # fmt: skip
            with pytest.raises(InstanceNotRunning, match="'other'"):
                ask()


async def test_what_the_store_raises_is_raised_as_our_own(server: Chatmaster, tmp_path: Path) -> None:
    url = server.status()["store"]["url"]
    for wrong in (f"unix://{tmp_path}/nobody.sock", "redis://127.0.0.1:1/0"):
        with (
            Gateway(wrong, timeout=1.0) as gateway,
            pytest.raises(GatewayUnavailable, match="did not answer") as caught,
        ):
            gateway.send_to_room("hall", "x")
        assert isinstance(caught.value, GatewayError)
    with Gateway(url.replace("unix://", "unix://:wrong@"), timeout=1.0) as gateway, pytest.raises(GatewayError):
        gateway.online()
    with Gateway(url) as gateway:
        gateway.send_to_room("hall", "x", key="k")
        with pytest.raises(GatewayRefused):
            gateway.send_to_room("hall", "y", key="k")
        server.stop()
        with pytest.raises(GatewayUnavailable):
            gateway.send_to_room("hall", "x")
        for wrong_type in (5, None, b"x"):
            with pytest.raises(TypeError):
                gateway.send_to_room(wrong_type, "x")  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                gateway.kick(wrong_type)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                gateway.send_to_room("hall", "x", key=wrong_type)  # type: ignore[call-overload]
