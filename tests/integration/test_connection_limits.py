"""The limits on connections in storms over two workers: never one too many, never one too few."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import closing
from typing import Any

import jwt
import pytest

from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket, Closed

LIMIT, STORM = 10, 60
SECRET = "a secret of more than thirty-two characters"

pytestmark = pytest.mark.timeout(90)


def token(user: str) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + 600}, SECRET, algorithm="HS256")


async def knock(server: Chatmaster, user: str) -> ChatSocket | None:
    """Say hello; None: there were too many."""
    socket = None
    try:
        socket = await ChatSocket.open(server.url)
        socket.send_json({"type": "hello", "token": token(user)})
        answer = await socket.receive_json()
    except Closed as closed:  # a worker that has as many of an address already takes no more of it
        assert closed.code == 1006
        if socket is not None:
            socket.abort()
        return None
    if answer["type"] == "welcome":
        return socket
    assert (answer["type"], answer["code"]) == ("bye", 4004), answer
    socket.abort()
    return None


async def storm(server: Chatmaster, name: str) -> list[ChatSocket]:
    users = [name if name else f"user-{number}" for number in range(STORM)]
    found = await asyncio.gather(*(knock(server, user) for user in users))
    return [one for one in found if one is not None]


@pytest.mark.parametrize("limit", ["connections", "per_address", "per_user"])
async def test_of_a_storm_exactly_as_many_stay_as_may(limit: str):
    settings: dict[str, Any] = {"auth.secret": SECRET, f"limits.{limit}": LIMIT}
    name = "ada" if limit == "per_user" else ""
    with closing(Chatmaster(workers=2, settings=settings)) as server:
        server.start()
        inside = await storm(server, name)
        try:
            for _ in range(5):
                assert len(inside) == LIMIT
                gone, inside = inside[:4], inside[4:]
                for one in gone:
                    await one.close()
                deadline = time.monotonic() + 10
                while len(inside) < LIMIT and time.monotonic() < deadline:
                    inside += await storm(server, name)
        finally:
            for one in inside:
                one.abort()


@pytest.mark.parametrize("limit", ["connections", "per_address", "per_user"])
async def test_where_all_workers_die_at_once_their_places_are_free_again_at_once(limit: str):
    """Nobody was left to be told, so that the dead counted until their leases were over, after ten seconds."""
    settings: dict[str, Any] = {"auth.secret": SECRET, f"limits.{limit}": LIMIT}
    name = "ada" if limit == "per_user" else ""
    with closing(Chatmaster(workers=2, settings=settings)) as server:
        server.start()
        inside = await storm(server, name)
        assert len(inside) == LIMIT
        pids = await asyncio.to_thread(lambda: server.pids)
        processes.send(server.pid, signal.SIGSTOP)  # so that all are dead before the first is replaced
        for pid in pids:
            processes.send(pid, signal.SIGKILL)
        processes.send(server.pid, signal.SIGCONT)
        killed = time.monotonic()
        for one in inside:
            await one.wait_closed()
            one.abort()
        await until_async(
            lambda: asyncio.to_thread(lambda: server.states() == ["ready"] * 2 and not set(pids) & set(server.pids)),
            what="others are there",
        )
        inside = []
        while len(inside) < LIMIT:
            inside += await storm(server, name)
            assert time.monotonic() - killed < 6.0, f"{len(inside)} of {LIMIT} came in again"
        assert len(inside) == LIMIT
        for one in inside:
            one.abort()
