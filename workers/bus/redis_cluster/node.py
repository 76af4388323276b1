"""One node of a cluster that has shards: its three connections, and the probe that shows whether it serves this
worker."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import hiredis

from chatmaster.store import layout
from chatmaster.store.cluster_map import Address
from chatmaster.store.refusals import explained
from workers.addressing import PROBE
from workers.bus.connection import StoreConnection, pack
from workers.bus.health import DEAF_AFTER, HealthProbe
from workers.bus.outage_log import Outage
from workers.bus.port import BusError, Sink, StoreRefused
from workers.bus.reconnect import Reconnector
from workers.bus.redis_cluster.node_link import NodeLink, ReplyReceiver
from workers.bus.redis_cluster.node_subscription import NodeSubscription
from workers.bus.script import Script, ScriptTable, load_own
from workers.bus.store_bus import State
from workers.bus.store_url import Opener

logger = logging.getLogger(__name__)

FOR_WRITING: Final = "for writing"
_INFO: Final = pack("INFO", "replication")

# Runs a script of the probe in a shard: script, keys, arguments, done.
RunProbe = Callable[[int, Script, list[str], list[Any], Callable[[Any], None]], None]


class ClusterNode:
    """One node. `usable(node)` is called when commands, or questions, may be sent, `gone` when a connection broke, and
    `reigned(replid)` at each connect.

    `token` is this worker's, and part of its probe's channels.
    """

    def __init__(
        self,
        address: Address,
        opener: Opener,
        *,
        name: str,
        sink: Sink,
        scripts: ScriptTable,
        sharded: Callable[[], bool],
        usable: Callable[[ClusterNode], None],
        gone: Callable[[], None],
        reigned: Callable[[str], None],
        corrected: Callable[[Address, str], None],
        lost: Callable[[int], None],
        run_probe: RunProbe,
        store_answers: Callable[[Address], Awaitable[bool]],
        deaf: Callable[[], None],
    ) -> None:
        self.address = address
        self._name = name
        self._reigned = reigned
        self._corrected = corrected
        self._run_probe = run_probe
        self._token = secrets.token_hex(8)
        self.outage = Outage()
        self.used = 0.0  # time.monotonic() when commands were last sent here
        self._probe_script, _ = scripts.add(load_own("probe"))

        def link(reconnect: Callable[[], None]) -> NodeLink:
            return NodeLink(scripts, became_usable=lambda: usable(self), refused=self.refused, reconnect=reconnect)

        self.commands = link(self.reconnect_all)
        self.reads = link(self._reconnect_reads)
        self.probe = HealthProbe(
            publish=self._publish_probe,
            reconnect=self.reconnect_all,
            store_answers=lambda: store_answers(address),
            deaf=deaf,
        )
        self.subscription = NodeSubscription(
            name,
            sink,
            probe_channels=self._probe_channel,
            sharded=sharded,
            probed=self.probe.returned,
            reconnect=self._reconnect_subscription,
            corrected=lambda words: corrected(address, words),
            lost=lost,
        )
        where = f"{address[0]}:{address[1]}"

        def down(part: NodeLink | NodeSubscription) -> Callable[[], None]:
            def told() -> None:
                part.down()
                gone()

            return told

        self._lines = (
            Reconnector(
                f"for commands at {where}", opener, self.outage, up=self._commands_up, down=down(self.commands)
            ),
            Reconnector(f"for reading at {where}", opener, self.outage, up=self.reads.up, down=down(self.reads)),
            Reconnector(
                f"for what is published at {where}", opener, self.outage,
                up=self._subscription_up, down=down(self.subscription),
            ),
        )  # fmt: skip

    # ---- life --------------------------------------------------------------------------------------

    def start(self) -> None:
        for line in self._lines:
            line.start()
        self.probe.start()

    async def stop(self) -> None:
        await self.probe.stop()
        for line in self._lines:
            await line.stop()

    def descriptors(self) -> list[int]:
        """Of the connections that are open now."""
        links = [line.link for line in self._lines if line.link is not None]
        sockets = [link.transport.get_extra_info("socket") for link in links]
        return [sock.fileno() for sock in sockets if sock is not None]

    @property
    def shards(self) -> frozenset[int]:
        """The shards that the node has."""
        return self.subscription.shards

    @property
    def state(self) -> State:
        """As that of the bus."""
        if self.probe.refusal:
            return "refusing"
        if not self.probe.back_at:
            return "starting"
        connected = self.commands.usable and self.subscription.usable
        return "ready" if connected and self.probe.age < DEAF_AFTER else "away"

    # ---- connections -------------------------------------------------------------------------------

    def reconnect_all(self) -> None:
        for line in self._lines:
            line.reconnect()

    def _reconnect_reads(self) -> None:
        self._lines[1].reconnect()

    def _reconnect_subscription(self) -> None:
        self._lines[2].reconnect()

    def _commands_up(self, link: StoreConnection) -> None:
        self._reads_follow()
        self.commands.up(link)
        self.commands.write(_INFO, 1, _Reign(self._reigned))
        if self.subscription.usable:
            self.probe.send()

    def _subscription_up(self, link: StoreConnection) -> None:
        self._reads_follow()
        self.subscription.up(link)
        self.probe.send()

    def _reads_follow(self) -> None:
        """What is read must not come from a node that was deposed: the probe does not pass through that connection."""
        if self.probe.back_at:  # else this is the beginning, and all three are being opened
            self._reconnect_reads()

    def refused(self, words: str) -> None:
        """The node refuses whatever comes."""
        self.outage.refused(explained(words, self._name))

    # ---- the probe ---------------------------------------------------------------------------------

    def _probe_channel(self, shard: int) -> bytes:
        return layout.channel_in(self._name, 0, shard, f"{PROBE}-{self._token}").encode()

    def _publish_probe(self, stamp: bytes) -> None:
        shard = min(self.shards, default=None)
        if shard is None:
            self.probe.returned(stamp)  # nothing is expected of a node without shards
            return
        own = layout.keys_in(self._name, shard, PROBE, "stamp", "log", "map")
        self._run_probe(shard, self._probe_script, own, [self._probe_channel(shard), stamp], self._probe_answered)

    def _probe_answered(self, reply: Any) -> None:
        if isinstance(reply, StoreRefused):
            self.probe.refused(str(reply))
            why = f"the store writes nothing: {explained(str(reply), self._name)}"
            self.outage.failed(FOR_WRITING, StoreRefused(why))
        elif not isinstance(reply, BusError):
            self.probe.taken()
            self.outage.over(FOR_WRITING)


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
