"""One suite for every adapter and store: a bus on a real server, and what it told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest
import uvloop

from chatmaster.settings import Limits, Master, Settings, Store
from chatmaster.store.layout import shard_of
from tests.contract.stores import KINDS, ClusterStore, ContractStore, RealStore, SentinelStore, server_of
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
        self._parts: list[tuple[str, frozenset[int] | None]] = []  # events about shards; None: all

    def received(self, room: str, publication: Publication) -> None:
        self.publications.append((room, publication))

    def placed(self, room: str, last: Placed, count: int, seconds: float) -> None:
        self.kept.append((room, last, count))

    def received_note(self, room: str, note: bytes) -> None:
        self.notes.append((room, note))

    def wants(self, room: str) -> bool:
        return room in self.wanted

    def shared_subscribed(self, shards: frozenset[int] | None = None) -> None:
        self._parts.append(("shared", shards))

    def subscribed(self, room: str) -> None:
        self.events.append(f"subscribed {room}")

    def unsubscribed(self, room: str) -> None:
        self.events.append(f"unsubscribed {room}")

    def disconnected(self, shards: frozenset[int] | None = None) -> None:
        self.events.append("disconnected")
        self._parts.append(("disconnected", shards))

    def times(self, what: str, room: str) -> int:
        """How often `disconnected`, or that the channel of its inboxes is followed (`shared`), was told of a room."""
        return sum(name == what and (part is None or shard_of(room) in part) for name, part in self._parts)

    def offsets(self, room: str) -> list[int]:
        return [entry.offset for entry in self.entries(room)]

    def entries(self, room: str) -> list[Entry]:
        return [
            entry
            for name, publication in self.publications
            if name == room
            for entry in publication.entries(len(publication.packed))
        ]


class Under:
    """A bus under test, with what it told."""

    def __init__(self, store: ContractStore, settings: Settings) -> None:
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


async def until(condition: Callable[[], Any], *, within: float = 20.0) -> None:
    """Wait for a condition. Raises AssertionError after `within` seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not come about in time"
        await asyncio.sleep(0.005)


@pytest.fixture(scope="session")
def sentinel() -> Iterator[SentinelStore]:
    """A server behind three sentinels, which all tests share."""
    made = SentinelStore()
    try:
        made.begin()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterStore]:
    """A cluster of three nodes, which all tests share."""
    made = ClusterStore()
    try:
        made.begin()
        yield made
    finally:
        made.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test over every kind of store, or over those that it names by `only_on`."""
    if "store" in metafunc.fixturenames:
        metafunc.parametrize("store", getattr(metafunc.function, "kinds", KINDS), indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[ContractStore]:
    """A store of the kind, which is empty; a server of its own for the kinds that start quickly."""
    if request.param in ("sentinel", "cluster"):
        found: ContractStore = request.getfixturevalue(request.param)
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
async def make(store: ContractStore) -> AsyncIterator[Callable[..., Any]]:
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
