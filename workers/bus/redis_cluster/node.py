"""One node of a cluster that has shards: a server of the store whose connections many pipelines share."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

import hiredis

from chatmaster.store import layout
from chatmaster.store.cluster_map import Address
from workers.addressing import PROBE
from workers.bus.connection import StoreConnection, pack
from workers.bus.port import Sink
from workers.bus.redis_cluster.node_link import NodeLink, ReplyReceiver
from workers.bus.redis_cluster.node_subscription import NodeSubscription
from workers.bus.script import Script, ScriptTable, load_own
from workers.bus.server import StoreServer
from workers.bus.store_url import Opener

_INFO: Final = pack("INFO", "replication")

# Runs a script of the probe in a shard: script, keys, arguments, done.
RunProbe = Callable[[int, Script, list[str], list[Any], Callable[[Any], None]], None]


class ClusterNode(StoreServer):
    """One node. `usable(node)` is called when commands, or questions, may be sent, `gone` when a connection broke, and
    `reigned(replid)` at each connect.
    """

    def __init__(
        self,
        address: Address,
        opener: Opener,
        *,
        name: str,
        timeout: float,
        sink: Sink,
        scripts: ScriptTable,
        sharded: Callable[[], bool],
        usable: Callable[[ClusterNode], None],
        gone: Callable[[], None],
        reigned: Callable[[str], None],
        corrected: Callable[[Address, str], None],
        lost: Callable[[int], None],
        run_probe: RunProbe,
        deaf: Callable[[], None],
    ) -> None:
        super().__init__(
            opener,
            name=name,
            publish_probe=self._publish_stamp,
            question=("CLUSTER", "INFO"),
            whole=lambda answer: b"cluster_state:ok" in answer,
            timeout=timeout,
            deaf=deaf,
        )
        self.address = address
        self._reigned = reigned
        self._run_probe = run_probe
        self._token = secrets.token_hex(8)  # of this worker's probe, in its channels
        self.used = 0.0  # time.monotonic() when commands were last sent here
        self._probe_script, _ = scripts.add(load_own("probe"))

        def link(reconnect: Callable[[], None]) -> NodeLink:
            return NodeLink(scripts, became_usable=lambda: usable(self), refused=self.refused, reconnect=reconnect)

        self.commands = link(self.reconnect_all)
        self.reads = link(self.reconnect_reads)
        self.subscription = NodeSubscription(
            name,
            sink,
            probe_channel_of=self._probe_channel,
            sharded=sharded,
            probed=self.stamp_returned,
            reconnect=self.reconnect_subscription,
            refused=lambda words: corrected(address, words),
            lost=lost,
        )
        where = f"{address[0]}:{address[1]}"
        self.serve(self.commands, self.reads, self.subscription, where=where, gone=gone)

    @property
    def shards(self) -> frozenset[int]:
        """The shards that the node has."""
        return self.subscription.shards

    def _commands_up(self, link: StoreConnection) -> None:
        super()._commands_up(link)
        self.commands.write(_INFO, 1, _Reign(self._reigned))

    # ---- the probe ---------------------------------------------------------------------------------

    def _probe_channel(self, shard: int) -> bytes:
        return layout.channel_in(self._name, 0, shard, f"{PROBE}-{self._token}").encode()

    def _publish_stamp(self, stamp: bytes) -> None:
        shard = min(self.shards, default=None)
        if shard is None:
            self.probe.returned(stamp)  # nothing is expected of a node without shards
            return
        own = layout.keys_in(self._name, shard, PROBE, "stamp", "log", "map")
        self._run_probe(shard, self._probe_script, own, [self._probe_channel(shard), stamp], self.probe_answered)


class _Reign(ReplyReceiver):
    """Reads the node's master_replid out of INFO."""

    __slots__ = ("_told",)

    def __init__(self, told: Callable[[str], None]) -> None:
        self._told = told

    def replied(self, reply: Any) -> None:
        if not isinstance(reply, hiredis.ReplyError):
            _, _, rest = reply.decode().partition("master_replid:")
            self._told(rest[:40])

    def down(self) -> None:
        """The next connection asks again."""
