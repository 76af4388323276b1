"""The new worker's side: hold what is offered, and begin with it when it is certain that nobody else will.

What was addressed to a connection while it belonged to nobody is made up for: its rooms go on from the noted
positions, and so do the orders of the control room.
"""

from __future__ import annotations

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
    Taken,
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
        self._held: dict[str, tuple[Parcel, int]] = {}
        self._link = PeerLink(sock, received=self._received, lost=self._lost)

    def peer_reaped(self) -> None:
        """The old worker is dead for certain: what it said last is read, then what is held is ours."""
        self._link.drain()
        self._act(self._taker.giver_reaped())
        self._link.close()
        self._node.transfers.remove(self)

    def _received(self, packet: bytes, fds: list[int]) -> None:
        match decode_from_giver(packet):
            case Prepare(version, rooms, last):
                if version == VERSION:
                    self._arrivals.expect(rooms)
                if last:
                    self._node.tasks.start(self._prepare(), what="prepare a hand-over")
            case Offer(batch, parcels):
                self._offered(batch, parcels, fds)
            case Go(batch, ids):
                self._act(self._taker.went(batch, ids), batch)
            case Abort(batch):
                self._act(self._taker.aborted(batch))
            case Finished():
                self._say_what_came()

    async def _prepare(self) -> None:
        """Follow the rooms before their members come, so that they need no page of the log then."""
        await self._arrivals.prepare()
        endpoint = self._arrivals.endpoint
        credit = endpoint.descriptors.limit - endpoint.descriptors.used if endpoint else 0
        self._link.send(encode(Prepared(VERSION, credit)))

    def _offered(self, batch: int, parcels: tuple[Parcel, ...], fds: list[int]) -> None:
        for parcel, fd in zip(parcels, fds, strict=False):
            self._held[parcel.id] = (parcel, fd)
        self._act(self._taker.offered(batch, tuple(parcel.id for parcel in parcels), len(fds)))

    def _act(self, actions: list[Action], batch_of_go: int = 0) -> None:
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
                    begin = self._begin(batch_of_go, [self._held.pop(one) for one in ids])
                    self._node.tasks.start(begin, what="take connections over")

    async def _begin(self, batch: int, arrived: list[tuple[Parcel, int]]) -> None:
        """Begin with what is ours. Batches do so side by side: each waits for turns of the loop more than it works."""
        await self._arrivals.take_over(arrived)
        self._link.send(encode(Taken(batch)))
        await self._arrivals.make_up_for_orders([parcel for parcel, _ in arrived])

    def _say_what_came(self) -> None:
        came, pause = self._arrivals.came, self._arrivals.longest_pause * 1000
        self._arrivals.came = 0
        if came:
            logger.info(
                "took %d connections over from %s; the longest was in no room for %.0f ms", came, self.peer, pause
            )

    def _lost(self) -> None:
        """The pair is closed on the other side: after Finished that is its end, else the master's word decides."""
