"""Adoption: follow the rooms before connections arrive, attach the connections, and catch up on missed orders."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from workers.bus.port import Position
from workers.handover.migration import rejoin
from workers.handover.protocol import ConnectionSnapshot
from workers.node import control_room
from workers.node.client_connection import ClientConnection
from workers.node.control_room import ORDER_ROOMS

if TYPE_CHECKING:
    from workers.node.node import Node
    from workers.rooms.room import Room
    from workers.transport.endpoint import Endpoint
    from workers.transport.websocket import WebSocket

logger = logging.getLogger(__name__)

PREPARE_TIMEOUT = 8.0  # seconds; less than the old worker waits
ORDERS_A_PAGE = 500
STOPS_A_TURN = 500  # rooms that one turn of the loop stops following


class HeldConnection:
    """A connection that is held: its snapshot, its descriptor, and what its application wrote after the snapshot."""

    __slots__ = ("close", "fd", "frames", "snapshot")

    def __init__(self, snapshot: ConnectionSnapshot, fd: int) -> None:
        self.snapshot = snapshot
        self.fd = fd
        self.frames = b""
        self.close: tuple[int, str] | None = None

    def add_pending(self, frames: bytes, close: tuple[int, str] | None) -> None:
        """Add what the application of the old worker wrote or closed after the snapshot."""
        self.frames += frames
        self.close = close or self.close


class Adoption:
    """Makes connections of another worker this worker's own."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._kept: list[Room] = []  # the expected rooms
        self._waiting = 0  # rooms that are not followed yet
        self._followed = asyncio.Event()
        self._turn = asyncio.Lock()  # batches are adopted one after the other, each in its own turn of the loop
        self.count = 0
        self.longest_pause = 0.0  # seconds that a connection was in no room

    @property
    def endpoint(self) -> Endpoint | None:
        """The endpoint that adopts connections: one without TLS."""
        return next((one for one in self._node.endpoints if one.is_plain), None)

    def expect(self, rooms: tuple[str, ...]) -> None:
        """Start to follow these rooms, so that arriving connections need not wait."""
        self._waiting += len(rooms)
        keep = self._node.hub.members.keep_room
        self._kept += [keep(room, self) for room in rooms]

    def advance(self) -> None:
        """One more of the expected rooms is followed."""
        self._waiting -= 1
        if not self._waiting:
            self._followed.set()

    async def prepare(self) -> None:
        """Wait until the expected rooms are followed, which they are until `stop_following`."""
        try:
            if self._waiting:
                self._followed.clear()
                await asyncio.wait_for(self._followed.wait(), PREPARE_TIMEOUT)
        except TimeoutError:
            logger.warning("%d rooms are not followed yet; their members will read the log", self._waiting)

    async def stop_following(self) -> None:
        """Stop following the expected rooms; those without members are followed for another half minute."""
        kept, self._kept = self._kept, []
        for number, room in enumerate(kept):
            self._node.hub.members.drop_room(room)
            if number % STOPS_A_TURN == 0:
                await asyncio.sleep(0)

    async def adopt(self, arrived: list[HeldConnection]) -> None:
        """Continue held connections."""
        endpoint = self.endpoint
        assert endpoint is not None  # else there was no credit, and no offer
        async with self._turn:
            self._adopt_batch(arrived, endpoint.attach([(one.fd, one.snapshot.socket) for one in arrived]))

    def _adopt_batch(self, arrived: list[HeldConnection], attached: list[WebSocket | Exception]) -> None:
        for one, ws in zip(arrived, attached, strict=True):
            if isinstance(ws, Exception) or not ws.is_open:
                # The client left during the move.
                logger.info("connection %s was gone when it arrived: %s", one.snapshot.id, ws)
                continue
            try:
                self._adopt_one(one, ws)
            except Exception:  # a bug: fails this connection only
                ws.close_on_exception("the arrival")
            self.count += 1

    def _adopt_one(self, arrived: HeldConnection, ws: WebSocket) -> None:
        node, snapshot = self._node, arrived.snapshot
        connection = ClientConnection(node, ws, snapshot.id)
        connection.become(snapshot.user)
        connection.opened_at = snapshot.opened_at
        for room, offset in zip(ORDER_ROOMS, snapshot.orders, strict=True):
            control_room.hear(connection, room, offset)
        if snapshot.session:
            connection.session.restore(snapshot.session)
        ws.owner = connection
        node.connections[connection.id] = connection
        if arrived.frames:
            ws.write_frame(arrived.frames)
        node.registry.thaw(connection.id, snapshot.user, connection.remote_ip, snapshot.counted)
        node.application.restore(connection, snapshot.app, [at.room for at in snapshot.rooms])
        if arrived.close is not None:
            connection.close(*arrived.close)
            return
        self._enter(connection, snapshot)
        ws.resume_reading()

    def _enter(self, connection: ClientConnection, snapshot: ConnectionSnapshot) -> None:
        """Join the connection to its rooms: at once where a room is followed here, as all should be."""
        rest = self._node.hub.members.arrive(
            connection, [(at.room, Position(at.epoch, at.offset)) for at in snapshot.rooms]
        )
        if len(rest) < len(snapshot.rooms):
            self._note_pause(time.monotonic() - snapshot.left_at)
        if rest:
            names = {name for name, _ in rest}
            some = tuple([at for at in snapshot.rooms if at.room in names])
            rejoin(self._node, connection, some, lambda now: self._note_pause(now - snapshot.left_at))

    def _note_pause(self, pause: float) -> None:
        self.longest_pause = max(self.longest_pause, pause)

    async def catch_up_orders(self, snapshots: list[ConnectionSnapshot]) -> None:
        """Carry out the orders that arrived between the snapshots and the adoption."""
        for place, room in enumerate(ORDER_ROOMS):
            here = self._node.hub.position(room)
            if here is not None and snapshots:
                await self._catch_up(room, min(snapshot.orders[place] for snapshot in snapshots), here.offset)

    async def _catch_up(self, room: str, after: int, until: int) -> None:
        while after < until:
            page = await self._node.bus.read(room, after=after, limit=ORDERS_A_PAGE, max_bytes=1 << 20)
            if page.entries and page.entries[0].offset > after + 1:
                self._node.on_orders_lost(room)
            for entry in page.entries:
                self._node.carry_out(room, entry)
            if not page.entries:
                return
            after = page.entries[-1].offset
