"""The bus over a Redis Cluster: a room's commands and subscription go to the node that has the room's shard.

Each shard has pipelines of its own, which follow it from node to node, so that a room keeps its order; each node has
three connections, which its shards share. A node that is away makes its shards wait, and those alone: their commands
get Unavailable after `store.timeout`, and what the worker follows there catches up when the shard is back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from chatmaster.settings import Settings
from chatmaster.store import url as store_url
from chatmaster.store.cluster_map import SHARD_OF_SLOT, Address, ClusterMap, redirect_of
from chatmaster.store.layout import SHARDS, shard_of, shard_of_name
from workers.bus import keys
from workers.bus.batch_pause import CommandSource
from workers.bus.connection import pack_evalsha
from workers.bus.outage_log import Outage
from workers.bus.pipeline import BATCH, SWEEP, Call, Pipeline
from workers.bus.port import Sink, Unavailable
from workers.bus.publisher import Publisher, Retention
from workers.bus.redis_bus import READS, RedisBus
from workers.bus.redis_cluster.node import ClusterNode
from workers.bus.redis_cluster.node_link import NodeLink
from workers.bus.redis_cluster.shard_pipeline import ShardPipeline
from workers.bus.redis_cluster.topology import Topology
from workers.bus.script import Script, ScriptTable
from workers.bus.server import State, StoreServer, nobody_to_tell
from workers.bus.store_bus import StoreBus
from workers.bus.store_url import Opener
from workers.tasks import Tasks

logger = logging.getLogger(__name__)

IDLE: Final = 30.0  # seconds for which a node without shards keeps its connections
FOR_SHARDS: Final = "for some shards"
STARTING: Final = 3.0  # seconds for which a start waits for a node that does not answer while others do


class Shard:
    """What a worker has of one shard."""

    __slots__ = ("commands", "node", "publisher", "reads", "wanted")

    def __init__(self, commands: ShardPipeline, reads: ShardPipeline, publisher: Publisher) -> None:
        self.commands = commands
        self.reads = reads
        self.publisher = publisher
        self.node: ClusterNode | None = None
        self.wanted: dict[bytes, str] = {}  # rooms by channel

    def move(self, node: ClusterNode | None) -> None:
        """Send what is queued, and what comes, to a node."""
        self.node = node
        if node is None:
            self.commands.node = self.reads.node = None
        else:
            self.commands.follow(node.commands, node.address)
            self.reads.follow(node.reads, node.address)


class ClusterBus(StoreBus):
    """The bus over a cluster of Redis 6.2 or later, or Valkey. Made inside the running loop.

    The arguments are those of `RedisBus`.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        sink: Sink,
        *,
        retention: Retention | None = None,
        on_deaf: Callable[[], None] | None = None,
    ) -> None:
        self._scripts = ScriptTable()
        self._nodes: dict[Address, ClusterNode] = {}
        super().__init__(settings, 0, retention)
        self._sink = sink
        self._deaf = on_deaf or nobody_to_tell
        self._opener = Opener(url, timeout=settings.store.timeout, name=self._name)
        self._sharded = True
        self._began = time.monotonic()
        self._reigns: set[str] = set()
        self._complete = False  # every node has told its reign once
        self._losses = 0
        self._outage = Outage()
        self._tasks = Tasks()
        self._sweeping: asyncio.TimerHandle | None = None
        self._shards = [self._make_shard(number) for number in range(SHARDS)]
        self.publish = self._publish
        self._topology = Topology(
            self._opener, self._opener.hosts, outage=self._outage, apply=self._apply, settled=self._settled
        )

    def _make_shard(self, number: int) -> Shard:
        def pipeline(links: Callable[[Address], NodeLink], *, atomic: bool, batch: int) -> ShardPipeline:
            return ShardPipeline(
                number,
                atomic=atomic,
                timeout=self._settings.store.timeout,
                batch=batch,
                links=links,
                moved=self._moved,
                unsure=self._unsure,
                register=self.script,
            )

        commands = pipeline(lambda address: self._node(address).commands, atomic=True, batch=BATCH)
        reads = pipeline(lambda address: self._node(address).reads, atomic=False, batch=READS)
        publisher = Publisher(
            commands, self._sink, name=self._name, database=0, seed=self._seed, retention=self._retention,
            key_ttl=self._settings.limits.key_ttl,
        )  # fmt: skip
        return Shard(commands, reads, publisher)

    # ---- life --------------------------------------------------------------------------------------

    def start(self) -> None:
        self._topology.start()
        self._sweep()

    async def stop(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._topology.stop()
        await self._tasks.cancel()
        nodes, self._nodes = list(self._nodes.values()), {}
        for node in nodes:
            await node.stop()
        for shard in self._shards:
            shard.commands.stop()
            shard.reads.stop()

    async def ready(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self.state != "ready":
            if time.monotonic() > deadline:
                raise Unavailable(self.why or "the cluster did not answer in time")
            await asyncio.sleep(0.01)

    @property
    def state(self) -> State:
        """`ready` where one node is: rooms of others wait. At the start all are waited for, for a while."""
        states = {node.state for node in self._serving()}
        waits = time.monotonic() - self._began < STARTING and (not self._whole() or "starting" in states)
        if "ready" in states:
            return "starting" if waits else "ready"
        if "refusing" in states:
            return "refusing"
        return "away" if "away" in states or (not states and self._reigns) else "starting"

    @property
    def servers(self) -> list[StoreServer]:
        return [*self._serving()]

    def descriptors(self) -> list[int]:
        return [one for node in self._nodes.values() for one in node.descriptors()]

    @property
    def publish_failures(self) -> int:
        return sum(shard.publisher.failures for shard in self._shards)

    @property
    def losses(self) -> int:
        return self._losses

    def hold_back(self, source: CommandSource) -> None:
        """See StoreBus: no batch waits here, since each shard has batches of its own."""

    def _outages(self) -> list[Outage]:
        return [self._outage, *super()._outages()]

    # ---- where commands go -------------------------------------------------------------------------

    def _publish(self, room: str, payload: bytes, **options: Any) -> None:
        """See the port."""
        self._shards[shard_of(room)].publisher.publish(room, payload, **options)

    def _commands_of(self, name: str) -> Pipeline:
        return self._shards[shard_of_name(name)].commands

    def _reads_of(self, name: str) -> Pipeline:
        return self._shards[shard_of_name(name)].reads

    def script(self, script: Script) -> Script:
        """Register a script, for every node; use what is returned with `call`."""
        made, new = self._scripts.add(script)
        if new:
            for node in self._nodes.values():
                node.commands.load([made])
                node.reads.load([made])
        return made

    def together(self, rooms: Sequence[str]) -> list[list[str]]:
        groups: dict[int, list[str]] = {}
        for room in rooms:
            groups.setdefault(shard_of(room), []).append(room)
        return list(groups.values())

    def split(self, script_keys: Sequence[str]) -> list[list[int]]:
        groups: dict[int, list[int]] = {}
        for at, key in enumerate(script_keys):
            groups.setdefault(shard_of_name(key), []).append(at)
        return list(groups.values())

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(SWEEP, self._sweep)
        now = loop.time()
        for shard in self._shards:
            if len(shard.commands):
                shard.commands.expire(now)
            if len(shard.reads):
                shard.reads.expire(now)

    # ---- subscribing -------------------------------------------------------------------------------

    def follows(self, room: str) -> bool:
        number = shard_of(room)
        node = self._shards[number].node
        return keys.shares_channel(room) and node is not None and node.subscription.has_shared(number)

    def subscribe(self, room: str) -> None:
        if keys.shares_channel(room):
            if self.follows(room):
                self._sink.subscribed(room)
            return
        shard = self._shards[shard_of(room)]
        shard.wanted[self.channel(room).encode()] = room
        if shard.node is not None:
            shard.node.subscription.subscribe(room)

    def unsubscribe(self, room: str) -> None:
        shard = self._shards[shard_of(room)]
        shard.wanted.pop(self.channel(room).encode(), None)
        if shard.node is not None:
            shard.node.subscription.unsubscribe(room)
        elif keys.shares_channel(room):
            self._sink.unsubscribed(room)
        else:
            asyncio.get_running_loop().call_soon(self._ended, room)

    def _ended(self, room: str) -> None:
        if self.channel(room).encode() not in self._shards[shard_of(room)].wanted:
            self._sink.unsubscribed(room)

    # ---- the map -----------------------------------------------------------------------------------

    def _serving(self) -> list[ClusterNode]:
        return [node for node in self._nodes.values() if node.shards]

    def _whole(self) -> bool:
        return all(shard.node is not None for shard in self._shards)

    def _settled(self) -> bool:
        """Whether every shard has a node that takes commands, and tells what is published."""
        return self._whole() and all(node.commands.usable and node.subscription.usable for node in self._serving())

    def _apply(self, found: ClusterMap) -> None:
        """A node told who has what."""
        if found.sharded != self._sharded:
            self._sharded = found.sharded
            for node in self._nodes.values():
                node.reconnect_all()
        self.publish_verb = "SPUBLISH" if found.sharded else "PUBLISH"
        self._assign(enumerate(found.owners))
        if away := found.owners.count(None):
            words = f"no node serves {away} of {SHARDS} shards: their rooms are unavailable"
            self._outage.failed(FOR_SHARDS, Unavailable(words))
        else:
            self._outage.over(FOR_SHARDS)
        unused = time.monotonic() - IDLE
        for address in [one for one, node in self._nodes.items() if not node.shards and node.used < unused]:
            self._tasks.start(self._nodes.pop(address).stop(), what="leave a node of the cluster")

    def _assign(self, owners: Iterable[tuple[int, Address | None]]) -> None:
        """Give shards to nodes; those that lose some are told first."""
        moves: list[tuple[int, ClusterNode | None]] = []
        lost: dict[ClusterNode, list[int]] = {}
        won: dict[ClusterNode, list[int]] = {}
        for number, address in owners:
            old, new = self._shards[number].node, None if address is None else self._node(address)
            if old is new:
                continue
            moves.append((number, new))
            if old is not None:
                lost.setdefault(old, []).append(number)
            if new is not None:
                won.setdefault(new, []).append(number)
        for node, numbers in lost.items():
            node.subscription.drop(numbers)
        for number, new in moves:
            self._shards[number].move(new)
        for node, numbers in won.items():
            wanted = {channel: room for one in numbers for channel, room in self._shards[one].wanted.items()}
            node.subscription.take(numbers, wanted)

    def _node(self, address: Address) -> ClusterNode:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = ClusterNode(
                address,
                self._opener.at(address),
                name=self._name,
                timeout=self._settings.store.timeout,
                sink=self._sink,
                scripts=self._scripts,
                sharded=lambda: self._sharded,
                usable=self._usable,
                gone=self._topology.doubt,
                reigned=self._reigned,
                corrected=self._corrected,
                lost=self._lost,
                run_probe=self._run_probe,
                deaf=self._deaf,
            )
            node.start()
        node.used = time.monotonic()
        return node

    def _usable(self, node: ClusterNode) -> None:
        for number in node.shards:
            self._shards[number].commands.wake()
            self._shards[number].reads.wake()
        self._topology.doubt()  # a node that is back may have lost its shards

    def _reigned(self, replid: str) -> None:
        """A node has this reign; one that was not seen before may have forgotten what an earlier one had taken."""
        if replid in self._reigns:
            return
        self._reigns.add(replid)
        if self._complete:
            self._losses += 1
        self._complete = self._complete or (self._whole() and len(self._reigns) >= len(self._serving()))

    def _moved(self, number: int, address: Address) -> None:
        """A node says that another has the shard."""
        self._assign([(number, address)])
        self._topology.doubt()

    def _unsure(self, words: str) -> None:
        """A node refuses what it should take."""
        logger.debug("a node of the cluster refuses: %s", words)
        self._topology.doubt()

    def _lost(self, number: int) -> None:
        """The node of a shard ended the subscriptions there: the shard has moved."""
        self._assign([(number, None)])
        self._topology.doubt()

    def _corrected(self, address: Address, words: str) -> None:
        """The node refused a subscription."""
        node = self._nodes.get(address)
        redirect = redirect_of(words, address)
        if node is None:
            return
        if redirect is not None and (number := SHARD_OF_SLOT.get(redirect.slot)) is not None:
            self._assign([(number, None)])
        else:
            node.subscription_refused(words)
        self._topology.doubt()

    def _run_probe(
        self, number: int, script: Script, own: list[str], args: list[Any], done: Callable[[Any], None]
    ) -> None:
        packed = pack_evalsha(script.sha, own, args)
        self._shards[number].commands.send(Call(packed, done, again=True))


def bus_for(
    url: str,
    settings: Settings,
    sink: Sink,
    *,
    retention: Retention | None = None,
    on_deaf: Callable[[], None] | None = None,
) -> StoreBus:
    """The bus for a store's URL. Raises ValueError for a URL of none of the forms."""
    kind = ClusterBus if store_url.parse(url).is_cluster else RedisBus
    return kind(url, settings, sink, retention=retention, on_deaf=on_deaf)
