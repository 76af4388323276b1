"""A worker gives all its connections away: to its heir, and should that one die, to the next that the master names."""

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
    """One hand-over, with all its heirs. `ask_kill` has the master end one that does not answer."""

    def __init__(self, node: Node, ask_kill: Callable[[str], None]) -> None:
        self._node = node
        self._ask_kill = ask_kill
        self._migration = Migration(node)
        self._receivers: deque[tuple[HandOver, socket.socket]] = deque()
        self._named = asyncio.Event()  # an heir, or the end
        self._sender: Sender | None = None
        self._stopped = False
        self._ended = False
        self.seconds = 0.0  # that the master gives the whole, at first

    def add_receiver(self, order: HandOver, sock: socket.socket) -> None:
        """The master names an heir, the first or the next."""
        if self._stopped or self._ended:
            sock.close()
            return
        self.seconds = self.seconds or order.seconds
        self._receivers.append((order, sock))
        self._named.set()

    def stop(self) -> None:
        """Give nothing more away: another order came, and the clients have to be told."""
        self._stopped = True
        self._named.set()
        if self._sender is not None:
            self._sender.stop()

    async def run(self) -> None:
        """Give away what can be given in time. Whoever is still here afterwards was logged and counted."""
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
            # However long it took until it was certain that the heir is gone: the next one gets some time, too.
            deadline = max(deadline, loop.time() + patience)
        self._ended = True
        for _, sock in self._receivers:
            sock.close()
        if not self._stopped and (left := self._migration.left_behind()):
            logger.warning("%d connections could not be handed over and are sent away", left)

    async def _receiver_is_named(self, seconds: float) -> bool:
        """Wait for the next heir; meanwhile the clients are served here."""
        if not self._receivers:
            self._named.clear()
            try:
                await asyncio.wait_for(self._named.wait(), max(seconds, 0.0))
            except TimeoutError:
                logger.warning("no other worker came to take the connections over")
        return bool(self._receivers) and not self._stopped
