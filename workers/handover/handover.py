"""Handover: a worker gives all its connections to another one, and to the next one if that one dies."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from workers.handover.migration import Migration
from workers.handover.sender import PATIENCE, Sender

if TYPE_CHECKING:
    from chatmaster.contract import HandOver
    from workers.node.node import Node

logger = logging.getLogger(__name__)


class Handover:
    """One handover with all its receivers. `ask_kill` asks the master to end a receiver that does not answer."""

    def __init__(self, node: Node, ask_kill: Callable[[str], None]) -> None:
        self._node = node
        self._ask_kill = ask_kill
        self._migration = Migration(node)
        self._receivers: deque[tuple[HandOver, socket.socket]] = deque()
        self._named = asyncio.Event()  # set when a receiver is named, and at the end
        self._sender: Sender | None = None
        self._stopped = False
        self._ended = False
        self.seconds = 0.0  # for the whole handover, as the master's first order says

    def add_receiver(self, order: HandOver, sock: socket.socket) -> None:
        """The master names a receiver, the first or the next."""
        if self._stopped or self._ended:
            sock.close()
            return
        self.seconds = self.seconds or order.seconds
        self._receivers.append((order, sock))
        self._named.set()

    def stop(self) -> None:
        """Give nothing more away: another order came, and the remaining clients have to be told."""
        self._stopped = True
        self._named.set()
        if self._sender is not None:
            self._sender.stop()

    async def run(self) -> None:
        """Give away what can be given in time. Connections that remain are logged and counted."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.seconds
        patience = max(self._node.settings.master.drain_timeout, PATIENCE)
        while not self._stopped and await self._receiver_is_named(min(deadline - loop.time(), patience)):
            order, sock = self._receivers.popleft()
            sender = self._sender = Sender(self._node, self._migration, sock, peer=order.peer, ask_kill=self._ask_kill)
            self._node.transfer_began(sender)
            await sender.run(deadline - loop.time(), patience)
            self._node.transfer_ended(sender)
            self._sender = None
            if not (sender.lost and self._node.connections):
                break
            # The next receiver gets time too, however long it took until the death of this one was certain.
            deadline = max(deadline, loop.time() + patience)
        self._ended = True
        for _, sock in self._receivers:
            sock.close()
        if not self._stopped and (left := self._migration.left_behind()):
            logger.warning("%d connections could not be handed over and are sent away", left)

    async def _receiver_is_named(self, seconds: float) -> bool:
        """Wait for the next receiver; meanwhile this worker serves the clients."""
        if not self._receivers:
            self._named.clear()
            try:
                await asyncio.wait_for(self._named.wait(), max(seconds, 0.0))
            except TimeoutError:
                logger.warning("no other worker came to take the connections over")
        return bool(self._receivers) and not self._stopped
