"""Sender: the old worker's side, towards one new worker: quiesce, snapshot, offer and release, batch after batch.

A connection is offered when it has left its rooms and its write buffer is empty; so no output waits in this process
when another process starts to write. A connection that comes back continues from the noted positions.

Two events differ. The pair is *lost* when the other end is closed: then nothing more is offered. The receiver is
*reaped* when the master has waited for it: only then do connections that it may hold belong to the sender again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Raw

from workers.addressing import is_inbox
from workers.handover.leave_queue import LeaveQueue, Leaving
from workers.handover.migration import Migration, Positions
from workers.handover.peer_socket import PeerSocket
from workers.handover.protocol import (
    MAX_BATCH,
    MAX_PACKET,
    ROOMS_A_PACKET,
    VERSION,
    Abort,
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
    decode_from_receiver,
    encode,
)
from workers.handover.sender_state import Action, AskKill, SendAbort, SenderState, SendGo, TakeBack
from workers.handover.window import Window

if TYPE_CHECKING:
    from workers.node.client_connection import ClientConnection
    from workers.node.node import Node

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT = 2.0  # seconds for the answer to an offer
# Seconds for the answer to an abort. Then the receiver is killed with all that it serves, so a receiver that is only
# slow, on an overloaded machine, must not be taken for one that hangs.
SILENCE_TIMEOUT = 8.0
PREPARE_TIMEOUT = 10.0  # seconds for the receiver to follow the rooms; meanwhile the sender serves them
PATIENCE = 5.0  # seconds at least without any connection that moves, after which the sender gives up
HANDSHAKE_PATIENCE = 2.0  # seconds for accepted connections to finish their handshake, so that they can move
MAX_SNAPSHOT = MAX_PACKET // 2 - 1024  # bytes; a packet is closed when it is half full
RETRY = 0.005  # seconds between two tries where nothing could move


class Sender:
    """Gives this worker's connections to another worker. `ask_kill` asks the master to end that worker."""

    def __init__(
        self, node: Node, migration: Migration, sock: socket.socket, *, peer: str, ask_kill: Callable[[str], None]
    ) -> None:
        self.peer = peer
        self.lost = False  # the receiver takes nothing more
        self._node = node
        self._migration = migration
        self._ask_kill = ask_kill
        self._state = SenderState()
        self._socket = PeerSocket(sock, on_packet=self._on_packet, on_lost=self._on_lost)
        self._loop = asyncio.get_running_loop()
        self._prepared: asyncio.Future[Prepared | None] = self._loop.create_future()
        self._offered: dict[str, tuple[ClientConnection, Positions]] = {}  # offered, and not given away for good
        self._window = Window()
        self._changed = asyncio.Event()
        self._leave_queue = LeaveQueue(node, migration, self._changed.set)
        self._stopped = False
        self._credit = 0
        self._batch = 0
        self._moved_at = 0.0  # when the last connection moved
        self._handshakes_until = 0.0  # until when the sender waits for handshakes

    async def run(self, seconds: float, patience: float = PATIENCE) -> None:
        """Give away what can be given in time: at most `seconds`, and at most `patience` without any that moves.

        On return each connection belongs to the receiver for good, or is here.
        """
        started, before = self._loop.time(), len(self._node.connections)
        self._handshakes_until = started + HANDSHAKE_PATIENCE
        await self._ask_to_prepare()
        answer = await self._first_answer(min(PREPARE_TIMEOUT, seconds))
        prepared = self._moved_at = self._loop.time()
        if answer is not None and answer.version == VERSION:
            self._credit = answer.credit
            await self._give_all(started + seconds, patience)
        elif not self._stopped:
            logger.warning("the new worker takes no connections over")
        self._leave_queue.recall()
        await self._settle()
        self._socket.send(encode(Finished()))
        self._socket.close()
        moved = before - len(self._node.connections)
        took = self._loop.time() - started, prepared - started
        level = logging.INFO if before else logging.DEBUG
        logger.log(level, "handed %d of %d connections over in %.2f s, %.2f s of it to prepare", moved, before, *took)

    async def _first_answer(self, seconds: float) -> Prepared | None:
        try:
            return await asyncio.wait_for(asyncio.shield(self._prepared), seconds)
        except TimeoutError:
            return None

    async def _ask_to_prepare(self) -> None:
        """Name the rooms, shared ones first, in pieces, so that neither loop blocks."""
        rooms = sorted(self._node.hub.rooms, key=is_inbox)
        for start in range(0, max(len(rooms), 1), ROOMS_A_PACKET):
            some = tuple(rooms[start : start + ROOMS_A_PACKET])
            self._socket.send(_prepare(some, last=start + ROOMS_A_PACKET >= len(rooms)))
            await asyncio.sleep(0)

    def stop(self) -> None:
        """Give nothing more away; batches that are out are settled."""
        self._stopped = True
        self._answer(None)
        self._changed.set()

    def peer_reaped(self) -> None:
        """The receiver is reaped: what it never got certainly belongs to this worker."""
        self._socket.close()
        self._on_lost()
        self._act(self._state.on_receiver_reaped())

    @property
    def settled(self) -> bool:
        """Whether no connection is undecided between the two workers."""
        return not self._unfinished

    def decline(self) -> None:
        """Nothing to do: a sender takes no connections."""

    # ---- one batch -------------------------------------------------------------------------------------

    async def _give_all(self, deadline: float, patience: float) -> None:
        while self._loop.time() < min(deadline, self._moved_at + patience) and not (self.lost or self._stopped):
            self._leave_queue.call(self._room_for(), self._offered.__contains__)
            if self._leave_queue.waiting:
                await asyncio.sleep(0)  # what was just written is sent at the end of this turn
                if self._offer_all():
                    continue
            if not self._offered and not len(self._leave_queue) and (self._credit <= 0 or not self._more_may_come()):
                return
            await self._pause()

    def _room_for(self) -> int:
        """How many more connections may leave their rooms now."""
        called = len(self._leave_queue)
        return min(self._window.size - self._window.given - called, self._credit - called)

    def _more_may_come(self) -> bool:
        """Whether any connection that is here, or in its handshake, may be able to move later."""
        if not all(self._migration.is_excluded(connection) for connection in self._node.connections.values()):
            return True
        pending = any(endpoint.handshakes for endpoint in self._node.endpoints if endpoint.is_plain)
        return pending and self._loop.time() < self._handshakes_until

    def _offer_all(self) -> bool:
        """Offer the connections that wait; False where none could be offered."""
        before = self._batch
        while self._leave_queue.waiting and not (self.lost or self._stopped):
            self._offer(self._leave_queue.take(MAX_BATCH))
        return self._batch > before

    def _offer(self, leaving: list[Leaving]) -> None:
        """Send snapshots and descriptors; connections that cannot move now are put back."""
        ids: list[str] = []
        fds: list[int] = []
        packed: list[Raw] = []
        size = 0
        for one in leaving:
            connection = one.connection
            frozen = connection.ws.freeze() if size < MAX_PACKET // 2 else None
            if frozen is None:
                self._leave_queue.put_back(one)
                continue
            raw = self._encoded(one, frozen.state)
            if not 0 < len(raw) <= MAX_SNAPSHOT:
                self._migration.exclude(connection, "its session is too large, or cannot be encoded")
                connection.ws.unfreeze()
                self._leave_queue.put_back(one)
                continue
            self._leave_queue.on_offered(connection)
            self._offered[connection.id] = (connection, one.positions)
            size += len(raw)
            packed.append(Raw(raw))
            fds.append(frozen.fd)
            ids.append(connection.id)
        if ids:
            self._batch += 1
            self._credit -= len(ids)
            self._window.sent(self._batch, len(ids), min(one.left_at for one in leaving))
            self._state.on_offered(self._batch, tuple(ids))
            self._socket.send(encode(Offer(self._batch, tuple(packed))), fds)
            self._loop.call_later(ANSWER_TIMEOUT, self._on_timeout, self._batch)

    def _encoded(self, one: Leaving, socket_state: bytes) -> bytes:
        """The connection as bytes; b"" where something that it carries cannot be encoded.

        What a program stores is checked when it is stored. This is the last resort, so that one connection costs no
        other.
        """
        try:
            return encode(self._migration.snapshot(one.connection, one.positions, socket_state, one.left_at))
        except Exception as error:
            logger.warning("connection %s cannot be encoded: %r", one.connection.id, error)
            return b""

    def _on_timeout(self, batch: int) -> None:
        if batch not in self._state.out:
            return
        logger.warning("the new worker does not answer: asking for %d connections back", len(self._state.out[batch][1]))
        self._node.counters.hand_overs_aborted += 1
        self._act(self._state.on_timeout(batch))
        self._loop.call_later(SILENCE_TIMEOUT, self._on_silence, batch)

    def _on_silence(self, batch: int) -> None:
        if batch in self._state.out:
            self._act(self._state.on_silence())

    # ---- answers -----------------------------------------------------------------------------------------

    def _on_packet(self, packet: bytes, fds: list[int]) -> None:
        match decode_from_receiver(packet):
            case Prepared() as answer:
                self._answer(answer)
            case Held(batch, ids):
                if not ids:
                    self._window.settled(batch)
                self._act(self._state.on_held(batch, ids), refused=True)
            case Taken(batch):
                self._window.taken(batch, time.monotonic())
            case Released(batch):
                self._act(self._state.on_released(batch))
            case Declined():
                self._on_lost()
        self._changed.set()

    def _answer(self, answer: Prepared | None) -> None:
        if not self._prepared.done():
            self._prepared.set_result(answer)

    def _act(self, actions: list[Action], *, refused: bool = False) -> None:
        for action in actions:
            match action:
                case SendGo(batch, ids):
                    self._go(batch, ids)
                case SendAbort(batch):
                    self._window.settled(batch)
                    self._socket.send(encode(Abort(batch)))
                case TakeBack(ids):
                    self._take_back(ids, refused=refused)
                case AskKill():
                    logger.error("the new worker holds connections and does not answer: it has to end")
                    self._on_lost()
                    self._ask_kill(self.peer)
        self._changed.set()

    def _go(self, batch: int, ids: tuple[str, ...]) -> None:
        """Give connections away for good, with what the application wrote to them since their snapshots."""
        for one in ids:
            for packet in _pending_packets(one, *self._offered[one][0].ws.pending_output):
                self._socket.send(packet)
        self._socket.send(encode(Go(batch, ids)), then=partial(self._on_go_sent, batch, ids))

    def _on_go_sent(self, batch: int, ids: tuple[str, ...], arrives: bool) -> None:
        """The kernel took the Go, which is read or dies with its reader; or the receiver was gone before."""
        if not arrives:
            self._state.on_undelivered(batch, ids)
            return
        self._moved_at = self._loop.time()
        for one in ids:
            connection, _ = self._offered.pop(one)
            self._migration.on_moved(connection)

    def _take_back(self, ids: tuple[str, ...], *, refused: bool) -> None:
        self._credit += len(ids)
        for one in ids:
            connection, positions = self._offered.pop(one)
            connection.ws.unfreeze()
            self._leave_queue.rest(connection)
            self._migration.bring_back(connection, positions)
            if refused:
                self._migration.on_refused(connection)

    def _on_lost(self) -> None:
        """The receiver takes nothing more. What it may hold stays untouched until the master reports its end."""
        self.lost = True
        self._answer(None)
        self._changed.set()

    # ---- waiting -----------------------------------------------------------------------------------------

    async def _pause(self) -> None:
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), RETRY)
        except TimeoutError:
            return

    async def _settle(self) -> None:
        """Wait until every batch that is out is settled, however long that takes, and a while for the last ones."""
        last = self._loop.time() + ANSWER_TIMEOUT
        while self._unfinished or (not self.lost and self._window.given and self._loop.time() < last):
            await self._pause()

    @property
    def _unfinished(self) -> bool:
        return bool(self._state.out) or not self._socket.idle


def _prepare(rooms: tuple[str, ...], *, last: bool) -> bytes:
    """The message with the rooms to follow, without names that cannot be encoded: their members read the log."""
    try:
        return encode(Prepare(VERSION, rooms, last=last))
    except (TypeError, ValueError) as error:
        logger.error("a room has a name that cannot be sent: %s", error)
        return encode(Prepare(VERSION, tuple(filter(_encodable, rooms)), last=last))


def _encodable(room: str) -> bool:
    try:
        return isinstance(room, str) and bool(room.encode())
    except UnicodeEncodeError:
        return False


def _pending_packets(connection: str, data: bytes, close: tuple[int, str] | None) -> Iterator[bytes]:
    for start in range(0, len(data), MAX_SNAPSHOT):
        yield encode(Late(connection, data[start : start + MAX_SNAPSHOT]))
    if close is not None:
        yield encode(Late(connection, b"", close))
