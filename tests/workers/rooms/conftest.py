"""A real store, and a worker's bus and hub on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest
import uvloop

from chatmaster.settings import Limits, Settings, Store
from tests.contract.stores import RealStore
from tests.workers.rooms.peers import Peer
from workers.bus.port import BusError, Placed
from workers.bus.redis_bus import RedisBus
from workers.rooms.hub import Hub
from workers.rooms.types import Gap, Reset


class Side:
    """One worker's bus and hub."""

    def __init__(self, store: RealStore, settings: Settings) -> None:
        self.hub = Hub(settings)
        self.bus = RedisBus(store.url, settings, self.hub)
        self.hub.bind(self.bus)
        self.hub.teller = tell

    async def start(self) -> None:
        self.bus.start()
        self.hub.start()
        await self.bus.ready(10)

    async def stop(self) -> None:
        await self.hub.stop()
        await self.bus.stop()

    async def publish(self, room: str, text: str, **options: Any) -> Placed:
        """Publish a chat message and wait for the ack. Raises BusError."""
        done: asyncio.Future[Placed] = asyncio.get_running_loop().create_future()

        def placed(result: Placed | BusError) -> None:
            if isinstance(result, BusError):
                done.set_exception(result)
            else:
                done.set_result(result)

        payload = json.dumps({"type": "message", "room": room, "text": text}).encode()
        self.hub.publish(room, payload, form="j", done=placed, **options)
        return await done

    async def top(self, room: str) -> int:
        """The last offset of a room's log."""
        return (await self.bus.read(room, after=0, limit=0, max_bytes=0)).state.top


def tell(room: str, what: Gap | Reset) -> bytes:
    if isinstance(what, Gap):
        told = {"type": "gap", "room": room, "epoch": what.epoch, "from": what.first, "to": what.last}
        return json.dumps(told | {"changes": True} if what.changes else told).encode()
    return json.dumps({"type": "reset", "room": room, "epoch": what.epoch, "offset": what.offset}).encode()


@pytest.fixture
def store() -> Iterator[RealStore]:
    real = RealStore("valkey")
    real.start()
    yield real
    real.close()


@pytest.fixture
async def sides(store: RealStore) -> AsyncIterator[Callable[..., Any]]:
    """Makes workers' sides on the store; all are stopped afterwards."""
    made: list[Side] = []

    async def make(*, lag_timeout: float = 30.0, **store_options: Any) -> Side:
        settings = Settings(store=Store(url=store.url, **store_options), limits=Limits(lag_timeout=lag_timeout))
        side = Side(store, msgspec.structs.replace(settings))
        made.append(side)
        await side.start()
        return side

    yield make
    for side in made:
        await side.stop()


async def until(condition: Callable[[], Any], *, within: float = 10.0) -> None:
    """Wait for a condition. Raises AssertionError after `within` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Any]]:
    """Makes members of a side's rooms; all are closed afterwards."""
    made: list[Peer] = []

    async def make(side: Side, **options: Any) -> Peer:
        peer = await Peer.connect(side.hub, **options)
        made.append(peer)
        return peer

    yield make
    for peer in made:
        peer.close()
    await asyncio.sleep(0)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """The loop that workers run on: it calls `pause_writing` from inside `write`."""
    return {"uvloop": uvloop.new_event_loop}
