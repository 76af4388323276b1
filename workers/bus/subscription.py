"""Owns the subscription connection: what is wanted, what the store confirmed, and what comes in.

redis-py takes 12 µs for a pub/sub message; this loop takes well under one before the entry itself is read.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from workers.bus.envelope import unpack_publication
from workers.bus.link import Link
from workers.bus.packing import pack
from workers.bus.port import Sink

logger = logging.getLogger(__name__)

CHUNK = 500  # channels in one SUBSCRIBE: the store answers each, and other connections wait meanwhile
NOTE = ord("n")  # the first byte of a note; a publication begins with a digit


class Subscription:
    """Channels and rooms on one connection. `probed(data)` gets what comes on the probe's channel."""

    def __init__(self, prefix: str, sink: Sink, *, probe_channel: bytes, probed: Any, reconnect: Any) -> None:
        self._prefix = prefix
        self._sink = sink
        self._probe_channel = probe_channel
        self._probed = probed
        self._reconnect = reconnect
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._rooms: dict[bytes, str] = {}  # wanted
        self._orders: list[tuple[bytes, bytes]] = []  # verb and channel, to be sent at the end of this turn
        self._unconfirmed: dict[bytes, int] = {}  # orders under way for a channel; the last one's answer counts
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._rooms)

    @property
    def usable(self) -> bool:
        return self._link is not None

    def subscribe(self, room: str) -> None:
        channel = self._channel(room)
        self._rooms[channel] = room
        self._order(b"SUBSCRIBE", channel)

    def unsubscribe(self, room: str) -> None:
        channel = self._channel(room)
        self._rooms.pop(channel, None)
        if self._link is None:  # it ended with the connection, and nobody else would say so
            self._loop.call_soon(self._ended_without_link, channel)
        self._order(b"UNSUBSCRIBE", channel)

    def _channel(self, room: str) -> bytes:
        return f"{self._prefix}:{{{room}}}".encode()

    # ---- the connection ----------------------------------------------------------------------------

    def up(self, link: Link) -> None:
        """A connection is there; everything that is wanted is asked for again."""
        self._link = link
        link.replied = self._replied
        self._orders = []
        link.write(pack(b"SUBSCRIBE", self._probe_channel))
        for channel in self._rooms:
            self._order(b"SUBSCRIBE", channel)

    def down(self) -> None:
        """The connection is gone, and with it every answer that was still due."""
        self._link = None
        self._orders = []
        self._unconfirmed = {}
        self._sink.disconnected()

    # ---- out ---------------------------------------------------------------------------------------

    def _order(self, verb: bytes, channel: bytes) -> None:
        if self._link is None:
            return  # `up` asks for everything
        self._unconfirmed[channel] = self._unconfirmed.get(channel, 0) + 1
        self._orders.append((verb, channel))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        orders, self._orders = self._orders, []
        if self._link is None:
            return
        start = 0
        while start < len(orders):
            verb = orders[start][0]
            stop = start
            while stop < len(orders) and stop - start < CHUNK and orders[stop][0] == verb:
                stop += 1
            self._link.write(pack(verb, *(channel for _, channel in orders[start:stop])))
            start = stop

    # ---- in ----------------------------------------------------------------------------------------

    def _replied(self, reply: Any) -> None:
        if type(reply) is not list:
            logger.warning("the subscription got %r; connecting anew", reply)
            self._reconnect()
            return
        kind, channel, data = reply
        if kind == b"message":
            room = self._rooms.get(channel)
            if room is not None:
                if data[0] == NOTE:
                    self._sink.received_note(room, data[1:])
                else:
                    self._sink.received(room, unpack_publication(data))
            elif channel == self._probe_channel:
                self._probed(data)
        elif channel != self._probe_channel:
            self._confirmed(kind, channel)

    def _confirmed(self, kind: bytes, channel: bytes) -> None:
        left = self._unconfirmed.get(channel, 0) - 1
        if left > 0:
            self._unconfirmed[channel] = left  # a later order for the same channel is under way
            return
        self._unconfirmed.pop(channel, None)
        if kind == b"subscribe":
            room = self._rooms.get(channel)
            if room is not None:
                self._sink.subscribed(room)
        elif channel not in self._rooms:
            self._sink.unsubscribed(self._room_of(channel))

    def _ended_without_link(self, channel: bytes) -> None:
        if channel not in self._rooms:
            self._sink.unsubscribed(self._room_of(channel))

    def _room_of(self, channel: bytes) -> str:
        return channel.decode()[len(self._prefix) + 2 : -1]
