"""`Node`: one running worker process; it connects transport, rooms, presence and the application.

`process/composition.py` builds the node. Every event of a connection passes through the node to the application.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from workers.addressing import ALL_ROOM, SENDS_ROOM, inbox_of, is_internal, scoped
from workers.asked_backend import AskedBackend
from workers.bus.port import Entry, Placed
from workers.close_codes import CloseCode
from workers.cluster.keys import MEMBERS_MOST
from workers.connection import ConnectionLost, ConnectionTimedOut
from workers.node import control_room
from workers.node.client_connection import NO_ORDERS, ClientConnection, new_connection_id
from workers.node.control_room import ORDER_ROOMS
from workers.node.counters import Counters
from workers.node.remote_cluster import RemoteCluster
from workers.payload import packed
from workers.tasks import Tasks, answer_of

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from chatmaster.contract import Launch
    from workers.bus.store_bus import StoreBus
    from workers.cluster.lease import Lease
    from workers.node.application import Application
    from workers.node.bindings import Bindings
    from workers.presence import Presence, PresenceChange
    from workers.registry import Registry
    from workers.rooms.hub import Hub
    from workers.transport.endpoint import Endpoint
    from workers.transport.ports import OpenSocket
    from workers.worker import Worker

logger = logging.getLogger(__name__)


class Transfer(Protocol):
    """One side of a handover."""

    peer: str  # the sibling's process

    @property
    def settled(self) -> bool:
        """True while each connection certainly belongs to one of the two workers."""

    def peer_reaped(self) -> None:
        """The master has reaped the peer."""

    def decline(self) -> None:
        """Take no more connections: this worker itself is about to end."""


class Outside(Protocol):
    """What answers programs outside, and other workers that ask for them; see `workers.verbs`."""

    def receive_note(self, room: str, note: bytes) -> None:
        """A note came through one of the server's own rooms."""

    def carry_out(self, order: control_room.Act, connection: ClientConnection | None) -> None:
        """Do what was ordered for a connection, and answer; None: it is not here."""

    def reaped(self, process: str) -> None:
        """A sibling is dead and waited for."""


class Node:
    """One worker process: its connections and the services they use."""

    # Set by the composition root, in this order, before anything is accepted.
    bus: StoreBus
    hub: Hub
    lease: Lease
    presence: Presence
    registry: Registry
    bindings: Bindings
    application: Application

    def __init__(self, launch: Launch, worker: Worker) -> None:
        self.launch = launch
        master = launch.settings.master
        own = msgspec.structs.replace(master, name=scoped(master.name, worker.scope))
        self.settings = msgspec.structs.replace(launch.settings, master=own)
        self.worker = worker
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()  # of the loop
        self.context = contextvars.copy_context()  # in which calls from other threads run
        self.tasks = Tasks()
        self.counters = Counters()
        self.connections: dict[str, ClientConnection] = {}
        self.endpoints: list[Endpoint] = []
        self.http_state: dict[str, Any] = {}  # of the lifespan of the program's ASGI application
        self._heard = dict.fromkeys(ORDER_ROOMS, 0)  # the offset of the last order of each log
        self._tops = NO_ORDERS  # how far each log has been followed
        self.transfers: list[Transfer] = []  # handovers with siblings under way
        self.moving: set[str] = set()  # ids of connections that are moving to another worker
        self.backend = AskedBackend(self.settings.hooks, master.name)
        self.when_empty = asyncio.Event()
        self.on_deaf: Callable[[], None] = _nobody
        self.why_not_welcome: Callable[[], str | None] = _nobody  # why no new client should come to this host
        self.outside: Outside | None = None  # set once the application has started
        self.routes: Sequence[BaseRoute] = ()  # what the site serves beside the page and the operator's paths
        self.api_routes: Sequence[BaseRoute] = ()  # what is served at `api.listen`

    @property
    def index(self) -> int:
        """The number of this process among those of the same Worker, from 0."""
        return self.launch.index

    def cluster_of(self, scope: str) -> RemoteCluster:
        """The connections of another Worker of the same program, which keeps its rooms under `scope`."""
        return RemoteCluster(self.bus, self.launch.settings, scope)

    # ---- told by the transport ---------------------------------------------------------------------

    def on_open(self, ws: OpenSocket) -> ClientConnection:
        """A handshake is done; the returned connection owns the transport from now on."""
        connection = ClientConnection(self, ws, new_connection_id(), self._tops)
        self.connections[connection.id] = connection
        self.application.on_open(connection)
        return connection

    def on_close(self, connection: ClientConnection, code: int, reason: str) -> None:
        if code == CloseCode.ABNORMAL:
            self.application.on_lost(connection, ConnectionLost(f"{connection.remote_ip} went away"))
        elif code in (CloseCode.NO_ANSWER, CloseCode.TOO_SLOW):
            self.application.on_lost(connection, ConnectionTimedOut(reason or f"closed with {code}"))
        self.application.on_close(connection, code, reason)
        self.hub.members.leave_all(connection)
        self.forget(connection)

    def forget(self, connection: ClientConnection) -> None:
        """Drop a connection that is closed or belongs to another process."""
        self.registry.release(connection.id)
        self.connections.pop(connection.id, None)
        connection.app = None  # breaks a reference cycle: both objects are freed at once
        if not self.connections:
            self.when_empty.set()

    def on_write_paused(self, connection: ClientConnection) -> None:
        connection.paused = True
        self.hub.members.pause(connection)
        self.application.on_write_paused(connection)

    def on_write_resumed(self, connection: ClientConnection) -> None:
        connection.paused = False
        self.hub.members.resume(connection)
        self.application.on_write_resumed(connection)

    def cut(self, connection: ClientConnection, code: int) -> None:
        logger.info("connection %s reads too slowly and does not catch up: closed with %d", connection.id, code)
        connection.close(code, "reads too slowly")

    # ---- over all workers --------------------------------------------------------------------------

    async def publish(self, room: str, payload: bytes, *, form: str, exclude: str = "") -> Placed:
        """Append to a room's log. Raises BusError."""
        return await answer_of(lambda done: self.hub.publish(room, payload, form=form, done=done, exclude=exclude))

    async def _publish_data(self, room: str, data: str | bytes, exclude: tuple[str, ...]) -> None:
        payload, form = packed(data)
        await self.publish(room, payload, form=form, exclude=",".join(exclude))

    async def broadcast(self, data: str | bytes, *, exclude: tuple[str, ...] = ()) -> None:
        await self._publish_data(ALL_ROOM, data, exclude)

    async def send_to_room(self, room: str, data: str | bytes, *, exclude: tuple[str, ...] = ()) -> None:
        await self._publish_data(room, data, exclude)

    async def send_to_user(self, user: str, data: str | bytes, *, exclude: tuple[str, ...] = ()) -> None:
        await self._publish_data(inbox_of(user), data, exclude)

    async def send_to_connection(self, connection: str, data: str | bytes) -> None:
        await self.order(control_room.send_to(connection, data))

    async def kick(self, connection: str, *, reason: str = "") -> None:
        await self.order(control_room.KickConnection(connection, reason))

    async def order(self, order: control_room.SendTo | control_room.KickConnection | control_room.Act) -> None:
        """Send an order to every worker. Raises BusError."""
        await self.publish(control_room.room_of(order), control_room.encode(order), form="t")

    def follow_orders(self) -> None:
        """Follow the orders of other workers from now on."""
        for room in ORDER_ROOMS:
            missed = partial(self.on_orders_lost, room)
            self.hub.follow(room, partial(self._on_order, room), live=self._note_tops, missed=missed)

    def _note_tops(self) -> None:
        """A log is followed farther: what is in it by now is older than a connection that is opened from now on."""
        control, names, sends = [self.hub.offset(room) for room in ORDER_ROOMS]
        self._tops = control, names, sends

    def _on_order(self, room: str, entry: Entry) -> None:
        """An order arrived."""
        self._note_tops()
        if entry.offset <= self._heard[room]:  # the store lost the log and starts again at 1
            for connection in self.connections.values():
                control_room.hear(connection, room, 0)
        self._heard[room] = entry.offset
        self.carry_out(room, entry)

    def on_orders_lost(self, room: str) -> None:
        """Orders are lost: the log was trimmed while this worker could not read it, or the store lost the log."""
        self._note_tops()
        if room == SENDS_ROOM:
            logger.warning("messages to single connections are lost; see the log lines before this one")
        self.application.on_orders_lost(room)

    def carry_out(self, room: str, entry: Entry) -> None:
        """Carry out an order; it may be repeated for connections that arrived since."""
        order = control_room.understood(entry.payload)
        if order is None:
            return
        if isinstance(order, control_room.TellChat):
            self.application.on_order(bytes(order.body), entry.offset)
            return
        connection = self.connections.get(order.connection)
        # The worker that has the connection carries the order out, once; for a moving connection the receiver does.
        if connection is None or connection.id in self.moving:
            if isinstance(order, control_room.Act) and self.outside is not None:
                self.outside.carry_out(order, None)
            return
        if entry.offset <= control_room.heard(connection, room):
            return
        control_room.hear(connection, room, entry.offset)
        if isinstance(order, control_room.Act):
            if self.outside is not None:
                self.outside.carry_out(order, connection)
        elif isinstance(order, control_room.SendTo):
            connection.send(control_room.data_of(order))
        else:
            connection.close(CloseCode.REMOVED, order.reason or "kicked")

    async def is_online(self, user: str) -> bool:
        return await self.registry.is_online(user)

    async def online(self) -> int:
        return await self.registry.count()

    async def members(self, room: str) -> list[dict[str, Any]]:
        members, _ = await self.members_and_count(room)
        return members

    async def members_and_count(self, room: str) -> tuple[list[dict[str, Any]], int]:
        """At most MEMBERS_MOST users of a room, and how many there are. Raises BusError."""
        found = await self.presence.members(room, MEMBERS_MOST)
        return [msgspec.to_builtins(member) for member in found.members], found.count

    def on_note(self, room: str, note: bytes) -> None:
        """A note, which is not stored, arrived through a room's channel."""
        if is_internal(room):
            if self.outside is not None:
                self.outside.receive_note(room, note)
        elif not self.presence.received_note(room, note):
            self.application.on_note(room, note)

    def on_presence_change(self, room: str, change: PresenceChange) -> None:
        """The users present in a room have changed."""
        self.application.on_presence_change(room, change)

    def on_reaped(self, process: str) -> None:
        """The master has reaped a dead sibling."""
        self.lease.mark_lost(process)
        self.presence.reap(process)
        if self.outside is not None:
            self.outside.reaped(process)
        for transfer in list(self.transfers):
            if transfer.peer == process:
                transfer.peer_reaped()

    def transfer_began(self, transfer: Transfer) -> None:
        """Connections are about to move; each move waits for turns of the loop, so the hub keeps its turns short."""
        self.transfers.append(transfer)
        self.hub.hasten(haste=True)

    def transfer_ended(self, transfer: Transfer) -> None:
        """No connection moves between the two workers any more."""
        if transfer in self.transfers:
            self.transfers.remove(transfer)
        self.hub.hasten(haste=bool(self.transfers))

    async def admit(self, connection: ClientConnection) -> None:
        """Count a program's connection over all workers; above a limit close it with 4004. Raises BusError."""
        limit = await self.registry.admit(connection.id, connection.user, connection.remote_ip)
        if limit is not None and connection.ws.is_open:
            connection.close(CloseCode.TOO_MANY, f"limit reached: {limit}")

    def request_replacement(self) -> None:
        """Ask for replacement: the store answers other processes but not this one."""
        logger.error("the store answers other processes but not this worker: the worker asks to be replaced")
        self.on_deaf()

    # ---- coming and going --------------------------------------------------------------------------

    def stop_accepting(self) -> None:
        for endpoint in self.endpoints:
            endpoint.stop_accepting()


def _nobody() -> None:
    """Placeholder until the composition root sets a callback."""
