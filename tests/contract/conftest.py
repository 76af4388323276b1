"""One suite for every adapter and store: a bus on a real server, and what it told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest
import uvloop

from chatmaster.settings import Limits, Master, Settings, Store
from tests.contract.stores import ClusterStore, RealStore, server_of
from workers.bus.port import BusError, Entry, LogState, Placed, Position, Publication
from workers.bus.redis_cluster.cluster_bus import bus_for
from workers.bus.store_bus import StoreBus


class Heard:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.publications: list[tuple[str, Publication]] = []
        self.kept: list[tuple[str, Placed, int]] = []  # own publications
        self.notes: list[tuple[str, bytes]] = []
        self.events: list[str] = []
        self.wanted: set[str] = set()  # of the rooms that share a channel
        self.shared = 0  # times that all of these were confirmed

    def received(self, room: str, publication: Publication) -> None:
        self.publications.append((room, publication))

    def placed(self, room: str, last: Placed, count: int, seconds: float) -> None:
        self.kept.append((room, last, count))

    def received_note(self, room: str, note: bytes) -> None:
        self.notes.append((room, note))

    def wants(self, room: str) -> bool:
        return room in self.wanted

    def shared_subscribed(self, shards: frozenset[int] | None = None) -> None:
        self.shared += 1

    def subscribed(self, room: str) -> None:
        self.events.append(f"subscribed {room}")

    def unsubscribed(self, room: str) -> None:
        self.events.append(f"unsubscribed {room}")

    def disconnected(self, shards: frozenset[int] | None = None) -> None:
        self.events.append("disconnected")

    def offsets(self, room: str) -> list[int]:
        return [entry.offset for entry in self.entries(room)]

    def entries(self, room: str) -> list[Entry]:
        return [entry for name, publication in self.publications if name == room for entry in publication.entries]


class Under:
    """A bus under test, with what it told."""

    def __init__(self, store: RealStore | ClusterStore, settings: Settings) -> None:
        self.store = store
        self.heard = Heard()
        self.deaf: list[bool] = []
        self.bus: StoreBus = bus_for(store.url, settings, self.heard, on_deaf=lambda: self.deaf.append(True))

    async def publish(self, room: str, payload: bytes = b'{"a":1}', **options: Any) -> Placed:
        """Publish and wait for the ack. Raises BusError."""
        done: asyncio.Future[Placed] = asyncio.get_running_loop().create_future()

        def placed(result: Placed | BusError) -> None:
            assert not done.done(), "told twice"
            if isinstance(result, BusError):
                done.set_exception(result)
            else:
                done.set_result(result)

        self.bus.publish(room, payload, form=options.pop("form", "j"), done=placed, **options)
        return await done

    async def state(self, room: str) -> LogState:
        """Where a room's log stands. Raises BusError."""
        (state,) = await self.states([room])
        return state

    async def states(self, rooms: list[str]) -> list[LogState]:
        """Where rooms' logs stand. Raises BusError."""
        found: dict[str, LogState] = {}
        for some in self.bus.together(rooms):
            found |= dict(zip(some, await self._asked(partial(self.bus.states, some)), strict=True))
        return [found[room] for room in rooms]

    async def compare(self, *known: tuple[str, Position]) -> list[str]:
        """Which logs are not as known. Raises BusError."""
        positions = dict(known)
        different: list[str] = []
        for some in self.bus.together(list(positions)):
            different += await self._asked(partial(self.bus.compare, [(room, positions[room]) for room in some]))
        return [room for room in positions if room in different]

    async def _asked(self, ask: Callable[[Callable[[Any], None]], None]) -> Any:
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        ask(answered.set_result)
        answer = await answered
        if isinstance(answer, BusError):
            raise answer
        return answer

    async def subscribe(self, room: str) -> None:
        count = len(self.heard.events)
        self.bus.subscribe(room)
        await until(lambda: f"subscribed {room}" in self.heard.events[count:])


async def until(condition: Callable[[], Any], *, within: float = 10.0) -> None:
    """Wait for a condition. Raises AssertionError after `within` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterStore]:
    """A cluster of three nodes, which the tests of a file share."""
    with ClusterStore() as made:
        yield made


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test over every kind of store, or over those that its file names."""
    if "store" in metafunc.fixturenames:
        kinds = getattr(metafunc.module, "KINDS", ("valkey", "redis", "cluster"))
        metafunc.parametrize("store", kinds, indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[RealStore | ClusterStore]:
    """A real server of each kind that is installed, and a cluster, which is empty."""
    if request.param == "cluster":
        found: ClusterStore = request.getfixturevalue("cluster")
        found.empty()
        yield found
        return
    if server_of(request.param) is None:
        pytest.skip(f"no {request.param} server here")
    real = RealStore(request.param)
    real.start()
    yield real
    real.close()


@pytest.fixture
async def make(store: RealStore | ClusterStore) -> AsyncIterator[Callable[..., Any]]:
    """Makes buses on the store; all are stopped afterwards."""
    made: list[Under] = []

    async def make_one(*, key_ttl: int = 600, name: str = "chat", **options: Any) -> Under:
        settings = Settings(
            master=Master(name=name), store=Store(url=store.url, **options), limits=Limits(key_ttl=key_ttl)
        )
        under = Under(store, settings)
        made.append(under)
        under.bus.start()
        await under.bus.ready(10)
        return under

    yield make_one
    for under in made:
        await under.bus.stop()


@pytest.fixture
async def under(make: Callable[..., Any]) -> Any:
    """One bus with the default settings."""
    return await make()


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """The loop that workers run on."""
    return {"uvloop": uvloop.new_event_loop}
