"""The old worker's side: quiesce, write down, offer, and let go, batch after batch.

A connection is taken out of its rooms first, at positions that are noted, and offered when its write buffer has
run empty; so nothing of it waits here in user space when another process begins to write to it. Whatever comes back
goes on from the noted positions.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Raw

from workers.handover.giver import Action, AskKill, Giver, Resume, SendAbort, SendGo
from workers.handover.link import PeerLink
from workers.handover.moves import Moves, Positions
from workers.handover.protocol import (
    MAX_BATCH,
    MAX_PACKET,
    ROOMS_A_PACKET,
    VERSION,
    Abort,
    Finished,
    Go,
    Held,
    Packed,
    Parcel,
    Prepare,
    Prepared,
    Released,
    Taken,
    decode_from_taker,
    encode,
)
from workers.handover.window import Window

if TYPE_CHECKING:
    from workers.connection import Connection
    from workers.node import Node

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT = 2.0  # seconds for a batch to be held, and again for an abort to be answered
PREPARE_TIMEOUT = 10.0  # seconds for the other side to follow our rooms; meanwhile they are served here
PATIENCE = 5.0  # seconds at least in which something has to move, or it is over
MAX_PARCEL = MAX_PACKET // 2 - 1024  # bytes; a packet is closed when it is half full
RETRY = 0.005  # seconds until it is tried again where nothing could be moved
LOOKED_AT = 256  # connections that one batch is chosen from, so that the loop is never held up for long


class Outgoing:
    """Gives this worker's connections to another one. `ask_kill` has the master end it."""

    def __init__(self, node: Node, sock: socket.socket, *, peer: str, ask_kill: Callable[[str], None]) -> None:
        self.peer = peer
        self._node = node
        self._moves = Moves(node)
        self._ask_kill = ask_kill
        self._giver = Giver()
        self._link = PeerLink(sock, received=self._received, lost=self._lost)
        self._loop = asyncio.get_running_loop()
        self._prepared: asyncio.Future[Prepared | None] = self._loop.create_future()
        self._parcels: dict[str, tuple[Connection, Parcel]] = {}  # offered, not answered
        self._window = Window()
        self._queue: deque[Connection] = deque()  # who is looked at next
        self._called: set[str] = set()  # told to leave their rooms, and not offered yet
        self._gone: deque[tuple[Connection, Positions, float]] = deque()  # have left them, and when
        self._over = False
        self._credit = 0
        self._batch = 0
        self._moved_at = 0.0  # when the last one got away
        self._changed = asyncio.Event()
        self._closed = False

    async def run(self, seconds: float, patience: float = PATIENCE) -> int:
        """Give away what can be given in time: `seconds` at most, and `patience` without any that gets away.

        Returns how many are left; each of them was logged.
        """
        started, before = self._loop.time(), len(self._node.connections)
        deadline = started + seconds
        await self._ask_to_prepare()
        try:
            answer = await asyncio.wait_for(asyncio.shield(self._prepared), min(PREPARE_TIMEOUT, seconds))
        except TimeoutError:
            answer = None
        if answer is None or answer.version != VERSION:
            logger.warning("the new worker takes no connections over: they are sent away instead")
            self._link.close()
            return self._moves.left_behind()
        self._credit = answer.credit
        prepared = self._moved_at = self._loop.time()
        await self._give_all(deadline, patience)
        self._call_back()
        await self._settle(deadline)
        self._link.send(encode(Finished()))
        self._link.close()
        left = self._moves.left_behind()
        took = self._loop.time() - started, prepared - started
        logger.info("handed %d of %d connections over in %.2f s, %.2f s of it to prepare", before - left, before, *took)
        return left

    async def _give_all(self, deadline: float, patience: float) -> None:
        while self._loop.time() < min(deadline, self._moved_at + patience) and not self._closed:
            if await self._next_batch():
                continue
            if not self._parcels and not self._called and (self._credit <= 0 or not self._hopeful()):
                return
            await self._pause()

    def _hopeful(self) -> bool:
        """Whether somebody is left who may be able to leave later."""
        return not all(self._moves.stays(connection) for connection in self._node.connections.values())

    async def _ask_to_prepare(self) -> None:
        """Shared rooms first; piece by piece, so that neither loop is held up."""
        rooms = sorted(self._node.hub.rooms, key=lambda room: room.startswith("@"))
        for start in range(0, max(len(rooms), 1), ROOMS_A_PACKET):
            some = tuple(rooms[start : start + ROOMS_A_PACKET])
            self._link.send(encode(Prepare(VERSION, some, last=start + ROOMS_A_PACKET >= len(rooms))))
            await asyncio.sleep(0)

    def peer_reaped(self) -> None:
        """The master has waited for the other side: what it never got is ours for certain."""
        self._closed = True
        self._act(self._giver.taker_reaped())
        self._changed.set()

    # ---- one batch -------------------------------------------------------------------------------------

    async def _next_batch(self) -> bool:
        """Offer one batch; False where nothing could be moved now."""
        self._call_out()
        if not self._gone:
            return False
        await asyncio.sleep(0)  # what was just written leaves at the end of this turn
        return self._offer([self._gone.popleft() for _ in range(min(MAX_BATCH, len(self._gone)))])

    def _call_out(self) -> None:
        """Have some more connections leave their rooms, as soon as each of them can."""
        if not self._queue:  # those that came last, and those that could not go yet
            self._queue.extend(
                one
                for one in self._node.connections.values()
                if not (one.id in self._parcels or one.id in self._called)
            )
        for _ in range(min(len(self._queue), LOOKED_AT)):
            if len(self._called) + self._window.given >= self._window.size or len(self._called) >= self._credit:
                return
            connection = self._queue.popleft()
            if connection.id in self._node.connections and self._moves.may_leave(connection):
                self._called.add(connection.id)
                self._moves.depart(connection, self._left_rooms)

    def _left_rooms(self, connection: Connection, positions: Positions) -> None:
        if self._over or self._node.hub.rooms_of(connection) or self._node.hub.joining(connection):
            self._called.discard(connection.id)  # too late, or the application has brought it into another room
            self._moves.come_back(connection, positions)
            return
        self._gone.append((connection, positions, time.monotonic()))
        self._changed.set()

    def _call_back(self) -> None:
        """It is over: whoever has left its rooms and was not offered comes back, now or when it has."""
        self._over = True
        while self._gone:
            connection, positions, _ = self._gone.popleft()
            self._moves.come_back(connection, positions)

    def _offer(self, leaving: list[tuple[Connection, Positions, float]]) -> bool:
        """Write them down and send them; whoever cannot go now comes back. False where none could."""
        ids: list[str] = []
        fds: list[int] = []
        packed: list[Raw] = []
        size = 0
        for connection, positions, left_at in leaving:
            self._called.discard(connection.id)
            detached = connection.ws.detach() if size < MAX_PACKET // 2 else None
            if detached is None:
                self._moves.come_back(connection, positions)
                continue
            parcel = self._moves.parcel(connection, positions, detached.state, left_at)
            raw = _written(parcel)
            if not 0 < len(raw) <= MAX_PARCEL:
                self._moves.keep(connection)
                self._take_back(connection, positions)
                continue
            size += len(raw)
            packed.append(Raw(raw))
            fds.append(detached.fd)
            ids.append(parcel.id)
            self._parcels[parcel.id] = (connection, parcel)
        if ids:
            self._batch += 1
            self._credit -= len(ids)
            self._window.sent(self._batch, len(ids), min(left_at for _, _, left_at in leaving))
            self._giver.offered(self._batch, tuple(ids))
            self._link.send(encode(Packed(self._batch, tuple(packed))), fds)
            self._loop.call_later(ANSWER_TIMEOUT, self._late, self._batch)
        return bool(ids)

    def _take_back(self, connection: Connection, positions: Positions) -> None:
        connection.ws.reattach()
        self._moves.come_back(connection, positions)

    def _late(self, batch: int) -> None:
        if batch not in self._giver.out or self._closed:
            return
        logger.warning("the new worker does not answer: asking for %d connections back", len(self._giver.out[batch][1]))
        self._node.counters.hand_overs_aborted += 1
        self._act(self._giver.ran_out_of_time(batch))
        self._loop.call_later(ANSWER_TIMEOUT, self._silent, batch)

    def _silent(self, batch: int) -> None:
        if batch in self._giver.out and not self._closed:
            self._act(self._giver.got_no_answer())

    # ---- answers -----------------------------------------------------------------------------------------

    def _received(self, packet: bytes, fds: list[int]) -> None:
        match decode_from_taker(packet):
            case Prepared() as answer:
                if not self._prepared.done():
                    self._prepared.set_result(answer)
            case Held(batch, ids):
                if not ids:
                    self._window.settled(batch)
                self._act(self._giver.held(batch, ids))
            case Taken(batch):
                self._window.taken(batch, time.monotonic())
            case Released(batch):
                self._act(self._giver.released(batch))
        self._changed.set()

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case SendGo(batch, ids):
                    self._link.send(encode(Go(batch, ids)))
                    self._moved_at = self._loop.time()
                    for one in ids:
                        connection, _ = self._parcels.pop(one)
                        self._moves.moved_away(connection)
                case SendAbort(batch):
                    self._window.settled(batch)
                    self._link.send(encode(Abort(batch)))
                case Resume(ids):
                    for one in ids:
                        connection, parcel = self._parcels.pop(one)
                        self._take_back(connection, parcel.rooms)
                case AskKill():
                    logger.error("the new worker holds connections and does not answer: it has to end")
                    self._ask_kill(self.peer)

    def _lost(self) -> None:
        """The pair is closed on the other side; only the master knows what that means."""
        if not self._prepared.done():
            self._prepared.set_result(None)
        self._closed = True
        self._changed.set()

    # ---- waiting -----------------------------------------------------------------------------------------

    async def _pause(self) -> None:
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), RETRY)
        except TimeoutError:
            return

    async def _settle(self, deadline: float) -> None:
        """Wait until every batch that is out has an end; the fence may take longer than the deadline."""
        last = max(deadline, self._loop.time()) + 3 * ANSWER_TIMEOUT
        while self._unfinished() and self._loop.time() < last and not self._closed:
            await self._pause()

    def _unfinished(self) -> bool:
        return bool(self._giver.out or self._window.given) or not self._link.idle


def _written(parcel: Parcel) -> bytes:
    """The parcel as bytes; none where the application keeps something in the session that cannot be written down.

    `session[key] = value` refuses that at once, but what is put into such a value later is not looked at.
    """
    try:
        return encode(parcel)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        logger.warning("the session of connection %s cannot be written down: %s", parcel.id, error)
        return b""
