"""What a message, a newcomer, a room and a member cost the stores and the servers, against shards and hosts.

Each run starts its stores (one alone, or a cluster) and its hosts (masters with one worker each, one name, one store),
has clients enter rooms of twelve whose members are spread over the hosts, and has some of them talk at a fixed rate.
CPU is what the kernel says of each process, less what the same processes take while nobody says anything: not
throughput, since stores, hosts and the load share the machine's cores.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis
from msgspec import Struct

from tests.bench import measure
from tests.bench.dialects import CHAT
from tests.bench.loaders import Loader
from tests.bench.servers import LIFTED, pinned
from tests.support.cluster import ClusterServer
from tests.support.server import Chatmaster
from tests.support.store import RedisServer

MEMBERS = 12  # of a room: divisible by one, two and three hosts
PADDING = 100  # bytes of a message beside its time
IDLE = 2.0  # seconds
WARM_UP = 1.0  # seconds


class Setup(Struct, frozen=True):
    """Which stores and hosts."""

    shards: int  # masters of a cluster; 1: a store alone
    hosts: int


SETUPS = tuple(Setup(*pair) for pair in ((1, 1), (3, 1), (6, 1), (1, 2), (1, 3), (6, 3)))


class Cost(Struct, frozen=True):
    """What was measured of one setup; times in µs of CPU, sizes in bytes of the stores' memory."""

    shards: int
    hosts: int
    messages: float  # a second, while it was measured
    store_message: float
    server_message: float  # of all hosts together, with the deliveries to MEMBERS members
    store_newcomer: float
    server_newcomer: float
    store_member: float  # bytes while connected: presence, counts, inbox
    store_kept: float  # bytes of a message that is kept
    store_idle: float  # seconds of CPU a second, of all stores
    server_idle: float


class Store(Struct, frozen=True):
    """The stores of a run."""

    url: str
    pids: tuple[int, ...]
    clients: tuple[redis.Redis, ...]

    @property
    def cpu(self) -> float:
        """Seconds, of all."""
        return sum(measure.cpu_seconds(pid) for pid in self.pids)

    @property
    def memory(self) -> int:
        """Bytes, of all."""
        return sum(int(client.info("memory")["used_memory"]) for client in self.clients)


@contextmanager
def stores(shards: int) -> Iterator[Store]:
    """One store alone, or a cluster of so many masters; none writes to a disk."""
    with tempfile.TemporaryDirectory(prefix="cm-sizing-") as folder:
        if shards == 1:
            with RedisServer(Path(folder), tcp=True) as one:
                yield Store(one.tcp_url, (one.pid,), (one.client,))
            return
        with ClusterServer(Path(folder), masters=shards) as cluster:
            yield Store(cluster.url, tuple(node.pid for node in cluster.nodes), tuple(cluster.clients))


@contextmanager
def hosts_on(url: str, count: int) -> Iterator[list[Chatmaster]]:
    """Masters of one name on one store, each with one worker."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                Chatmaster(workers=1, settings={**LIFTED, "store.url": url, "master.host": f"host-{number}"})
            )
            for number in range(count)
        ]


def _cpu(hosts: Sequence[Chatmaster]) -> float:
    return sum(measure.cpu_seconds(host.pid) for host in hosts)


def run(setup: Setup, *, rooms: int = 100, rate: float = 600.0, seconds: float = 4.0) -> Cost:
    """Measure one setup: so many rooms, and so many messages a second over all of them."""
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        with pinned(cores[-1:]):
            store = stack.enter_context(stores(setup.shards))
        with pinned(cores[:1]):
            hosts = stack.enter_context(hosts_on(store.url, setup.hosts))
        loads = [stack.enter_context(Loader(host.port, cores[-1:])) for host in hosts]
        before = store.cpu, _cpu(hosts), store.memory
        each = MEMBERS // setup.hosts
        for load in loads:
            load.ask("open", count=rooms * each, hello=CHAT.hello, each_room=each)
        for load in loads:
            load.ask("settle", quiet=0.5)
        people = rooms * MEMBERS
        entered = store.cpu, _cpu(hosts), store.memory
        time.sleep(IDLE)
        rested = store.cpu, _cpu(hosts)
        idle = [(late - early) / IDLE for late, early in zip(rested, entered[:2], strict=True)]
        spent, kept = _talk(store, hosts, loads, rooms=rooms, rate=rate, seconds=seconds)
        micro = 1e6 / (rate * seconds)
        return Cost(
            shards=setup.shards,
            hosts=setup.hosts,
            messages=rate,
            store_message=(spent[0] - idle[0] * seconds) * micro,
            server_message=(spent[1] - idle[1] * seconds) * micro,
            store_newcomer=(entered[0] - before[0]) / people * 1e6,
            server_newcomer=(entered[1] - before[1]) / people * 1e6,
            store_member=(entered[2] - before[2]) / people,
            store_kept=kept,
            store_idle=idle[0],
            server_idle=idle[1],
        )


def _talk(
    store: Store, hosts: Sequence[Chatmaster], loads: Sequence[Loader], *, rooms: int, rate: float, seconds: float
) -> tuple[list[float], float]:
    """CPU seconds of stores and hosts for so many seconds of talk; and the bytes that a message takes in the store."""
    memory = store.memory
    for load in loads:
        load.begin(
            "send", message=CHAT.say, seconds=seconds + 2 * WARM_UP, senders=rooms, rate=rate / len(loads),
            padding=PADDING, drain=1.0,
        )  # fmt: skip
    time.sleep(WARM_UP)
    before, began = (store.cpu, _cpu(hosts)), time.monotonic()
    time.sleep(seconds)
    after, took = (store.cpu, _cpu(hosts)), time.monotonic() - began
    sent = sum(int(load.result()["sent"]) for load in loads)
    spent = [(late - early) * seconds / took for late, early in zip(after, before, strict=True)]
    return spent, (store.memory - memory) / sent
