"""The limits on connections in storms over two workers: never one too many, never one too few."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import Any

import jwt
import pytest

from tests.support.server import Chatmaster
from tests.support.ws import ChatSocket, Closed

LIMIT, STORM = 10, 60
SECRET = "a secret of more than thirty-two characters"

pytestmark = pytest.mark.timeout(90)


def token(user: str) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + 600}, SECRET, algorithm="HS256")


async def knock(server: Chatmaster, user: str) -> ChatSocket | None:
    """Say hello; None: there were too many."""
    try:
        socket = await ChatSocket.open(server.url)
        socket.send_json({"type": "hello", "token": token(user)})
        answer = await socket.receive_json()
    except Closed as closed:  # a worker that has as many of an address already takes no more of it
        assert closed.code == 1006
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
