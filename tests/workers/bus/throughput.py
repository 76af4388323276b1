"""How many publishes a second one worker gets acknowledged and hears again, on the embedded store with fsync always.

    python -m tests.workers.bus.throughput [--messages N] [--in-flight K] [--keys]

Prints one JSON line: publishes a second, and the CPU of this process (worker's side) and of the store for each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any

import uvloop

from chatmaster.settings import Settings
from tests.contract.stores import RealStore
from workers.bus.port import BusError, Placed, Publication
from workers.bus.redis_bus import RedisBus

PAYLOAD = b'{"type":"message","room":"lobby","from":{"user":"alice","name":"Alice"},"text":"%b"}' % (b"x" * 60)


class Counting:
    """A sink that counts publications."""

    def __init__(self) -> None:
        self.count = 0
        self.ready = asyncio.Event()

    def received(self, room: str, publication: Publication) -> None:
        self.count += len(publication.packed)

    def placed(self, room: str, last: Placed, count: int, seconds: float) -> None: ...

    def received_note(self, room: str, note: bytes) -> None: ...

    def subscribed(self, room: str) -> None:
        self.ready.set()

    def unsubscribed(self, room: str) -> None: ...

    def wants(self, room: str) -> bool:
        return True

    def shared_subscribed(self, shards: frozenset[int] | None = None) -> None: ...

    def disconnected(self, shards: frozenset[int] | None = None) -> None: ...


class Load:
    """Keeps a number of publishes under way until all are acknowledged."""

    def __init__(self, bus: RedisBus, total: int, *, keys: bool) -> None:
        self._bus = bus
        self._left = total
        self._unanswered = total
        self._keys = keys
        self.failures = 0
        self.over = asyncio.Event()

    def publish(self) -> None:
        if self._left:
            self._left -= 1
            key = str(self._left) if self._keys else ""
            self._bus.publish("lobby", PAYLOAD, form="j", author="alice", key=key, done=self._done)

    def _done(self, result: Placed | BusError) -> None:
        self.failures += isinstance(result, BusError)
        self._unanswered -= 1
        if not self._unanswered:
            self.over.set()
        self.publish()


async def measure(store: RealStore, total: int, in_flight: int, *, keys: bool) -> dict[str, Any]:
    sink = Counting()
    bus = RedisBus(store.url, Settings(), sink)
    bus.start()
    await bus.ready(10)
    bus.subscribe("lobby")
    await sink.ready.wait()
    load = Load(bus, total, keys=keys)
    with store.client() as client:
        store_before, own_before, began = _cpu(client), time.process_time(), time.perf_counter()
        for _ in range(in_flight):
            load.publish()
        await load.over.wait()
        seconds = time.perf_counter() - began
        while sink.count < total - load.failures:
            await asyncio.sleep(0.001)
        own, stores = time.process_time() - own_before, _cpu(client) - store_before
    await bus.stop()
    return {
        "messages": total, "in_flight": in_flight, "keys": keys, "failures": load.failures,
        "per_second": round(total / seconds), "worker_us": round(own / total * 1e6, 1),
        "store_us": round(stores / total * 1e6, 1),
    }  # fmt: skip


def _cpu(client: Any) -> float:
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--in-flight", type=int, default=1000)
    parser.add_argument("--keys", action="store_true", help="give every message an idempotency key")
    options = parser.parse_args()
    store = RealStore("valkey")
    store.start()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            run = measure(store, options.messages, options.in_flight, keys=options.keys)
            print(json.dumps(runner.run(run)))
    finally:
        store.close()


if __name__ == "__main__":
    main()
