"""A connection that leaves: when it may, how it is written down, and how it comes back if nobody takes it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from workers.bus.port import Position
from workers.control import CONTROL_ROOM
from workers.handover.protocol import Parcel, RoomPosition

if TYPE_CHECKING:
    from workers.bus.port import BusError
    from workers.connection import Connection
    from workers.node import Node
    from workers.rooms.member import Joined

logger = logging.getLogger(__name__)

Positions = tuple[RoomPosition, ...]


class Moves:
    """What the old worker does with its own connections while they move."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._kept: set[str] = set()

    def may_leave(self, connection: Connection) -> bool:
        """Whether it can be taken out now: what it asked is answered, and nothing speaks against it.

        A connection that is asked about is not read any more, so that its last request is soon the last.
        """
        if connection.id in self._kept or not connection.ws.is_open:
            return False
        connection.ws.pause_reading()
        return not self._node.application.busy(connection) and not self._node.hub.joining(connection)

    def depart(self, connection: Connection) -> Positions | None:
        """Take it out of its rooms, at positions up to which it got everything; None while a batch is written."""
        found = self._node.hub.positions_of(connection)
        if found is None:
            return None
        control = self._node.hub.position(CONTROL_ROOM)
        connection.ordered = max(connection.ordered, control.offset if control else 0)
        self._node.moving.add(connection.id)
        self._node.hub.leave_all(connection)
        return tuple(RoomPosition(room, at.epoch, at.offset) for room, at in found.items())

    def parcel(self, connection: Connection, rooms: Positions, socket_state: bytes) -> Parcel:
        """Write it down. `socket_state` is the transport's part."""
        control = self._node.hub.position(CONTROL_ROOM) or Position("", 0)
        return Parcel(
            id=connection.id,
            user=connection.user,
            opened_at=connection.opened_at,
            messages_in=connection.messages_in,
            session=dict(connection.session),
            rooms=rooms,
            control=RoomPosition(CONTROL_ROOM, control.epoch, connection.ordered),
            socket=socket_state,
            counted=self._node.registry.freeze(connection.id),
            app=self._node.application.frozen(connection),
        )

    def come_back(self, connection: Connection, rooms: Positions) -> None:
        """It stays after all: it reads on from where it was."""
        self._node.moving.discard(connection.id)
        rejoin(self._node, connection, rooms)
        connection.ws.resume_reading()

    def keep(self, connection: Connection) -> None:
        """It cannot be moved at all; it will be sent away."""
        self._kept.add(connection.id)
        self._node.counters.hand_over_failed += 1
        logger.warning("connection %s cannot be moved: its session is too large", connection.id)

    def moved_away(self, connection: Connection) -> None:
        """It belongs to another worker now: our copy of the descriptor is closed, and nobody is told."""
        self._node.moving.discard(connection.id)
        self._node.application.moved(connection)
        self._node.forget(connection)
        self._node.counters.handed_over += 1
        connection.ws.release()


def rejoin(node: Node, connection: Connection, rooms: Positions) -> None:
    """Bring it into its rooms at the positions it had, without a word to the client."""

    def announce(joined: list[Joined]) -> None:
        """The client knows where it is."""

    def failed(error: BusError) -> None:
        # A connection outside its rooms would be silent for ever: better it comes back by itself.
        if connection.ws.is_open:
            logger.warning("connection %s could not go on in its rooms: %s", connection.id, error)
            connection.close(1012, "service restart")

    wanted = [(at.room, Position(at.epoch, at.offset)) for at in rooms]
    if wanted:
        node.hub.join(connection, list(wanted), announce, failed)
