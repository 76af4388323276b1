"""The new worker's side: hold what is offered, and begin with it when it is certain that nobody else will.

What was addressed to a connection while it belonged to nobody is made up for: its rooms go on from the noted
positions, and so do the orders of the control room.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING

from workers.handover.arrivals import Arrivals
from workers.handover.link import PeerLink
from workers.handover.protocol import (
    VERSION,
    Abort,
    Finished,
    Go,
    Held,
    Offer,
    Parcel,
    Prepare,
    Prepared,
    Released,
    decode_from_giver,
    encode,
)
from workers.handover.taker import Action, Activate, LetGo, SendHeld, SendReleased, Taker

if TYPE_CHECKING:
    from workers.node import Node

logger = logging.getLogger(__name__)


class Incoming:
    """Takes connections over from another worker."""

    def __init__(self, node: Node, sock: socket.socket, *, peer: str) -> None:
        self.peer = peer
        self._node = node
        self._arrivals = Arrivals(node)
        self._taker = Taker()
        self._expected: tuple[str, ...] = ()  # rooms whose members will come
        self._held: dict[str, tuple[Parcel, int]] = {}
        self._link = PeerLink(sock, received=self._received, lost=self._lost)
        self._loop = asyncio.get_running_loop()

    def peer_reaped(self) -> None:
        """The old worker is dead for certain: what it said last is read, then what is held is ours."""
        self._link.drain()
        self._act(self._taker.giver_reaped())
        self._link.close()

    def _received(self, packet: bytes, fds: list[int]) -> None:
        match decode_from_giver(packet):
            case Prepare(version, rooms, last):
                self._expected += rooms
                if last:
                    self._node.tasks.start(self._prepare(version), what="prepare a hand-over")
            case Offer(batch, parcels):
                self._offered(batch, parcels, fds)
            case Go(batch, ids):
                self._act(self._taker.went(batch, ids))
            case Abort(batch):
                self._act(self._taker.aborted(batch))
            case Finished():
                logger.info("took %s over", self.peer)

    async def _prepare(self, version: int) -> None:
        """Follow the rooms before their members come, so that they need no page of the log then."""
        if version == VERSION:
            await self._arrivals.prepare(self._expected)
        descriptors = self._node.endpoints[0].descriptors if self._node.endpoints else None
        credit = descriptors.limit - descriptors.used if descriptors else 0
        self._link.send(encode(Prepared(VERSION, credit)))

    def _offered(self, batch: int, parcels: tuple[Parcel, ...], fds: list[int]) -> None:
        for parcel, fd in zip(parcels, fds, strict=False):
            self._held[parcel.id] = (parcel, fd)
        self._act(self._taker.offered(batch, tuple(parcel.id for parcel in parcels), len(fds)))

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case SendHeld(batch, ids):
                    self._link.send(encode(Held(batch, ids)))
                case SendReleased(batch):
                    self._link.send(encode(Released(batch)))
                case LetGo(ids):
                    for one in ids:
                        os.close(self._held.pop(one)[1])
                case Activate(ids):
                    arrived = [self._held.pop(one) for one in ids]
                    self._node.tasks.start(self._activate(arrived), what="take connections over")

    async def _activate(self, arrived: list[tuple[Parcel, int]]) -> None:
        for parcel, fd in arrived:
            try:
                await self._arrivals.take_over(parcel, socket.socket(fileno=fd))
            except OSError as error:
                # The client went away while it moved; it is told nothing any more.
                logger.info("connection %s was gone when it arrived: %s", parcel.id, error)
        await self._arrivals.make_up_for_orders([parcel for parcel, _ in arrived])

    def _lost(self) -> None:
        """The pair is closed on the other side: after Finished that is its end, else the master's word decides."""
