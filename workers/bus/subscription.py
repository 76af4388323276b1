"""The subscription connection: the wanted channels, the store's confirmations, and the incoming messages.

redis-py takes 12 µs for a pub/sub message; this loop takes well under 1 µs before the entry itself is read.

The channels that many rooms share are subscribed to first and for good. A message on such a channel goes to the sink if
the sink wants the message's room, so that such a room costs nothing here, and its subscription is confirmed at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from workers.bus import keys
from workers.bus.codec import NOTE, SHARED_NOTE, room_of, unpack_publication, unpack_shared_note
from workers.bus.connection import StoreConnection, pack
from workers.bus.port import Sink

logger = logging.getLogger(__name__)

CHUNK = 500  # channels in one SUBSCRIBE: the store answers each, and other connections wait meanwhile


class Subscription:
    """Channels and rooms on one connection. `probed(data)` gets the messages of the probe's channel.

    `refused(words)` hears of a refusal by the store, and does about it what is to be done.
    """

    def __init__(
        self,
        name: str,
        database: int,
        sink: Sink,
        *,
        probe_channel: bytes,
        probed: Callable[[bytes], None],
        reconnect: Callable[[], None],
        refused: Callable[[str], None],
    ) -> None:
        self._name = name
        self._database = database
        self._sink = sink
        self._probes = frozenset([probe_channel])
        self._probed = probed
        self._reconnect = reconnect
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._link: StoreConnection | None = None
        self._shared = frozenset(channel.encode() for channel in keys.shared_channels(name, database))
        self._missing = set(self._shared)  # of them, those that the store has not confirmed
        self._rooms: dict[bytes, str] = {}  # wanted, by their own channel
        self._orders: list[tuple[bytes, bytes]] = []  # verb and channel, to be sent at the end of this turn
        self._unconfirmed: dict[bytes, tuple[int, str]] = {}  # orders under way for a channel; the last's answer counts
        self._scheduled = False
        self._refused_since = False  # whether an order was refused on this connection

    def __len__(self) -> int:
        return len(self._rooms)

    @property
    def usable(self) -> bool:
        return self._link is not None

    @property
    def follows_shared(self) -> bool:
        """Whether the store has confirmed the channels that many rooms share."""
        return not self._missing

    def subscribe(self, room: str) -> None:
        if keys.shares_channel(room):
            if self.follows_shared:
                self._sink.subscribed(room)
            return
        channel = self._channel(room)
        self._rooms[channel] = room
        self._order(b"SUBSCRIBE", channel, room)

    def unsubscribe(self, room: str) -> None:
        if keys.shares_channel(room):
            self._sink.unsubscribed(room)
            return
        channel = self._channel(room)
        self._rooms.pop(channel, None)
        if self._link is None:  # the subscription ended with the connection, and no confirmation will come
            self._loop.call_soon(self._ended_without_link, channel, room)
        self._order(b"UNSUBSCRIBE", channel, room)

    def _channel(self, room: str) -> bytes:
        return keys.channel(self._name, self._database, room).encode()

    # ---- the connection ----------------------------------------------------------------------------

    def up(self, link: StoreConnection) -> None:
        """The connection is up; subscribe to all wanted channels again."""
        self._link = link
        link.replied = self._replied
        self._orders = []
        self._refused_since = False
        self._follow_shared(link)
        for channel, room in self._rooms.items():
            self._order(b"SUBSCRIBE", channel, room)

    def _follow_shared(self, link: StoreConnection) -> None:
        # The probe's channel comes after the shared ones: a returned probe shows that all of those are followed.
        link.write(pack(b"SUBSCRIBE", *self._shared, *self._probes))

    def down(self) -> None:
        """The connection is gone, and with it every confirmation that was still due."""
        self._link = None
        self._orders = []
        self._unconfirmed = {}
        self._missing = set(self._shared)
        self._ended()

    def _ended(self) -> None:
        """Tell that the subscriptions ended with the connection."""
        self._sink.disconnected()

    def ask_again(self) -> None:
        """Ask for a channel of the probe once more: a store that forbids subscriptions by now refuses, and says so.

        Where the store refused before, the answer that it does not any more is the time to ask for all channels again.
        """
        channel = min(self._probes, default=None)
        if self._link is not None and channel is not None:
            self._link.write(pack(self._verb(b"SUBSCRIBE"), channel))

    # ---- out ---------------------------------------------------------------------------------------

    def _order(self, verb: bytes, channel: bytes, room: str) -> None:
        if self._link is None:
            return  # `up` asks for everything
        before, _ = self._unconfirmed.get(channel, (0, room))
        self._unconfirmed[channel] = before + 1, room
        self._orders.append((verb, channel))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        orders, self._orders = self._orders, []
        if self._link is not None:
            self._send(self._link, orders)

    def _send(self, link: StoreConnection, orders: Sequence[tuple[bytes, bytes]]) -> None:
        start = 0
        while start < len(orders):
            verb = orders[start][0]
            stop = start
            while stop < len(orders) and stop - start < CHUNK and orders[stop][0] == verb:
                stop += 1
            link.write(pack(self._verb(verb), *(channel for _, channel in orders[start:stop])))
            start = stop

    def _verb(self, verb: bytes) -> bytes:
        """The store's word for SUBSCRIBE or UNSUBSCRIBE."""
        return verb

    # ---- in ----------------------------------------------------------------------------------------

    def _replied(self, reply: Any) -> None:
        if type(reply) is not list:
            self._not_a_message(reply)
            return
        kind, channel, data = reply
        if kind == b"message" or kind == b"smessage":  # faster than a tuple's search
            room = self._rooms.get(channel)
            if room is not None:
                if data[0] == NOTE:
                    self._sink.received_note(room, data[1:])
                else:
                    self._sink.received(room, unpack_publication(data))
            elif channel in self._shared:
                self._received_shared(data)
            elif channel in self._probes:
                self._probed(data)
        elif channel in self._shared:
            self._shared_answered(channel, ended=kind.endswith(b"unsubscribe"))
        elif channel not in self._probes:
            self._confirmed(channel, ended=kind.endswith(b"unsubscribe"))
        elif self._refused_since:
            self._reconnect()

    def _not_a_message(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            self._refused_since = True
            self._refused(str(reply))
        else:
            logger.warning("the subscription received %r; reconnecting", reply)
            self._reconnect()

    def _received_shared(self, data: bytes) -> None:
        """Pass on a message of a shared channel. Most are for users of other workers, so the room is read first."""
        if data[0] == SHARED_NOTE:
            room, note = unpack_shared_note(data)
            if self._sink.wants(room):
                self._sink.received_note(room, note)
        elif self._sink.wants(room := room_of(data)):
            self._sink.received(room, unpack_publication(data))

    def _shared_answered(self, channel: bytes, *, ended: bool) -> None:
        self._missing.discard(channel)
        if not self._missing:
            self._shared_complete()

    def _shared_complete(self) -> None:
        self._sink.shared_subscribed()

    def _confirmed(self, channel: bytes, *, ended: bool) -> None:
        count, room = self._unconfirmed.pop(channel, (1, ""))
        if count > 1:
            self._unconfirmed[channel] = count - 1, room  # a later order for the same channel is under way
        elif not ended:
            if channel in self._rooms:
                self._sink.subscribed(self._rooms[channel])
        elif channel not in self._rooms and room:
            self._sink.unsubscribed(room)

    def _ended_without_link(self, channel: bytes, room: str) -> None:
        if channel not in self._rooms:
            self._sink.unsubscribed(room)
