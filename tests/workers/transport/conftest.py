"""Fixtures of the transport's tests: both event loops, an endpoint on a real socket, and raw peers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from tests.workers.transport.serving import Served


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
