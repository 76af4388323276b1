"""One real store for the tests of presence; each test has a name of its own in it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.support.store import RedisServer
from tests.workers.presence.site import Site

_numbers = itertools.count()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("presence")) as server:
        yield server


@pytest.fixture
async def start(store: RedisServer) -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """`await start("process")` brings up one more worker of the same instance, followed by the room "lobby"."""
    name, sites = f"t{next(_numbers)}", []

    async def one(process: str, *, url: str = store.url, **options: Any) -> Site:
        site = Site(url, name, process, **options)
        sites.append(site)
        await site.start()
        site.bus.subscribe("lobby")
        return site

    yield one
    for site in sites:
        await site.stop()
