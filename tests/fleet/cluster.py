"""The stores of a fleet as a Redis Cluster: three masters with a replica each, in the store's namespace."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

import redis

from chatmaster.store import layout
from chatmaster.store.layout import slot_of
from tests.chaos.archive import Archive
from tests.fleet.network import STORE, inside
from tests.fleet.stores import ROOM, last_words
from tests.support import processes
from tests.support.store import RedisServer
from tests.support.wait import until

MASTERS: Final = 3
SLOTS: Final = 16384
TIMEOUT: Final = 1500  # ms, after which a node counts as gone
WELL: Final = 60.0  # seconds until the cluster is whole again


class ClusterNode(RedisServer):
    """One server of the cluster."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self.bus_port = processes.free_port()
        options = (
            "--bind", STORE, "--cluster-enabled", "yes", "--cluster-port", str(self.bus_port),
            "--cluster-announce-ip", STORE, "--cluster-node-timeout", str(TIMEOUT),
            "--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0",
        )  # fmt: skip
        super().__init__(folder, tcp=True, fsync="always", options=options, prefix=inside(namespace))

    def command(self, *words: object) -> Any:
        """What the node answers to a CLUSTER command."""
        return self.client.execute_command("CLUSTER", *words)

    @property
    def id(self) -> str:
        """The name under which the other nodes know this one."""
        return str(self.command("MYID").decode())

    @property
    def role(self) -> str:
        """`master`, `slave` with its link up, or "" while it is neither."""
        try:
            found: Any = self.client.info("replication")
        except redis.RedisError:
            return ""
        up = found["role"] == "master" or found.get("master_link_status") == "up"
        return str(found["role"]) if up else ""

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The slots that this node has, by its own account."""
        found: Any = self.command("SLOTS")
        return [(int(start), int(stop)) for start, stop, *servers in found if int(servers[0][1]) == self.port]


class ClusterStores:
    """The nodes; see `Stores`, which has the same face."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self._folder, self._namespace = folder, namespace
        self._nodes = [ClusterNode(folder / f"n{number}", namespace) for number in range(2 * MASTERS)]
        self._readers = 0

    @property
    def url(self) -> str:
        """What the hosts have as `store.url`."""
        return "redis+cluster://" + ",".join(f"{STORE}:{node.port}" for node in self._nodes)

    def start(self) -> None:
        """Start all; returns when every slot is served and every replica follows."""
        for node in self._nodes:
            node.start()
        masters = self._nodes[:MASTERS]
        for number, node in enumerate(masters):
            first, last = (SLOTS * at // MASTERS for at in (number, number + 1))
            node.command("ADDSLOTSRANGE", first, last - 1)
            node.command("SET-CONFIG-EPOCH", number + 1)
        for node in self._nodes[1:]:
            masters[0].command("MEET", STORE, node.port, node.bus_port)
        until(lambda: all(self._knows_all(node) for node in self._nodes), WELL, "the nodes know each other")
        for number, node in enumerate(self._nodes[MASTERS:]):
            node.command("REPLICATE", masters[number].id)
        self.whole()

    def _knows_all(self, node: ClusterNode) -> bool:
        answer: Any = node.command("INFO")
        told = answer if isinstance(answer, dict) else dict(line.split(":") for line in answer.decode().split())
        return told["cluster_state"] == "ok" and int(told["cluster_known_nodes"]) == 2 * MASTERS

    def whole(self) -> None:
        """Wait until three masters have all slots, and three replicas follow them."""
        until(self._is_whole, WELL, "the cluster is whole")

    def _is_whole(self) -> bool:
        try:
            roles = sorted(node.role for node in self._nodes if node.running)
            slots = sum(stop - start + 1 for node in self.masters for start, stop in node.ranges)
        except redis.RedisError:
            return False
        return roles == ["master"] * MASTERS + ["slave"] * MASTERS and slots == SLOTS

    def close(self) -> None:
        """End all."""
        for node in self._nodes:
            node.kill()

    @property
    def masters(self) -> list[ClusterNode]:
        """The nodes that have slots."""
        return [node for node in self._nodes if node.running and node.role == "master"]

    def owner_of(self, slot: int) -> ClusterNode:
        """The node that has a slot."""
        return next(one for one in self.masters if any(first <= slot <= last for first, last in one.ranges))

    @property
    def master(self) -> ClusterNode:
        """The node that has the crowd's room."""
        return self.owner_of(_slot_of(ROOM))

    # ---- faults ------------------------------------------------------------------------------------------

    def kill_master(self, chance: random.Random) -> Archive | None:
        """Kill a master, half of the times the one with the crowd's room; its replica takes over, and it comes back.

        Returns what it had of the room when it died, of which the replica may lack the last moment.
        """
        home = self.master
        old = home if chance.random() < 0.5 else chance.choice(self.masters)
        ranges = old.ranges
        old.kill()
        had = self._last_words(old) if old is home else None
        until(lambda: self._has_owner(ranges[0][0]), WELL, "a replica takes over")
        old.start()
        self.whole()
        return had

    def _has_owner(self, slot: int) -> bool:
        try:
            return bool(self.owner_of(slot))
        except (StopIteration, redis.RedisError):
            return False

    def _last_words(self, dead: ClusterNode) -> Archive:
        self._readers += 1
        return last_words(dead, self._folder / f"x{self._readers}")

    def reshard(self, chance: random.Random, shards: int) -> None:
        """Move the slots of the crowd's room and of some shards, with their keys, to other nodes, one by one."""
        chosen = {_slot_of(ROOM), *(slot_of(one) for one in chance.sample(range(layout.SHARDS), shards))}
        for slot in sorted(chosen):
            source = self.owner_of(slot)
            self._move(slot, source, chance.choice([one for one in self.masters if one is not source]))

    def _move(self, slot: int, source: ClusterNode, target: ClusterNode) -> None:
        """As redis-cli does it."""
        target.command("SETSLOT", slot, "IMPORTING", source.id)
        source.command("SETSLOT", slot, "MIGRATING", target.id)
        while keys := source.command("GETKEYSINSLOT", slot, 1000):
            for key in keys:
                source.client.execute_command("MIGRATE", STORE, target.port, key, 0, 5000)
        for node in (target, source, *(one for one in self.masters if one not in (target, source))):
            node.command("SETSLOT", slot, "NODE", target.id)


def _slot_of(room: str) -> int:
    return slot_of(layout.shard_of(room))
