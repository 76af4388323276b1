"""The new worker's side: hold what is offered, and begin with it when it is certain that nobody else will.

What was addressed to a connection while it belonged to nobody is made up for: its rooms go on from the noted
positions, and so do the orders of the control room.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

from msgspec import MsgspecError, Raw

from workers.handover.adoption import Adoption, Arrived
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
    decode_from_giver,
    decode_parcel,
    encode,
)
from workers.handover.receiver_state import Action, Activate, LetGo, ReceiverState, SendHeld, SendReleased

if TYPE_CHECKING:
    from workers.node.node import Node

logger = logging.getLogger(__name__)


class Receiver:
    """Takes connections over from another worker."""

    def __init__(self, node: Node, sock: socket.socket, *, peer: str) -> None:
        self.peer = peer
        self._node = node
        self._arrivals = Adoption(node)
        self._taker = ReceiverState()
        self._held: dict[str, Arrived] = {}
        self._declined = False
        self._beginning = 0  # batches that are ours and not served yet
        self._link = PeerSocket(sock, received=self._received, lost=self._lost)

    def peer_reaped(self) -> None:
        """The old worker is dead for certain: what it said last is read, then what is held is ours."""
        self._link.drain()
        self._act(self._taker.giver_reaped())
        self._link.close()
        self._let_go()
        self._node.transfer_ended(self)

    def _let_go(self) -> None:
        self._node.tasks.start(self._arrivals.let_go(), what="let go of rooms")

    def decline(self) -> None:
        """Take nothing more, since this worker goes away itself; what is held by now is still the old one's to say."""
        if not self._declined:
            self._declined = True
            self._link.send(encode(Declined()))

    @property
    def settled(self) -> bool:
        """Nothing is held whose owner is not known, and all that is ours is served."""
        return not (self._taker.holding or self._beginning)

    def _received(self, packet: bytes, fds: list[int]) -> None:
        match decode_from_giver(packet):
            case Prepare(version, rooms, last):
                if version == VERSION:
                    self._arrivals.expect(rooms)
                if last:
                    self._node.tasks.start(self._prepare(), what="prepare a hand-over")
            case Offer(batch, parcels):
                self._offered(batch, parcels, fds)
            case Late(one, data, close):
                if (arrived := self._held.get(one)) is not None:
                    arrived.late(data, close)
            case Go(batch, ids):
                self._act(self._taker.went(batch, ids), batch)
            case Abort(batch):
                self._act(self._taker.aborted(batch))
            case Finished():
                self._say_what_came()
                self._let_go()

    async def _prepare(self) -> None:
        """Follow the rooms before their members come, so that they need no page of the log then."""
        await self._arrivals.prepare()
        endpoint = self._arrivals.endpoint
        credit = endpoint.shared.descriptors.limit - endpoint.shared.descriptors.used if endpoint else 0
        self._link.send(encode(Prepared(VERSION, credit)))

    def _offered(self, batch: int, parcels: tuple[Raw, ...], fds: list[int]) -> None:
        """Hold what came whole; whoever has no descriptor, or cannot be read, is refused."""
        ids: list[str] = []
        for raw, fd in zip(parcels, fds, strict=False):
            parcel = None if self._declined else _read(raw)
            if parcel is None:
                os.close(fd)
                continue
            self._held[parcel.id] = Arrived(parcel, fd)
            ids.append(parcel.id)
        for fd in fds[len(parcels) :]:
            os.close(fd)
        self._act(self._taker.offered(batch, tuple(ids), len(ids)))

    def _act(self, actions: list[Action], batch_of_go: int = 0) -> None:
        for action in actions:
            match action:
                case SendHeld(batch, ids):
                    self._link.send(encode(Held(batch, ids)))
                case SendReleased(batch):
                    self._link.send(encode(Released(batch)))
                case LetGo(ids):
                    for one in ids:
                        os.close(self._held.pop(one).fd)
                case Activate(ids):
                    self._beginning += 1
                    begin = self._begin(batch_of_go, [self._held.pop(one) for one in ids])
                    self._node.tasks.start(begin, what="take connections over")

    async def _begin(self, batch: int, arrived: list[Arrived]) -> None:
        """Begin with what is ours. Batches do so side by side: each waits for turns of the loop more than it works."""
        try:
            await self._arrivals.take_over(arrived)
        finally:
            self._beginning -= 1
        self._link.send(encode(Taken(batch)))
        await self._arrivals.make_up_for_orders([one.parcel for one in arrived])

    def _say_what_came(self) -> None:
        came, pause = self._arrivals.came, self._arrivals.longest_pause * 1000
        self._arrivals.came = 0
        if came:
            logger.info(
                "took %d connections over from another worker; none was out of its rooms for more than %.0f ms",
                came,
                pause,
            )

    def _lost(self) -> None:
        """The pair is closed on the other side: after Finished that is its end, else the master's word decides."""


def _read(raw: Raw) -> ConnectionSnapshot | None:
    """The parcel; None where the other side wrote down what cannot be read."""
    try:
        return decode_parcel(raw)
    except (MsgspecError, ValueError, RecursionError) as error:
        logger.warning("a connection is refused, since what it brings cannot be read: %s", error)
        return None
