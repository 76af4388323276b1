"""Fixtures of the transport's tests: both event loops, an endpoint on a real socket, and raw peers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvloop

from tests.workers.transport.pairs import Pair
from tests.workers.transport.serving import Served
from workers.transport.poller import SocketPoller


def pytest_asyncio_loop_factories(config, item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """`await serve(option=…)` starts an endpoint with these options; it is closed after the test."""
    started: list[Served] = []

    async def start(**options) -> Served:
        served = await Served.start(**options)
        started.append(served)
        return served

    yield start
    for served in started:
        await served.close()


@pytest.fixture
def poller() -> Iterator[Callable[[], SocketPoller]]:
    made: list[SocketPoller] = []

    def make() -> SocketPoller:
        made.append(SocketPoller())
        return made[-1]

    yield make
    assert not any(map(len, made)), "something is still watched"


@pytest.fixture
def pair(poller: Callable[[], SocketPoller]) -> Iterator[Callable[[], Pair]]:
    pairs: list[Pair] = []

    def make() -> Pair:
        pairs.append(Pair(pairs[0].transport._poller if pairs else poller()))
        return pairs[-1]

    yield make
    for one in pairs:
        one.peer.close()
