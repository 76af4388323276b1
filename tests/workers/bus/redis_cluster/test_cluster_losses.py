"""A master of a cluster dies with what its replica had not been sent: everybody in the room is told."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from chatmaster.settings import Settings, Store
from chatmaster.store.layout import shard_of, slot_of
from tests.support.cluster import ClusterNodeProcess, ClusterServer
from tests.workers.rooms.conftest import Side, tell, until
from tests.workers.rooms.peers import Peer
from workers.bus.redis_cluster.cluster_bus import ClusterBus
from workers.cluster.lease import Lease
from workers.rooms.hub import Hub

ROOM = "lobby"


class ClusterSide(Side):
    """One worker's bus and hub, with the lease that notices when the store may have forgotten something."""

    def __init__(self, cluster: ClusterServer, name: str) -> None:
        settings = Settings(store=Store(url=cluster.url, timeout=3.0))
        self.hub = Hub(settings)
        self.bus = ClusterBus(cluster.url, settings, self.hub)  # type: ignore[assignment]
        self.hub.bind(self.bus)
        self.hub.teller = tell
        self.lease = Lease(self.bus, "chat", name)
        self.lease.store_changed = self.hub.losses.store_changed

    async def start(self) -> None:
        await super().start()
        await self.lease.start()

    async def stop(self) -> None:
        await self.lease.stop_renewing()
        await super().stop()


@pytest.fixture
async def two(replicated: ClusterServer) -> AsyncIterator[list[ClusterSide]]:
    """Two workers."""
    made = [ClusterSide(replicated, f"w{number}") for number in range(2)]
    for side in made:
        await side.start()
    yield made
    for side in made:
        await side.stop()


async def say(side: Side, word: str) -> Any:
    return await side.publish(ROOM, word, author="ann", key=word)


def texts(peer: Peer) -> list[str]:
    return [one.get("text", one["type"]) for one in peer.messages()]


def follows(node: ClusterNodeProcess, master: ClusterNodeProcess) -> bool:
    found: Any = node.client.info("replication")
    return bool(found.get("master_port") == master.port)


def has(peer: Peer, words: list[str]) -> bool:
    return texts(peer) == words


@pytest.mark.timeout(120)
async def test_what_a_replica_lacked_is_told_by_the_worker_that_acknowledged_it(
    replicated: ClusterServer, two: list[ClusterSide], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = two
    make: Callable[..., Any] = Peer.connect
    peers = [await make(side.hub) for side in two]
    try:
        for peer in peers:
            await peer.join(ROOM)
        await say(one, "kept")
        for peer in peers:
            await until(partial(has, peer, ["kept"]))
        master = replicated.master_of(slot_of(shard_of(ROOM)))
        assert master.client.execute_command("WAIT", 1, 10_000) == 1
        (replica,) = [node for node in replicated.nodes if follows(node, master)]
        replica.freeze()
        master.client.client_kill_filter(_type="replica")  # or the socket keeps for it what is still to come
        await say(one, "lost")
        for peer in peers:
            await until(partial(has, peer, ["kept", "lost"]))
        await asyncio.to_thread(master.kill)
        os.kill(replica.pid, signal.SIGCONT)
        await until(lambda: "what was acknowledged up to offset 2 of" in caplog.text, within=40)
        await say(other, "new")
        for peer in peers:
            await until(lambda peer=peer: texts(peer)[-1] == "new", within=20)  # type: ignore[misc]
            assert [word for word in texts(peer) if word != "gap"] == ["kept", "lost", "reset", "new"]
    finally:
        for peer in peers:
            peer.close()
