"""How fast one user may ask: five connections over two workers get no more than one would, and not much less.

The first request after a silence does not wait for the store, and is paid for all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chatmaster.settings import Limits, Settings
from tests.support.server import Chatmaster
from tests.support.store import RedisServer
from tests.support.wait import until_async
from tests.support.ws import ChatSocket
from tests.workers.presence.site import Site
from workers.chat.chat_connection import ChatConnection
from workers.chat.rules.effects import Effects
from workers.chat.rules.state import SessionPhase
from workers.chat.user_rate import UserRate
from workers.rate_limit import TokenAccount
from workers.tasks import Tasks

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


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[list[UserRate]]:
    """The buckets as two workers lease from them: 8 requests at once, and one more in 10 seconds."""
    settings = Settings(limits=Limits(rate=0.1, burst=8))
    with RedisServer(tmp_path) as store:
        sites = [Site(store.url, "rate", process) for process in ("one", "two")]
        for site in sites:
            await site.start()
        yield [UserRate(site.bus, settings, store_answers=lambda: True) for site in sites]
        for site in sites:
            await site.stop()


def went_ahead(rate: UserRate, account: TokenAccount, size: int) -> bool:
    """Ask without waiting, as a connection does."""
    owed = account.borrow(size, time.time())
    if owed:
        rate.lease(account, owed)
    return owed > 0


async def passing(rate: UserRate, account: TokenAccount) -> int:
    """How many requests pass before one has to wait."""
    passed = 0
    while await rate.spend(account, 10) == 0:
        passed += 1
    return passed


async def test_a_connection_carries_its_first_request_out_at_once_and_the_next_in_order(workers: list[UserRate]):
    taken: list[str] = []
    executor: Any = SimpleNamespace(user_rate=workers[0], tasks=Tasks(), carry_out=lambda client, effects: None)

    def receive_data(data: str, now: float) -> Effects:
        taken.append(data)
        return ()

    identity = SimpleNamespace(user="u")
    session: Any = SimpleNamespace(phase=SessionPhase.OPEN, identity=identity, receive_data=receive_data)
    connection = ChatConnection(executor, cast(Any, SimpleNamespace()), session)
    for request in "abc":
        connection.on_message(request)
    assert taken == ["a"], "before the store has said anything"
    await until_async(lambda: len(taken) == 3, what="the others follow the lease")
    assert taken == ["a", "b", "c"]


async def test_the_first_request_after_a_silence_waits_for_nothing_and_is_paid_for(workers: list[UserRate]):
    one = workers[0]
    account = one.account("u")
    assert went_ahead(one, account, 10)
    assert not went_ahead(one, account, 10), "the next one waits for the lease"
    assert await passing(one, account) == 7


async def test_what_went_ahead_at_an_empty_bucket_is_owed_to_it(workers: list[UserRate]):
    one, two = workers
    await passing(one, one.account("u"))
    again = two.account("u")
    assert went_ahead(two, again, 10)
    wait = await two.spend(again, 10)
    assert 15 < wait <= 20, "one token for the bucket's debt, and one for the request"
    assert not went_ahead(two, again, 10)
    del again
    third = two.account("u")
    assert went_ahead(two, third, 3 * 16_384)
    assert 40 < await two.spend(third, 10) <= 50, "also for a connection that forgets it"
