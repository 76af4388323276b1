"""A worker that slept through more orders than are kept does all the same what they said."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
import redis

from chatmaster.cli import control_client
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket

SECRET = "a secret of more than thirty-two characters"
FLOOD = 1_700  # orders; a log of them keeps 1,000

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server() -> Iterator[Chatmaster]:
    settings = {
        "auth.secret": SECRET, "limits.rate": 0, "chat.presence_interval": 0.05,
        "store.history_size": 50, "limits.ping_timeout": 300,  # who waits here answers no pings
    }  # fmt: skip
    made = Chatmaster(workers=2, settings=settings)
    try:
        yield made.start()
    finally:
        made.close()


def token(user: str, role: str = "user") -> str:
    return jwt.encode({"sub": user, "name": user.title(), "role": role}, SECRET, algorithm="HS256")


def slots_of(server: Chatmaster, user: str) -> set[int]:
    """The workers that have connections of a user."""
    question = {"what": "connections", "args": {"user": user}}
    rows = control_client.call(server.state_dir / "chat.sock", "query", question, timeout=10.0).get("rows", ())
    return {int(row["slot"]) for row in rows}


async def at(server: Chatmaster, slot: int, user: str, *rooms: str, role: str = "user") -> ChatSocket:
    """A user of that worker: whoever meets another one tries again."""
    before = slots_of(server, user)
    for _ in range(60):
        socket = await ChatSocket.enter(server.url, *rooms, token=token(user, role))
        if slot in slots_of(server, user):
            return socket
        await socket.close()
        await until_async(lambda: slots_of(server, user) == before)
    raise AssertionError(f"worker {slot} takes nobody")


@asynccontextmanager
async def asleep(server: Chatmaster, slot: int) -> AsyncIterator[None]:
    """Stop a worker, and let it go on at the end."""
    pid = next(row["pid"] for row in server.status()["workers"] if row["slot"] == slot)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def flood(socket: ChatSocket, request: Any) -> None:
    """Ask so often, a hundred at once."""
    for start in range(0, FLOOD, 100):
        for number in range(start, start + 100):
            socket.send_json({"id": number, **request(number)})
        for number in range(start, start + 100):
            answer = await socket.expect("ack", id=number)
            assert answer["id"] == number


def cut_off(server: Chatmaster) -> None:
    """As the store does with a reader that does not read: its subscriptions are gone, without a word."""
    with redis.Redis.from_url(server.status()["store"]["url"]) as store:
        assert store.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


async def test_renames_push_no_ban_out(server: Chatmaster):
    async with await at(server, 0, "bad", "lobby") as bad, await at(server, 1, "boss", "lobby", role="admin") as boss:
        async with asleep(server, 0):
            await boss.ask(type="ban", user="bad", reason="spam")
            await flood(boss, lambda number: {"type": "rename", "name": f"Boss {number}"})
            cut_off(server)
        assert (await bad.wait_closed()).code == 4003
        assert "room !control: offsets" not in server.log(), "the ban's log was not touched"


async def test_what_lost_orders_said_is_read_again(server: Chatmaster):
    """A ban, a mute and its end, a kick out of a room, and another name: all of it pushed out by a flood."""
    async with (
        await at(server, 0, "banned", "lobby") as banned,
        await at(server, 0, "muted", "lobby") as muted,
        await at(server, 0, "freed", "lobby") as freed,
        await at(server, 0, "kicked", "lobby", "other") as kicked,
        await at(server, 0, "renamed", "lobby") as renamed,
        await at(server, 1, "renamed") as second,
        await at(server, 1, "boss", "lobby", role="admin") as boss,
    ):
        await boss.ask(type="mute", user="freed")
        await until_async(lambda: _answer(freed, "muted"))
        async with asleep(server, 0):
            await boss.ask(type="ban", user="banned", reason="spam")
            await boss.ask(type="mute", user="muted", seconds=600)
            await boss.ask(type="unmute", user="freed")
            await boss.ask(type="kick", user="kicked", room="other")
            await second.ask(type="rename", name="Other")
            await flood(boss, lambda number: {"type": "kick", "user": f"nobody-{number % 7}"})
            await flood(boss, lambda number: {"type": "rename", "name": f"Boss {number}"})
            cut_off(server)
        assert (await banned.wait_closed()).code == 4003
        left = await kicked.expect("left")
        assert left["room"] == "other"
        await until_async(lambda: _answer(muted, "muted"))
        await until_async(lambda: _answer(freed, ""))
        assert await _answer(kicked, ""), "it is still in the room that it was not kicked out of"
        await until_async(lambda: _name(renamed, "Other"))
        await until_async(lambda: _lost(server, "!control") and _lost(server, "!names"), what="the log names both")
        # And once: who comes back into the room stays there.
        assert (await kicked.ask(type="join", room="other"))["type"] == "joined"


def _lost(server: Chatmaster, room: str) -> bool:
    """Whether the log says that orders of a room are lost; the log is written behind what it tells of."""
    return f"orders of {room} are lost" in server.log()


async def _answer(socket: ChatSocket, code: str) -> bool:
    answer = await socket.ask(type="say", room="lobby", text="x")
    return bool(answer.get("code", "") == code)


async def _name(socket: ChatSocket, name: str) -> bool:
    placed = await socket.ask(type="say", room="lobby", text="x")
    page = await socket.ask(type="history", room="lobby", after=placed["offset"] - 1, limit=1)
    return bool(page["messages"][0]["from"]["name"] == name)
