"""What chatctl does as the operator and says that it did: in the chat, and in a program of one's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from chatmaster import tokens
from tests.support.processes import free_port
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket
from workers import AsyncGateway, GatewayNotFound
from workers.cluster import keys as presence_keys

Make = Callable[..., Chatmaster]
PROGRAM = Path(__file__).parent / "programs" / "operated.py"


async def test_say_and_kick_work_for_a_program_of_ones_own(chatmaster: Make) -> None:
    server = await asyncio.to_thread(chatmaster, str(PROGRAM), workers=2)
    url = f"{server.url}?user="
    async with connect(f"{url}ann") as ann, connect(f"{url}ann") as again, connect(f"{url}ben") as ben:
        for client in (ann, again, ben):
            assert await client.recv() == "entered"
        done = await asyncio.to_thread(server.ctl, "say", "hall", "lunch")
        assert (done.returncode, done.stderr.strip()) == (0, "said in hall")
        for client in (ann, again, ben):
            assert await asyncio.wait_for(client.recv(), 10) == "lunch"
        done = await asyncio.to_thread(server.ctl, "kick", "ann", "--reason", "late")
        assert (done.returncode, done.stderr.strip()) == (0, "kicked ann: 2 connections")
        for client in (ann, again):
            assert await closed(client) == (4003, "late")
        rows = await asyncio.to_thread(server.ask, "connections")
        (row,) = [row for row in rows if row["user"] == "ben"]
        done = await asyncio.to_thread(server.ctl, "kick", row["id"])
        assert done.returncode == 0
        assert await closed(ben) == (4003, "kicked")
    done = await asyncio.to_thread(server.ctl, "kick", "nobody")
    assert done.returncode == 1 and "no connection of nobody is open" in done.stderr
    done = await asyncio.to_thread(server.ctl, "ban", "ann")
    assert done.returncode == 2 and "runs no chat: it has no ban" in done.stderr
    done = await asyncio.to_thread(server.ctl, "say", "!all", "x")
    assert done.returncode == 2


async def closed(client: object) -> tuple[int, str]:
    try:
        while True:
            await asyncio.wait_for(client.recv(), 10)  # type: ignore[attr-defined]
    except ConnectionClosed as error:
        assert error.rcvd is not None
        return error.rcvd.code, error.rcvd.reason


async def test_the_verbs_of_the_chat_say_what_they_did(chatmaster: Make) -> None:
    server = await asyncio.to_thread(chatmaster, workers=2)
    ann = await ChatSocket.enter(server.url, "lobby", name="Ann")
    user = ann.welcome["user"]

    async def ctl(*arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(server.ctl, *arguments)
        return done.returncode, done.stderr.strip().removeprefix("chatctl: ")

    assert await ctl("say", "lobby", "hi") == (0, "said in lobby (message 1)")
    assert await ctl("unmute", user, "--room", "lobby") == (1, f"{user} was not muted in lobby: nothing changed")
    assert await ctl("mute", user, "--room", "lobby", "--seconds", "60", "--reason", "noise") == (
        0,
        f"muted {user} in lobby for 1m; the mute of a guest holds for every guest of the same address; "
        "the user has 1 connection",
    )  # fmt: skip
    assert await ctl("ban", "somebody") == (0, "banned somebody everywhere for ever; the user is not connected")
    (mute,) = await asyncio.to_thread(server.ask, "mutes")
    assert (mute["kind"], mute["user"], mute["room"], mute["by"], mute["reason"]) == (
        "mute", user, "lobby", "operator:chatctl", "noise",
    )  # fmt: skip
    (ban,) = await asyncio.to_thread(server.ask, "bans")
    assert (ban["kind"], ban["user"], ban["room"], ban["until"]) == ("ban", "somebody", "", 0)
    shown = (await asyncio.to_thread(server.ctl, "bans")).stdout
    assert "somebody" in shown and "everywhere" in shown and "for ever" in shown
    assert await asyncio.to_thread(server.ask, "mutes", "--user", "another") == []
    assert await ctl("unmute", user, "--room", "lobby") == (0, f"unmuted {user} in lobby")
    assert await ctl("unban", "somebody") == (0, "unbanned somebody everywhere")
    assert await ctl("unban", "somebody") == (1, "somebody was not banned everywhere: nothing changed")
    done = await asyncio.to_thread(server.ctl, "unban", "somebody", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)[0]["lifted"] is False
    assert (await asyncio.to_thread(server.ctl, "bans")).stdout == "nobody is banned\n"
    ann.abort()


async def test_a_name_is_not_taken_for_an_id(chatmaster: Make) -> None:
    """An operator sees a guest's name on the page: whoever it names is told, and nobody is muted ahead by mistake."""
    server = await asyncio.to_thread(chatmaster, workers=2, settings={"auth.secret": "s" * 40})
    url = str(server.status()["store"]["url"])
    async with (
        AsyncGateway(url) as gateway,
        await ChatSocket.enter(server.url, "lobby", name="MightyEagle86") as guest,
        await ChatSocket.enter(server.url, "lobby", token=tokens.sign("u7", secret="s" * 40, name="Ada")),
    ):

        async def claimed() -> bool:  # the name of a token is claimed behind the welcome
            done = await asyncio.to_thread(server.ctl, "kick", "Ada")
            return "name of u7" in done.stderr

        await until_async(claimed, 30.0, what="the name from the token is claimed")
        for name, whose in (("MightyEagle86", guest.user), ("mightyeagle86", guest.user), ("Ada", "u7")):
            for verb in ("mute", "ban", "kick"):
                done = await asyncio.to_thread(server.ctl, verb, name)
                assert done.returncode == 1 and f"{name} is the name of {whose}: give the id" in done.stderr, verb
            asked: list[Awaitable[object]] = [
                gateway.mute(name, room="lobby"),
                gateway.ban(name, seconds=60),
                gateway.kick(user=name),
                gateway.disconnect(user=name),
                gateway.join(user=name, room="lobby"),
                gateway.leave(user=name, room="lobby"),
            ]
            for one in asked:
                with pytest.raises(GatewayNotFound, match=f"{name} is the name of {whose}"):
                    await one
        for verb in ("mute", "ban", "kick"):
            done = await asyncio.to_thread(server.ctl, verb, "Mighty Eagle")
            assert done.returncode == 2 and "`who ROOM` shows each id beside the name" in done.stderr
        assert await gateway.sanctions() == []
        await gateway.mute("u7", seconds=60)  # an id
        await gateway.mute("somebody", seconds=60)  # an id of one's own database, and nobody's name
        done = await asyncio.to_thread(server.ctl, "mute", "mightyeagle86", "--ahead")
        assert done.returncode == 0 and "the user is not connected" in done.stderr, done.stderr
        await gateway.ban("ada", ahead=True)
        held = {(row["kind"], row["user"]) for row in await gateway.sanctions()}
        assert held == {("mute", "u7"), ("mute", "somebody"), ("mute", "mightyeagle86"), ("ban", "ada")}
        assert (await guest.ask(type="say", room="lobby", text="still here"))["type"] == "ack"


async def test_who_lists_a_large_room_whole(chatmaster: Make) -> None:
    """It stopped after a thousand users."""
    server = await asyncio.to_thread(chatmaster, workers=1)
    with redis.Redis.from_url(str(server.status()["store"]["url"])) as store:
        store.hset(presence_keys.of_room("chat", "large")[1], mapping={f"user{number:04}": 1 for number in range(2500)})
    rows = await asyncio.to_thread(server.ask, "who", "large")
    assert [row["user"] for row in rows] == [f"user{number:04}" for number in range(2500)]


async def test_each_worker_of_a_program_is_reached(chatmaster: Make) -> None:
    """Of a program of several, each has rooms and connections of its own."""
    other = free_port()
    program, environment = str(PROGRAM.with_name("operated_two.py")), {"SECOND_PORT": str(other)}
    server = await asyncio.to_thread(chatmaster, program, workers=1, environment=environment)
    async with connect(f"{server.url}?user=ann") as one, connect(f"ws://127.0.0.1:{other}/?user=ann") as two:
        for client in (one, two):
            assert await client.recv() == "entered"
        done = await asyncio.to_thread(server.ctl, "say", "hall", "lunch")
        assert (done.returncode, done.stderr.strip()) == (0, "said in hall of first and second")
        for client in (one, two):
            assert await asyncio.wait_for(client.recv(), 10) == "lunch"
        done = await asyncio.to_thread(server.ctl, "kick", "ann")
        assert (done.returncode, done.stderr.strip()) == (0, "kicked ann: 2 connections")
        for client in (one, two):
            assert (await closed(client))[0] == 4003


async def test_who_and_tail_tell_the_workers_of_a_program_apart(chatmaster: Make) -> None:
    """They answered for one of them; --worker chooses one."""
    other = free_port()
    program, environment = str(PROGRAM.with_name("operated_two.py")), {"SECOND_PORT": str(other)}
    server = await asyncio.to_thread(chatmaster, program, workers=1, environment=environment)
    async with connect(f"{server.url}?user=ann") as one, connect(f"ws://127.0.0.1:{other}/?user=ben") as two:
        for client in (one, two):
            assert await client.recv() == "entered"
        rows = await asyncio.to_thread(server.ask, "who", "hall")
        assert [(row["worker"], row["user"]) for row in rows] == [("first", "ann"), ("second", "ben")]
        rows = await asyncio.to_thread(server.ask, "who", "hall", "--worker", "second")
        assert [row["user"] for row in rows] == ["ben"]
        rows = await asyncio.to_thread(server.ask, "rooms")
        halls = [(row["worker"], row["members"]) for row in rows if row["room"] == "hall"]
        assert sorted(halls) == [("first", 1), ("second", 1)]
        rows = await asyncio.to_thread(server.ask, "connections", "--worker", "first")
        assert [row["user"] for row in rows] == ["ann"]
        done = await asyncio.to_thread(server.ctl, "who", "hall", "--worker", "third")
        assert done.returncode == 2 and "no Worker 'third'; it has first, second" in done.stderr
        tail = await asyncio.create_subprocess_exec(
            *server.command("tail", "hall", "--json"), env=server.environment, stdout=asyncio.subprocess.PIPE
        )
        assert tail.stdout is not None
        done = await asyncio.to_thread(server.ctl, "say", "hall", "tea", "--worker", "second", "--json")
        assert [row["worker"] for row in json.loads(done.stdout)] == ["second"]
        for _ in range(100):  # until it follows both
            await asyncio.to_thread(server.ctl, "say", "hall", "cake")
            try:
                heard = {json.loads(await asyncio.wait_for(tail.stdout.readline(), 0.3))["worker"] for _ in range(2)}
            except TimeoutError:
                continue
            if heard == {"first", "second"}:
                break
        else:
            raise AssertionError("tail never heard both")
        tail.terminate()
        await tail.wait()
        done = await asyncio.to_thread(server.ctl, "kick", "ben", "--worker", "first")
        assert done.returncode == 1
        done = await asyncio.to_thread(server.ctl, "kick", "ben")
        assert (done.returncode, done.stderr.strip()) == (0, "kicked ben: 1 connection")
        assert (await closed(two))[0] == 4003
