"""The subscriptions to the rooms of a node's shards, on one connection.

With sharded pub/sub a channel belongs to the node that has its slot: SSUBSCRIBE takes the channels of one slot, and a
node that loses a slot ends the subscriptions there by itself. Before Redis 7 any node passes on what any other
publishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import hiredis

from chatmaster.store.layout import shard_of_name
from workers.bus import keys
from workers.bus.codec import NOTE, unpack_publication
from workers.bus.connection import StoreConnection, pack
from workers.bus.port import Sink
from workers.bus.subscription import CHUNK, Subscription


class NodeSubscription(Subscription):
    """Rooms of some shards. `corrected(words)` gets the node's errors, `lost(shard)` hears of one that is gone.

    `probe_channels` has the channel of this worker's probe in each shard, `sharded()` says whether the nodes know
    sharded pub/sub.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        *,
        probe_channels: Callable[[int], bytes],
        sharded: Callable[[], bool],
        probed: Callable[[bytes], None],
        reconnect: Callable[[], None],
        corrected: Callable[[str], None],
        lost: Callable[[int], None],
    ) -> None:
        super().__init__(name, 0, sink, probe_channel=b"", probed=probed, reconnect=reconnect, refused=corrected)
        self._every = [channel.encode() for channel in keys.shared_channels(name, 0)]  # by shard
        self._shared, self._missing = frozenset(), set()
        self._probe_channels = probe_channels
        self._sharded = sharded
        self._lost = lost
        self.shards: frozenset[int] = frozenset()
        self._confirmed_for: set[int] = set()  # shards whose shared channel the sink was told of

    # ---- shards come and go ------------------------------------------------------------------------

    def take(self, shards: Iterable[int], rooms: dict[bytes, str]) -> None:
        """The node has these shards from now on, with these rooms wanted in them."""
        new = frozenset(shards) - self.shards
        self.shards |= new
        self._shared = frozenset(self._every[shard] for shard in self.shards)
        self._missing.update(self._every[shard] for shard in new)
        self._rooms.update(rooms)
        if self._link is not None:
            self._follow(new, rooms)

    def drop(self, shards: Iterable[int]) -> None:
        """The node does not have these shards any more."""
        gone = frozenset(shards) & self.shards
        if not gone:
            return
        self.shards -= gone
        ended = [channel for channel in self._rooms if shard_of_name(channel.decode()) in gone]
        ended += [self._every[shard] for shard in gone]
        self._shared = frozenset(self._every[shard] for shard in self.shards)
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

    def up(self, link: StoreConnection) -> None:
        self._link = link
        link.replied = self._replied
        self._orders = []
        self._follow(self.shards, self._rooms)

    def _follow(self, shards: frozenset[int], rooms: dict[bytes, str]) -> None:
        assert self._link is not None
        verb = b"SSUBSCRIBE" if self._sharded() else b"SUBSCRIBE"
        # The probe's channel comes after the shared one: a returned probe shows that this one is followed.
        self._link.write(b"".join(pack(verb, self._every[shard], self._probe_channels(shard)) for shard in shards))
        for channel, room in rooms.items():
            self._order(b"SUBSCRIBE", channel, room)

    def down(self) -> None:
        self._link = None
        self._orders = []
        self._unconfirmed = {}
        self._missing = set(self._shared)
        self._confirmed_for.clear()
        self._sink.disconnected(self.shards)

    def subscribe(self, room: str) -> None:
        channel = self._channel(room)
        self._rooms[channel] = room
        self._order(b"SUBSCRIBE", channel, room)

    # ---- out ---------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._scheduled = False
        orders, self._orders = self._orders, []
        if self._link is None:
            return
        by_shard: dict[int, list[tuple[bytes, bytes]]] = {}
        for order in orders:
            by_shard.setdefault(shard_of_name(order[1].decode()), []).append(order)
        before = b"S" if self._sharded() else b""
        for some in by_shard.values():
            start = 0
            while start < len(some):
                verb, stop = some[start][0], start
                while stop < len(some) and stop - start < CHUNK and some[stop][0] == verb:
                    stop += 1
                self._link.write(pack(before + verb, *(channel for _, channel in some[start:stop])))
                start = stop

    # ---- in ----------------------------------------------------------------------------------------

    def _replied(self, reply: Any) -> None:
        if type(reply) is not list:
            if isinstance(reply, hiredis.ReplyError):
                self._refused(str(reply))
            else:
                self._reconnect()
            return
        kind, channel, data = reply
        if kind in (b"smessage", b"message"):
            self._received(channel, data)
        elif channel in self._shared:
            if kind in (b"sunsubscribe", b"unsubscribe"):
                self._lost(shard_of_name(channel.decode()))
            else:
                self._confirmed_shared(channel)
        elif channel in self._unconfirmed:
            self._confirmed(kind.removeprefix(b"s") if kind == b"ssubscribe" else kind, channel)

    def _received(self, channel: bytes, data: bytes) -> None:
        room = self._rooms.get(channel)
        if room is not None:
            if data[0] == NOTE:
                self._sink.received_note(room, data[1:])
            else:
                self._sink.received(room, unpack_publication(data))
        elif channel in self._shared:
            self._received_shared(data)
        elif channel == self._probe_channels(shard_of_name(channel.decode())):
            self._probed(data)

    def _confirmed_shared(self, channel: bytes) -> None:
        self._missing.discard(channel)
        if not self._missing:
            new = self.shards - self._confirmed_for
            self._confirmed_for |= new
            self._sink.shared_subscribed(frozenset(new))
