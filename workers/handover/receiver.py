"""Receiver: the new worker's side. It holds offered connections, and serves them once the sender certainly does not.

A connection misses nothing while no worker serves it: its rooms continue from the noted positions, and so do the orders
of the control room.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

from msgspec import MsgspecError, Raw

from workers.handover.adoption import Adoption, HeldConnection
from workers.handover.peer_socket import PeerSocket
from workers.handover.protocol import (
    VERSION,
    Abort,
    ConnectionSnapshot,
    Declined,
    Finished,
    Go,
    Held,
    Late,
    Offer,
    Prepare,
    Prepared,
    Released,
    Taken,
    decode_from_sender,
    decode_snapshot,
    encode,
)
from workers.handover.receiver_state import Action, Activate, CloseCopies, ReceiverState, SendHeld, SendReleased

if TYPE_CHECKING:
    from workers.node.node import Node

logger = logging.getLogger(__name__)


class Receiver:
    """Takes connections over from another worker."""

    def __init__(self, node: Node, sock: socket.socket, *, peer: str) -> None:
        self.peer = peer
        self._node = node
        self._adoption = Adoption(node)
        self._state = ReceiverState()
        self._held: dict[str, HeldConnection] = {}
        self._declined = False
        self._activating = 0  # batches that belong to this worker and are not served yet
        self._socket = PeerSocket(sock, on_packet=self._on_packet, on_lost=self._on_lost)

    def peer_reaped(self) -> None:
        """The old worker is dead for certain: read its last packets, then serve what is held."""
        self._socket.drain()
        self._act(self._state.on_sender_reaped())
        self._socket.close()
        self._stop_following()
        self._node.transfer_ended(self)

    def _stop_following(self) -> None:
        self._node.tasks.start(self._adoption.stop_following(), what="let go of rooms")

    def decline(self) -> None:
        """Take no more connections: this worker is stopping. The old worker still decides about what is held."""
        if not self._declined:
            self._declined = True
            self._socket.send(encode(Declined()))

    @property
    def settled(self) -> bool:
        """Whether no held connection is undecided, and all of this worker's connections are served."""
        return not (self._state.holding or self._activating)

    def _on_packet(self, packet: bytes, fds: list[int]) -> None:
        match decode_from_sender(packet):
            case Prepare(version, rooms, last):
                if version == VERSION:
                    self._adoption.expect(rooms)
                if last:
                    self._node.tasks.start(self._prepare(), what="prepare a handover")
            case Offer(batch, snapshots):
                self._receive_offer(batch, snapshots, fds)
            case Late(one, data, close):
                if (arrived := self._held.get(one)) is not None:
                    arrived.add_pending(data, close)
            case Go(batch, ids):
                self._act(self._state.on_go(batch, ids), batch)
            case Abort(batch):
                self._act(self._state.on_abort(batch))
            case Finished():
                self._log_arrivals()
                self._stop_following()

    async def _prepare(self) -> None:
        """Follow the rooms before their members arrive, so that they need not read the log then."""
        await self._adoption.prepare()
        endpoint = self._adoption.endpoint
        credit = endpoint.shared.descriptors.limit - endpoint.shared.descriptors.used if endpoint else 0
        self._socket.send(encode(Prepared(VERSION, credit)))

    def _receive_offer(self, batch: int, snapshots: tuple[Raw, ...], fds: list[int]) -> None:
        """Hold complete connections; refuse those without a descriptor, or with a snapshot that cannot be decoded."""
        ids: list[str] = []
        for raw, fd in zip(snapshots, fds, strict=False):
            snapshot = None if self._declined else _decoded(raw)
            if snapshot is None:
                os.close(fd)
                continue
            self._held[snapshot.id] = HeldConnection(snapshot, fd)
            ids.append(snapshot.id)
        for fd in fds[len(snapshots) :]:
            os.close(fd)
        self._act(self._state.on_offer(batch, tuple(ids), len(ids)))

    def _act(self, actions: list[Action], batch_of_go: int = 0) -> None:
        for action in actions:
            match action:
                case SendHeld(batch, ids):
                    self._socket.send(encode(Held(batch, ids)))
                case SendReleased(batch):
                    self._socket.send(encode(Released(batch)))
                case CloseCopies(ids):
                    for one in ids:
                        os.close(self._held.pop(one).fd)
                case Activate(ids):
                    self._activating += 1
                    activation = self._activate(batch_of_go, [self._held.pop(one) for one in ids])
                    self._node.tasks.start(activation, what="take connections over")

    async def _activate(self, batch: int, arrived: list[HeldConnection]) -> None:
        """Serve a batch. Several batches do so concurrently: each mostly waits for turns of the loop."""
        try:
            await self._adoption.adopt(arrived)
        finally:
            self._activating -= 1
        self._socket.send(encode(Taken(batch)))
        await self._adoption.catch_up_orders([one.snapshot for one in arrived])

    def _log_arrivals(self) -> None:
        came, pause = self._adoption.count, self._adoption.longest_pause * 1000
        self._adoption.count = 0
        if came:
            logger.info(
                "took %d connections over from another worker; none was out of its rooms for more than %.0f ms",
                came,
                pause,
            )

    def _on_lost(self) -> None:
        """The sender closed the pair: after Finished that is the end, otherwise the master reports what happened."""


def _decoded(raw: Raw) -> ConnectionSnapshot | None:
    """The decoded snapshot; None where it cannot be decoded."""
    try:
        return decode_snapshot(raw)
    except (MsgspecError, ValueError, RecursionError) as error:
        logger.warning("a connection is refused, because its snapshot cannot be decoded: %s", error)
        return None
