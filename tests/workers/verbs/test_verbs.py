"""Every verb through every door of a real server: the same answers, the same refusals."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import re
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from chatmaster import tokens
from tests.support.server import Chatmaster
from tests.support.sources import ROOT
from tests.support.wait import until_async
from tests.support.ws import ChatSocket, RawSocket
from workers import AsyncGateway, Gateway, GatewayError, GatewayNotFound, GatewayRefused, WrongApplication
from workers.cluster import keys as presence_keys
from workers.verbs import keys
from workers.verbs.request import STATUS, VerbRequest
from workers.verbs.table import GROUPS, TABLE

PROGRAM = """
import json
from urllib.parse import parse_qs
from workers import Worker

worker = Worker("websocket://127.0.0.1:8000")

@worker.on_connect
async def came(connection):
    for user in parse_qs(connection.query).get("user", ()):
        await connection.bind(user)
    connection.send(connection.id)

@worker.on_message
async def said(connection, data):
    connection.send(json.dumps(await worker.members(data)))
"""


@pytest.fixture
def program(chatmaster: Callable[..., Chatmaster], tmp_path: Path) -> Chatmaster:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return chatmaster(str(file), workers=3, settings={"limits.ping_interval": 600.0})  # nobody reads all the time


def url_of(server: Chatmaster) -> str:
    return str(server.status()["store"]["url"])


def test_every_verb_is_whole_and_both_gateways_have_it() -> None:
    for name, verb in TABLE.items():
        assert issubclass(verb.request, VerbRequest) and verb.text and verb.request.__doc__ and verb.group in GROUPS
        other = {"send_to_all": "broadcast"}.get(name, name)
        assert hasattr(Gateway, other) and hasattr(AsyncGateway, other), name
        schema = msgspec.json.schema(verb.request)
        assert schema
    assert len(TABLE) == 32


def test_both_gateways_have_the_same_methods_with_the_same_arguments() -> None:
    def methods(kind: type) -> dict[str, inspect.Signature]:
        return {
            name: inspect.signature(one)
            for name, one in vars(kind).items()
            if not name.startswith("_") and name != "close"
        }

    assert methods(Gateway) == methods(AsyncGateway)
    assert inspect.signature(Gateway) == inspect.signature(AsyncGateway)


# The public static functions of GatewayWorker's src/Lib/Gateway.php (7828ec7, February 2025).
GATEWAY_WORKER = """
sendToAll sendToClient sendToCurrentClient isUidOnline isOnline getAllClientInfo getAllClientSessions
getClientInfoByGroup getClientSessionsByGroup getAllClientIdCount getAllClientCount getClientIdCountByGroup
getClientCountByGroup getClientIdListByGroup getAllClientIdList getClientIdByUid getUidListByGroup getUidCountByGroup
getAllUidList getAllUidCount getUidByClientId getAllGroupIdList getAllGroupUidCount getAllGroupUidList
getAllGroupClientIdList getAllGroupClientIdCount closeClient closeCurrentClient destoryClient destoryCurrentClient
bindUid unbindUid joinGroup leaveGroup ungroup sendToUid sendToGroup setSocketSession setSession updateSession
getSession setBusinessWorker
"""


def test_the_document_places_each_method_of_gateway_worker() -> None:
    rows = re.findall(r"^\| (`[^|]*) \| [^|]+ \|$", (ROOT / "etc/doc/api.md").read_text(), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert [name for name in GATEWAY_WORKER.split() if named.count(name) != 1] == []
    assert len(GATEWAY_WORKER.split()) == 42


async def test_what_only_one_worker_can_do_is_done_by_it_and_says_where_there_is_none(program: Chatmaster) -> None:
    async with AsyncExitStack() as stack:
        sockets = {}
        ids = {}
        for user in ("ada", "bob", "cyd", "dan", "eve", "fay"):
            sockets[user] = await stack.enter_async_context(await RawSocket.open(f"{program.url}?user={user}"))
            ids[user] = str(await sockets[user].read_message())
        gateway = await stack.enter_async_context(AsyncGateway(url_of(program)))
        for user, one in ids.items():
            await gateway.join(one, "hall")
            assert await gateway.session_set(one, {"who": user, "n": 1}) == {"who": user, "n": 1}
            assert await gateway.session_update(one, {"n": 2}) == {"who": user, "n": 2}
            assert await gateway.session_get(one) == {"who": user, "n": 2}
            assert await gateway.send_to_connection(one, f"to {user}") == []
            assert await sockets[user].read_message() == f"to {user}"
        assert [row["user"] for row in await gateway.members("hall")] == sorted(ids)
        assert await gateway.rooms() == [{"room": "hall", "connections": 6}]
        rows = await gateway.connections()
        assert [row["id"] for row in rows] == sorted(ids.values())
        assert all(row["rooms"] == ["@" + row["user"], "hall"] or "hall" in row["rooms"] for row in rows)
        await gateway.leave(ids["ada"], "hall")
        await gateway.bind(ids["ada"], "zoe")
        assert await gateway.is_online("zoe") and not await gateway.is_online("ada")
        await gateway.unbind(ids["ada"])
        assert not await gateway.is_online("zoe")
        assert len(await gateway.members("hall")) == 5
        assert await gateway.disconnect(ids["ada"], code=4123, reason="bye") == 1
        closed = await sockets["ada"].wait_closed()
        assert (closed.code, closed.reason) == (4123, "bye")
        assert await gateway.disconnect(user="bob") == 1
        assert (await sockets["bob"].wait_closed()).code == 4003
        gone = ids["ada"]
        for ask in (
            lambda: gateway.join(gone, "hall"), lambda: gateway.leave(gone, "hall"), lambda: gateway.bind(gone, "x"),
            lambda: gateway.unbind(gone), lambda: gateway.session_get(gone), lambda: gateway.disconnect(gone),
            lambda: gateway.session_set(gone, {}), lambda: gateway.session_update(gone, {}),
            lambda: gateway.kick(gone), lambda: gateway.send_to_connection(gone, "x"),
            lambda: gateway.disconnect(user="nobody"),
        ):  # fmt: skip
            with pytest.raises(GatewayNotFound):
                await ask()
        assert await gateway.send_to_connection([ids["cyd"], gone], b"some") == [gone]
        assert await sockets["cyd"].read_message() == b"some"
        with pytest.raises(ValueError, match="bytes at most"):
            await gateway.session_update(ids["cyd"], {"n": 3, "long": "x" * 40_000})
        assert await gateway.session_get(ids["cyd"]) == {"who": "cyd", "n": 2}


async def test_lists_come_whole_in_pages(program: Chatmaster) -> None:
    async with AsyncExitStack() as stack:
        for number in range(12):
            socket = await stack.enter_async_context(await RawSocket.open(f"{program.url}?user=u{number:02}"))
            connection = str(await socket.read_message())
            with Gateway(url_of(program)) as gateway:
                gateway.join(connection, f"room{number:02}")
                gateway.join(connection, "all")
        async with AsyncGateway(url_of(program)) as awaited:

            async def all_counted() -> bool:
                return len(await awaited.members("all")) == 12

            await until_async(all_counted, 30.0, what="the store counts all members")
        for name, key in (
            ("rooms", "room"),
            ("connections", "id"),
            ("members", "user"),
        ):
            seen: list[str] = []
            cursor, pages = "", 0
            while True:
                request = {"cursor": cursor, "limit": 5, **({"room": "all"} if name == "members" else {})}
                page = await asyncio.to_thread(verb, program, name, request)
                assert 1 <= len(page[name]) <= 5
                seen += [row[key] for row in page[name]]
                pages += 1
                cursor = page.get("cursor", "")
                if not cursor:
                    break
            assert pages == 3 and len(seen) == len(set(seen)) == (13 if name == "rooms" else 12), name


async def test_members_come_whole_whatever_the_sizes_of_the_pages(program: Chatmaster) -> None:
    """A large room: the store gives its users in an order of its own, some at a time."""
    users = {f"user{number:04}": 1 for number in range(3000)}
    async with await RawSocket.open(f"{program.url}?user=ada") as socket, AsyncGateway(url_of(program)) as gateway:
        await gateway.join(str(await socket.read_message()), "large")
        with redis.Redis.from_url(url_of(program)) as store:
            store.hset(presence_keys.of_room("chat", "large")[1], mapping=users)
        for sizes in ((1000,), (7, 900, 13), (1, 1000, 499)):
            seen: list[str] = []
            cursor, turn = "", 0
            while turn == 0 or cursor:
                size = sizes[turn % len(sizes)]
                page = await gateway._call("members", {"room": "large", "cursor": cursor, "limit": size})
                assert len(page["members"]) <= size
                seen += [row["user"] for row in page["members"]]
                cursor, turn = page["cursor"], turn + 1
            assert sorted(seen) == sorted(set(seen)) and set(users) <= set(seen), sizes


@pytest.mark.parametrize("bound", [(), ("ada",), ("ada", "ben")])
async def test_connections_without_a_user_are_in_every_list_of_members(
    program: Chatmaster, bound: tuple[str, ...]
) -> None:
    """As `worker.members` in the program shows them: together, as the user ""."""
    url = url_of(program)
    expected = [{"user": "", "name": "", "connections": 2}]
    expected += [{"user": user, "name": user, "connections": 1} for user in bound]
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(AsyncGateway(url))
        for query in ("", "", *(f"?user={user}" for user in bound)):
            socket = await stack.enter_async_context(await RawSocket.open(f"{program.url}{query}"))
            await gateway.join(str(await socket.read_message()), "quiz")

        async def all_listed() -> bool:
            return await gateway.members("quiz") == expected

        await until_async(all_listed, 30.0, what="the members with the connections without a user")
        assert await gateway.members("quiz", limit=1) == expected[:1]
        for size in (1, 2, 1000):
            rows: list[Any] = []
            page = {"cursor": ""}
            while not rows or page["cursor"]:
                page = await gateway._call("members", {"room": "quiz", "cursor": page["cursor"], "limit": size})
                rows += page["members"]
                assert len(rows) <= page["count"] == len(expected)
            assert rows == expected
        assert (await gateway.room("quiz"))["users"] == len(expected)
        assert await asyncio.to_thread(program.ask, "who", "quiz") == expected
        shown = (await asyncio.to_thread(program.ctl, "who", "quiz")).stdout
        assert "(no user)" in shown and all(user in shown for user in bound)
        socket.send_text("quiz")
        told = json.loads(str(await socket.read_message()))
        assert sorted(told, key=lambda row: str(row["user"])) == expected


def verb(server: Chatmaster, name: str, request: dict[str, Any]) -> Any:
    done = server.ctl("call", name, json.dumps(request))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_what_the_chat_says_edits_and_keeps(chatmaster: Callable[..., Chatmaster]) -> None:
    server = chatmaster(settings={"auth.secret": "s" * 40})
    async with await ChatSocket.enter(server.url, "hall") as guest:
        with Gateway(url_of(server)) as gateway:
            placed = gateway.say("hall", f"hi @{guest.user}", user="bot", name="Bot", key="k1")
            assert gateway.say("hall", f"hi @{guest.user}", user="bot", name="Bot", key="k1").duplicate
            message = await guest.expect("message")
            assert (message["offset"], message["from"]) == (placed.offset, {"user": "bot", "name": "Bot"})
            gateway.edit("hall", placed.offset, "better")
            assert (await guest.expect("edited"))["text"] == "better"
            gateway.react("hall", placed.offset, "+1", user="ada")
            assert (await guest.expect("reacted"))["emoji"] == "+1"
            assert [one["text"] for one in gateway.history("hall")] == ["better"]
            with pytest.raises(GatewayRefused):
                gateway.edit("hall", placed.offset, "mine", user="ada")
            gateway.delete("hall", placed.offset)
            assert (await guest.expect("deleted"))["target"] == placed.offset
            with pytest.raises(GatewayNotFound):
                gateway.edit("hall", placed.offset, "again")
            gateway.notify(guest.user, data={"build": 7}, sender="ci")
            told = await guest.expect("message")
            assert (told["room"], told["data"], told["to"]) == (f"@{guest.user}", {"build": 7}, guest.user)
            with pytest.raises(GatewayRefused):
                gateway.say("hall", "other", user="bot", name="Bot", key="k1")
            gateway.mute(guest.user, seconds=60, reason="loud")
            assert (await guest.expect("muted"))["reason"] == "loud"
            assert [(row["kind"], row["user"]) for row in gateway.sanctions()] == [("mute", guest.user)]
            assert gateway.unmute(guest.user) and not gateway.unmute(guest.user)
            assert [row["action"] for row in gateway.audit()] == ["unmute", "mute"]
            assert {row["by"] for row in gateway.audit()} == {"gateway"}
            assert gateway.token("ada", role="moderator").count(".") == 2
            for wrong in (lambda: gateway.unbind("a1"), lambda: gateway.session_get("a1")):
                with pytest.raises(WrongApplication):
                    wrong()
            gateway.kick(user=guest.user, room="hall", reason="out")
            assert (await guest.expect("left"))["reason"] == "out"
            with pytest.raises(GatewayNotFound):
                gateway.kick(user="nobody")


async def test_a_key_makes_a_repetition_safe(program: Chatmaster) -> None:
    async with await RawSocket.open(f"{program.url}?user=ada") as socket:
        connection = str(await socket.read_message())
        with Gateway(url_of(program)) as gateway:
            assert gateway.send_to_connection(connection, "once", key="k") == []
            assert gateway.send_to_connection(connection, "once", key="k") == []
            with pytest.raises(GatewayRefused, match="another request"):
                gateway.send_to_connection(connection, "other", key="k")
            gateway.send_to_connection(connection, "end")
        assert [await socket.read_message() for _ in range(2)] == ["once", "end"]


async def test_a_key_of_a_worker_that_died_is_free_again(program: Chatmaster) -> None:
    """The worker that has claimed the key waits for one that is stopped, and is killed meanwhile."""
    async with await RawSocket.open(f"{program.url}?user=ada") as socket:
        connection = str(await socket.read_message())
        rows = program.ask("connections")
        (slot,) = [row["slot"] for row in rows if row["id"] == connection]
        pids = {row["slot"]: row["pid"] for row in program.status()["workers"]}
        os.kill(pids[slot], signal.SIGSTOP)
        try:
            async with AsyncGateway(url_of(program), timeout=10.0) as gateway:
                waiting = asyncio.create_task(gateway.session_set(connection, {"n": 1}, key="k"))
                await until_async(lambda: asked(program), 10.0, what="the call is under way")
                with pytest.raises(GatewayRefused, match="not answered yet"):
                    await gateway.session_set(connection, {"n": 1}, key="k")
                for other, pid in pids.items():
                    if other != slot:
                        os.kill(pid, signal.SIGKILL)
                os.kill(pids[slot], signal.SIGCONT)

                async def again() -> bool:
                    try:
                        return await gateway.session_set(connection, {"n": 1}, key="k") == {"n": 1}
                    except GatewayError:
                        return False

                await until_async(again, 25.0, what="the repetition is carried out")
                assert await gateway.session_get(connection) == {"n": 1}
                with pytest.raises(GatewayRefused, match="another request"):
                    await gateway.session_set(connection, {"n": 2}, key="k")
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError, GatewayError):
                    await waiting
        finally:
            os.kill(pids[slot], signal.SIGCONT)


def asked(server: Chatmaster) -> bool:
    """Whether the call with the key is being carried out."""
    with redis.Redis.from_url(url_of(server)) as store:
        return bool(store.exists(keys.kept_answer("chat", "gateway", "session_set", "k")))


async def test_a_program_brings_people_of_the_chat_into_rooms_and_out(chatmaster: Callable[..., Chatmaster]) -> None:
    rooms = [{"match": "staff", "join": ["role:moderator"]}]
    config = "".join(f'[[rooms]]\nmatch = "{one["match"]}"\njoin = {json.dumps(one["join"])}\n' for one in rooms)
    server = chatmaster(config=config, workers=2, settings={"auth.secret": "s" * 40})
    token = tokens.sign("ada", secret="s" * 40)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(AsyncGateway(url_of(server)))
        sockets = [await stack.enter_async_context(await ChatSocket.enter(server.url, token=token)) for _ in range(4)]
        await gateway.join(user="ada", room="hall")
        placed = await gateway.say("hall", "welcome", user="bot")
        for socket in sockets:
            joined = await socket.expect("joined")
            assert (joined["room"], "id" in joined) == ("hall", False)
            assert (await socket.expect("message"))["offset"] == placed.offset == joined["offset"] + 1
            assert (await socket.ask(type="say", room="hall", text="hi"))["type"] == "ack"
        await gateway.join(user="ada", room="hall")  # they are there already, and nobody is told
        first = str(sockets[0].welcome["connection"])
        await gateway.leave(first, "hall")
        assert (await sockets[0].expect("left"))["room"] == "hall"
        assert (await sockets[0].ask(type="say", room="hall", text="hi"))["code"] == "not_joined"
        await gateway.leave(first, "hall")
        with pytest.raises(GatewayRefused):
            await gateway.join(first, "staff")
        await gateway.ban("ada", room="yard")
        with pytest.raises(GatewayRefused):
            await gateway.join(first, "yard")
        with pytest.raises(ValueError, match="not both"):
            await gateway.join(first, "hall", user="ada")
        for socket in sockets:
            assert (await socket.ask(type="ping"))["type"] == "pong"


async def test_both_sides_of_a_direct_message_are_changed(chatmaster: Callable[..., Chatmaster]) -> None:
    server = chatmaster(settings={"auth.secret": "s" * 40})
    async with (
        await ChatSocket.enter(server.url, token=tokens.sign("ada", secret="s" * 40)) as ada,
        await ChatSocket.enter(server.url, token=tokens.sign("bob", secret="s" * 40)) as bob,
    ):
        for text in ("one", "two", "three"):
            await ada.ask(type="direct", to="bob", text=text)
        offsets = [(await bob.expect("message", text=text))["offset"] for text in ("one", "two", "three")]
        async with AsyncGateway(url_of(server)) as gateway:
            await gateway.edit("@bob", offsets[0], "first", user="ada", key="k")
            for side in (ada, bob):
                assert (await side.expect("edited"))["text"] == "first"
            assert (await gateway.edit("@bob", offsets[0], "first", user="ada", key="k")).duplicate
            await gateway.react("@bob", offsets[1], "+1", user="bob")
            for side in (ada, bob):
                assert (await side.expect("reacted"))["emoji"] == "+1"
            await gateway.delete("@ada", 3)
            for side in (ada, bob):
                await side.expect("deleted")
            for user in ("ada", "bob"):
                assert [one.get("text") for one in await gateway.history(f"@{user}")] == ["first", "two", None]
            with pytest.raises(GatewayRefused):
                await gateway.edit("@bob", offsets[1], "mine", user="bob")
            with pytest.raises(GatewayNotFound):
                await gateway.delete("@bob", 99)
            told = await gateway.notify("bob", "build failed", sender="ci")
            await gateway.edit(told.room, told.offset, "build passed")
            assert (await bob.expect("edited"))["text"] == "build passed"
            with pytest.raises(ValueError):
                await gateway.say("@bob", "x", user="ada")


async def test_a_history_is_never_cut_without_a_word(chatmaster: Callable[..., Chatmaster]) -> None:
    server = chatmaster(settings={"auth.secret": "s" * 40})
    async with AsyncGateway(url_of(server)) as gateway:
        for number in range(12):
            await gateway.say("hall", f"{number:02}" + "x" * 60_000, user="bot")
        for how in ({}, {"after": 0}):
            found = await gateway.history("hall", limit=50, **how)
            assert [one["text"][:2] for one in found] == [f"{number:02}" for number in range(12)]
        for number in range(30):
            await gateway.react("hall", 12, "+1", user="ada", remove=bool(number % 2))
        (last,) = await gateway.history("hall", limit=1)
        assert last["offset"] == 12


async def test_a_worker_that_is_killed_is_not_waited_for(program: Chatmaster) -> None:
    gone = "0" * 24
    with Gateway(url_of(program)) as gateway:

        def pids() -> list[int]:
            return [row["pid"] for row in program.status()["workers"]]

        victim = pids()[0]
        os.kill(victim, signal.SIGKILL)
        await until_async(lambda: victim not in pids(), what="it is replaced")

        def absent() -> bool:
            try:
                gateway.disconnect(gone)
            except GatewayNotFound:
                return True
            except Exception:
                return False
            return False

        await until_async(absent, what="nobody waits for the dead")


def test_the_statuses_are_those_of_errors() -> None:
    assert all(400 <= status < 600 for status in STATUS.values())
