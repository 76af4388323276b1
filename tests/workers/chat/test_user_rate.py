"""How fast one user may ask: five connections over two workers get no more than one would, and not much less."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.server import Chatmaster
from tests.support.ws import ChatSocket

RATE, BURST = 5, 40

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    with Chatmaster(workers=2, settings={"limits.rate": RATE, "limits.burst": BURST}) as made:
        yield made


async def answers(socket: ChatSocket, count: int) -> Counter[str]:
    """Ask so often at once; how many were answered, and how many refused."""
    for number in range(count):
        socket.send_json({"type": "ping", "id": number})
    found: Counter[str] = Counter()
    while sum(found.values()) < count:
        message = await socket.receive_json()
        if message["type"] == "error":
            assert message["code"] == "rate_limited" and message["retry_after_ms"] > 0
        if message["type"] in ("pong", "error"):
            found[message["type"]] += 1
    return found


async def test_five_connections_of_a_guest_get_no_more_than_one(server: Chatmaster):
    first = await ChatSocket.enter(server.url)
    token = first.welcome["token"]
    sockets = [first, *await asyncio.gather(*(ChatSocket.enter(server.url, token=token) for _ in range(4)))]
    began = time.monotonic()
    found = await asyncio.gather(*(answers(one, 45) for one in sockets))
    passed = sum(one["pong"] for one in found)
    seconds = time.monotonic() - began
    for one in sockets:
        one.abort()
    assert BURST - 2 * BURST // 4 <= passed <= BURST + RATE * seconds + 1, "a lease of each worker may be left over"


async def test_one_connection_gets_what_it_may_and_others_are_not_concerned(server: Chatmaster):
    async with await ChatSocket.enter(server.url) as one, await ChatSocket.enter(server.url) as other:
        began = time.monotonic()
        found = await answers(one, 60)
        seconds = time.monotonic() - began
        assert BURST - 1 <= found["pong"] <= BURST + RATE * seconds + 1
        assert (await answers(other, 30))["error"] == 0


async def test_who_waits_as_told_gets_through(server: Chatmaster):
    async with await ChatSocket.enter(server.url) as one:
        await answers(one, 60)
        refused = await one.ask(type="ping")
        while refused["type"] == "error":
            await asyncio.sleep(refused["retry_after_ms"] / 1000)
            refused = await one.ask(type="ping")
        assert refused["type"] == "pong"
