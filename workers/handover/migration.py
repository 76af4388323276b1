"""Migration: when a connection may move, its snapshot, and how it rejoins its rooms if it stays."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from workers.bus.port import Position
from workers.close_codes import CloseCode
from workers.handover.protocol import MAX_PACKET, ConnectionSnapshot, RoomPosition
from workers.node import control_room
from workers.node.control_room import ORDER_ROOMS
from workers.session import plain

if TYPE_CHECKING:
    from workers.bus.port import BusError
    from workers.node.client_connection import ClientConnection
    from workers.node.node import Node
    from workers.rooms.types import Joined

logger = logging.getLogger(__name__)

Positions = tuple[RoomPosition, ...]

TOLD_APART = 20  # connections per reason that are logged one by one
REJOINS = 5  # attempts to rejoin the rooms, each with the store's timeout
REFUSALS = 3  # times that a connection is offered to a receiver that refuses it
UNREAD = MAX_PACKET // 4  # unused bytes; a connection with more waits, because a snapshot has to fit into a packet


class Migration:
    """Takes the old worker's connections out of their rooms, and back."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._excluded: dict[str, str] = {}  # why a connection can never move, by id
        self._refused: Counter[str] = Counter()

    def may_leave(self, connection: ClientConnection) -> bool:
        """Whether the connection can leave now: its requests are answered, and there is no obstacle.

        The call stops reading from the connection, so that no further request arrives. A connection in the middle of a
        message is read on, since its message would never end otherwise.
        """
        ws = connection.ws
        if self.is_excluded(connection) or not ws.is_open or ws.buffered:
            return False
        if ws.mid_message or ws.unread > UNREAD:
            ws.unquiesce()
            return False
        ws.quiesce()
        return self.at_rest(connection)

    def at_rest(self, connection: ClientConnection) -> bool:
        """Whether no request, join or binding of the connection is under way."""
        return (
            not connection.changing
            and not self._node.application.is_busy(connection)
            and not self._node.hub.members.joining(connection)
        )

    def is_excluded(self, connection: ClientConnection) -> bool:
        """Whether the connection can never move, so that waiting does not help."""
        return connection.id in self._excluded or connection.ws.encrypted

    def obstacle(self, connection: ClientConnection) -> str:
        """Why the connection could not move, for people."""
        ws = connection.ws
        if ws.encrypted:
            return "its TLS ends in this process, and only the descriptor could be handed over"
        if connection.id in self._excluded:
            return self._excluded[connection.id]
        if not ws.is_open:
            return "it is being closed"
        if ws.mid_message or ws.unread > UNREAD:
            return "the client is in the middle of a message"
        if ws.buffered:
            return "the client does not read what waits for it"
        if self._node.application.is_busy(connection):
            return "one of its requests is not answered"
        if self._node.hub.members.joining(connection) or connection.changing:
            return "it is joining a room, or being bound"
        return "there was no time, or the new worker did not take it"

    def left_behind(self) -> int:
        """Count and log the connections that remain. Returns how many."""
        reasons: dict[str, list[str]] = {}
        for connection in self._node.connections.values():
            reasons.setdefault(self.obstacle(connection), []).append(connection.id)
        for reason, ids in reasons.items():
            for one in ids[:TOLD_APART]:
                logger.warning("connection %s could not be handed over: %s", one, reason)
            if len(ids) > TOLD_APART:
                logger.warning("%d more could not be handed over: %s", len(ids) - TOLD_APART, reason)
        left = len(self._node.connections)
        self._node.counters.hand_over_failed += left
        return left

    def depart(self, connection: ClientConnection, gone: Callable[[ClientConnection, Positions], None]) -> None:
        """Take the connection out of its rooms; `gone` gets the positions up to which it received everything.

        The connection is served until then. It leaves a large room when the batch that is being written is complete.
        """

        def left(found: dict[str, Position]) -> None:
            for room in ORDER_ROOMS:
                heard = self._node.hub.position(room)
                control_room.hear(
                    connection, room, max(control_room.heard(connection, room), heard.offset if heard else 0)
                )
            self._node.moving.add(connection.id)
            gone(connection, tuple(RoomPosition(room, at.epoch, at.offset) for room, at in found.items()))

        self._node.hub.members.depart(connection, left)

    def snapshot(
        self, connection: ClientConnection, rooms: Positions, socket_state: bytes, left_at: float
    ) -> ConnectionSnapshot:
        """The snapshot of the connection. `socket_state` is the transport's part."""
        return ConnectionSnapshot(
            id=connection.id,
            user=connection.user,
            opened_at=connection.opened_at,
            messages_in=connection.ws.frames_in,
            session=plain(connection.session),
            rooms=rooms,
            orders=tuple([control_room.heard(connection, room) for room in ORDER_ROOMS]),
            socket=socket_state,
            left_at=left_at,
            counted=self._node.registry.freeze(connection.id),
            app=self._node.application.snapshot(connection),
        )

    def bring_back(self, connection: ClientConnection, rooms: Positions) -> None:
        """The connection stays: it continues in its rooms from its positions."""
        self._node.moving.discard(connection.id)
        if connection.ws.is_open:
            rejoin(self._node, connection, rooms)
            connection.ws.unquiesce()

    def on_refused(self, connection: ClientConnection) -> None:
        """The receiver refused the connection: it has no descriptors left, or cannot decode the snapshot."""
        self._refused[connection.id] += 1
        if self._refused[connection.id] == REFUSALS:
            self.exclude(connection, "the new worker does not take it")

    def exclude(self, connection: ClientConnection, why: str) -> None:
        """The connection can never move. Its client has to reconnect."""
        self._excluded[connection.id] = why

    def on_moved(self, connection: ClientConnection) -> None:
        """The connection belongs to another worker now: close this copy of its descriptor without a notice."""
        self._node.moving.discard(connection.id)
        self._node.registry.gave_away(connection.id)
        self._node.application.on_moved(connection)
        self._node.forget(connection)
        self._node.counters.handed_over += 1
        connection.ws.release()


def rejoin(
    node: Node,
    connection: ClientConnection,
    rooms: Positions,
    heard_again: Callable[[float], None] | None = None,
    tries: int = REJOINS,
) -> None:
    """Join the connection to its rooms at the positions it had, without telling the client.

    The rooms that are followed here do not wait for the others. `heard_again` gets the time when the connection is in
    the first ones. A join may time out on an overloaded machine; so the connection is closed only after several tries.
    """

    left: set[str] = set()  # rooms that it left meanwhile

    def announce(joined: list[Joined]) -> None:
        if heard_again is not None:
            heard_again(time.monotonic())

    def failed(some: Positions, error: BusError) -> None:
        if not connection.ws.is_open or connection.id not in node.connections:
            return
        if tries > 1:
            still = [at for at in some if at.room not in left]
            rejoin(node, connection, tuple(still), heard_again, tries - 1)
            return
        # A connection outside its rooms would be silent for ever; the client does better to reconnect.
        logger.warning("connection %s could not go on in its rooms: %s", connection.id, error)
        connection.close(CloseCode.SERVICE_RESTART, "service restart")

    here = tuple([at for at in rooms if node.hub.position(at.room) is not None])
    rest = rooms if not here else () if len(here) == len(rooms) else tuple([at for at in rooms if at not in here])
    for some in (here, rest):
        if some:
            wanted: list[tuple[str, Position | None]] = [(at.room, Position(at.epoch, at.offset)) for at in some]
            node.hub.members.join(connection, wanted, announce, partial(failed, some), dropped=left.add)
