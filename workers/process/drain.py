"""Drain: closes the clients one by one, spread over the given time, each told when to reconnect."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from workers.close_codes import CloseCode
from workers.process.send_off import SendOff

if TYPE_CHECKING:
    from workers.node.node import Node

logger = logging.getLogger(__name__)

CLOSE_GRACE = 2.0  # seconds for the last closing handshakes
HANDSHAKE_GRACE = 2.0  # seconds for accepted connections whose handshake is not done
LOOK = 0.05  # seconds between two looks for new connections, from another worker or a handshake


class DrainProcedure:
    """Closes every connection of a node, or waits until the clients leave.

    Made when accepting ends. `told` is set when another order has come: then everything here returns False at once,
    and the next call goes on in the way that was ordered.
    """

    def __init__(self, node: Node, told: asyncio.Event) -> None:
        self._node = node
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._hands_until = self._loop.time() + HANDSHAKE_GRACE
        self._send_off = SendOff(node)

    async def wait(self) -> bool:
        """Stop accepting and wait for the clients to leave."""
        await self._shake_last_hands()
        while not self._empty and not self._told.is_set():
            await self._look()
        return self._empty

    async def run(self, *, seconds: float, final: bool) -> bool:
        """Close every connection, late arrivals too. Returns when none is left, or the time is over."""
        await self._shake_last_hands()
        began = self._loop.time()
        code = CloseCode.GOING_AWAY if final else CloseCode.SERVICE_RESTART
        while not self._empty and not self._told.is_set():
            left = began + seconds - self._loop.time()
            if left + CLOSE_GRACE <= 0:
                self._cut()
                return True
            self._send_off.everyone(max(left, 0.0), code)
            await self._look()
        self._send_off.cancel()
        return self._empty

    def _cut(self) -> None:
        logger.warning("%d connections did not close in time and are aborted", len(self._node.connections))
        self._send_off.cancel()
        for connection in list(self._node.connections.values()):
            connection.ws.abort()

    async def _shake_last_hands(self) -> None:
        """Finish the handshakes of accepted connections before closing them: a handshake is never cut."""
        self._node.stop_accepting()
        await asyncio.sleep(0.01)  # a connection accepted just now is announced in a later turn of the loop
        endpoints = self._node.endpoints
        while self._loop.time() < self._hands_until and any(endpoint.handshakes for endpoint in endpoints):
            await asyncio.sleep(0.01)

    @property
    def _empty(self) -> bool:
        """True if no connection is open or arriving."""
        return not self._node.connections and all(transfer.settled for transfer in self._node.transfers)

    async def _look(self) -> None:
        """Wait until no connection is left, another order arrives, or LOOK seconds have passed."""
        self._node.when_empty.clear()
        if not self._node.connections:
            await asyncio.sleep(LOOK / 10)
            return
        waits = [asyncio.ensure_future(event.wait()) for event in (self._node.when_empty, self._told)]
        await asyncio.wait(waits, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
        for one in waits:
            one.cancel()
