"""The subscriptions to the rooms of a node's shards, on one connection.

With sharded pub/sub a channel belongs to the node that has its slot: SSUBSCRIBE takes the channels of one slot, and a
node that loses a slot ends the subscriptions there by itself. Before Redis 7 any node passes on what any other
publishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from chatmaster.store.layout import shard_of_name
from workers.bus import keys
from workers.bus.connection import StoreConnection, pack
from workers.bus.port import Sink
from workers.bus.subscription import Subscription


class NodeSubscription(Subscription):
    """Rooms of some shards. `lost(shard)` hears of one that is gone.

    `probe_channel_of` has the channel of this worker's probe in each shard, `sharded()` says whether the nodes know
    sharded pub/sub.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        *,
        probe_channel_of: Callable[[int], bytes],
        sharded: Callable[[], bool],
        probed: Callable[[bytes], None],
        reconnect: Callable[[], None],
        refused: Callable[[str], None],
        lost: Callable[[int], None],
    ) -> None:
        super().__init__(name, 0, sink, probe_channel=b"", probed=probed, reconnect=reconnect, refused=refused)
        self._every = [channel.encode() for channel in keys.shared_channels(name, 0)]  # by shard
        self._probe_channel_of = probe_channel_of
        self._sharded = sharded
        self._lost = lost
        self._confirmed_for: set[int] = set()  # shards whose shared channel the sink was told of
        self._missing.clear()
        self._have(frozenset())

    def _have(self, shards: frozenset[int]) -> None:
        self.shards: frozenset[int] = shards
        self._shared = frozenset(self._every[shard] for shard in shards)
        self._probes = frozenset(self._probe_channel_of(shard) for shard in shards)

    # ---- shards come and go ------------------------------------------------------------------------

    def take(self, shards: Iterable[int], rooms: dict[bytes, str]) -> None:
        """The node has these shards from now on, with these rooms wanted in them."""
        new = frozenset(shards) - self.shards
        self._have(self.shards | new)
        self._missing.update(self._every[shard] for shard in new)
        self._rooms.update(rooms)
        if self._link is not None:
            self._follow(self._link, new)
            for channel, room in rooms.items():
                self._order(b"SUBSCRIBE", channel, room)

    def drop(self, shards: Iterable[int]) -> None:
        """The node does not have these shards any more."""
        gone = frozenset(shards) & self.shards
        if not gone:
            return
        ended = [channel for channel in self._rooms if shard_of_name(channel.decode()) in gone]
        ended += [self._every[shard] for shard in gone]
        self._have(self.shards - gone)
        self._missing &= self._shared
        for channel in ended:
            self._rooms.pop(channel, None)
            self._unconfirmed.pop(channel, None)
        self._orders = [one for one in self._orders if shard_of_name(one[1].decode()) not in gone]
        self._confirmed_for -= gone
        if self._link is not None and not self._sharded():
            self._link.write(pack(b"UNSUBSCRIBE", *ended))
        self._sink.disconnected(gone)

    def has_shared(self, shard: int) -> bool:
        """Whether the channel that a shard's inboxes share is followed."""
        return shard in self._confirmed_for

    # ---- the connection ----------------------------------------------------------------------------

    def _follow_shared(self, link: StoreConnection) -> None:
        self._follow(link, self.shards)

    def _follow(self, link: StoreConnection, shards: frozenset[int]) -> None:
        # The probe's channel comes after the shared one: a returned probe shows that this one is followed.
        verb = self._verb(b"SUBSCRIBE")
        link.write(b"".join(pack(verb, self._every[shard], self._probe_channel_of(shard)) for shard in shards))

    def _ended(self) -> None:
        self._confirmed_for.clear()
        self._sink.disconnected(self.shards)

    # ---- out and in --------------------------------------------------------------------------------

    def _verb(self, verb: bytes) -> bytes:
        return b"S" + verb if self._sharded() else verb

    def _send(self, link: StoreConnection, orders: Sequence[tuple[bytes, bytes]]) -> None:
        by_shard: dict[int, list[tuple[bytes, bytes]]] = {}
        for order in orders:
            by_shard.setdefault(shard_of_name(order[1].decode()), []).append(order)
        for some in by_shard.values():
            super()._send(link, some)

    def _shared_answered(self, channel: bytes, *, ended: bool) -> None:
        if ended:
            self._lost(shard_of_name(channel.decode()))
        else:
            super()._shared_answered(channel, ended=ended)

    def _shared_complete(self) -> None:
        new = self.shards - self._confirmed_for
        self._confirmed_for |= new
        self._sink.shared_subscribed(frozenset(new))

    def _confirmed(self, channel: bytes, *, ended: bool) -> None:
        if channel in self._unconfirmed:  # else the node ended the subscription by itself: the shard has moved
            super()._confirmed(channel, ended=ended)
