"""Going away: the clients are sent off one by one, spread over the time there is, each told when to come back."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatmaster import contract
    from workers.connection import Connection
    from workers.node import Node

logger = logging.getLogger(__name__)

SERVICE_RESTART, GOING_AWAY = 1012, 1001
CLOSE_GRACE = 2.0  # seconds for the last closing handshakes
HANDSHAKE_GRACE = 2.0  # seconds for those who had been accepted and are still shaking hands


class Drain:
    """Sends every connection of a node away, or waits until they leave by themselves."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._loop = asyncio.get_running_loop()

    async def wait(self, until: asyncio.Future[contract.Drain]) -> contract.Drain | None:
        """Accept nobody and wait for the clients to leave; None, or the order that ends the patience."""
        self._node.stop_accepting()
        await self._shake_last_hands()
        empty = asyncio.ensure_future(self._empty(None))
        await asyncio.wait((empty, until), return_when=asyncio.FIRST_COMPLETED)
        if empty.done():
            return None
        empty.cancel()
        return until.result()

    async def run(self, *, seconds: float, final: bool) -> None:
        """Send everybody away. Returns when nobody is connected any more, or when the time is over."""
        self._node.stop_accepting()
        await self._shake_last_hands()
        code = GOING_AWAY if final else SERVICE_RESTART
        leaving = list(self._node.connections.values())
        random.shuffle(leaving)
        # A client comes back after a pause of its own, so that the others are not hit by all of them at once.
        for number, connection in enumerate(leaving):
            delay = seconds * number / len(leaving)
            self._loop.call_later(delay, self._send_off, connection, code, seconds * random.random())
        if not await self._empty(seconds + CLOSE_GRACE):
            logger.warning("%d connections did not close in time and are cut", len(self._node.connections))
            for connection in list(self._node.connections.values()):
                connection.ws.abort()

    async def _shake_last_hands(self) -> None:
        """Whoever was accepted is let in before it is sent away: a handshake is never cut."""
        deadline = self._loop.time() + HANDSHAKE_GRACE
        await asyncio.sleep(0.01)  # the loop may just have accepted one, and tells of it in a later turn
        while self._loop.time() < deadline and any(len(e.connections.handshakes) for e in self._node.endpoints):
            await asyncio.sleep(0.01)

    def _send_off(self, connection: Connection, code: int, retry_after: float) -> None:
        if connection.id in self._node.connections:
            self._node.application.farewell(connection, code, retry_after)
            connection.close(code, "going away" if code == GOING_AWAY else "service restart")

    async def _empty(self, seconds: float | None) -> bool:
        self._node.when_empty.clear()
        if not self._node.connections:
            return True
        try:
            await asyncio.wait_for(self._node.when_empty.wait(), seconds)
        except TimeoutError:
            return False
        return True
