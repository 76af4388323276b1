"""A connection that arrives: what has to be there before it, how it begins, and what it missed on the way."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from workers.connection import Connection
from workers.control import CONTROL_ROOM
from workers.handover.moves import rejoin
from workers.handover.protocol import Parcel

if TYPE_CHECKING:
    from workers.bus.port import Entry
    from workers.node import Node

logger = logging.getLogger(__name__)

PREPARE_TIMEOUT = 4.0  # seconds; less than the old worker waits
ORDERS_A_PAGE = 500


class Arrivals:
    """What the new worker does with connections that become its own."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def prepare(self, rooms: tuple[str, ...]) -> None:
        """Follow these rooms. A follower lingers for half a minute without members, which is long enough."""
        waiting = len(rooms)
        done = asyncio.Event()

        def live() -> None:
            nonlocal waiting
            waiting -= 1
            if waiting <= 0:
                done.set()

        stops = [self._node.hub.follow(room, _ignore, live=live) for room in rooms]
        if rooms:
            try:
                await asyncio.wait_for(done.wait(), PREPARE_TIMEOUT)
            except TimeoutError:
                logger.warning(
                    "%d of %d rooms are not followed yet; their members will read the log", waiting, len(rooms)
                )
        for stop in stops:
            stop()

    async def take_over(self, parcel: Parcel, sock: socket.socket) -> None:
        """Go on with a connection. Raises OSError where the socket is dead."""
        ws = await self._node.endpoints[0].attach(sock, parcel.socket)
        connection = Connection(self._node, ws, parcel.id)
        connection.user = parcel.user
        connection.opened_at = parcel.opened_at
        connection.messages_in = parcel.messages_in
        connection.ordered = parcel.control.offset
        if parcel.session:
            connection.session.update(parcel.session)
        ws.owner = connection
        self._node.connections[connection.id] = connection
        self._node.registry.thaw(connection.id, parcel.user, connection.remote_ip, parcel.counted)
        self._node.application.thawed(connection, parcel.app)
        rejoin(self._node, connection, parcel.rooms)
        ws.resume_reading()

    async def make_up_for_orders(self, parcels: list[Parcel]) -> None:
        """Carry out the orders that came for them after they were written down and before they were here."""
        here = self._node.hub.position(CONTROL_ROOM)
        if here is None or not parcels:
            return
        after = min(parcel.control.offset for parcel in parcels)
        while after < here.offset:
            page = await self._node.bus.read(CONTROL_ROOM, after=after, limit=ORDERS_A_PAGE, max_bytes=1 << 20)
            for entry in page.entries:
                self._node.carry_out(entry)
            if not page.entries:
                return
            after = page.entries[-1].offset


def _ignore(entry: Entry) -> None:
    """Only being followed matters."""
