"""SendOff: closes clients one by one, spread over a time, each told when to come back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from workers.close_codes import CloseCode

if TYPE_CHECKING:
    from workers.node.client_connection import ClientConnection
    from workers.node.node import Node

_REASONS: Final = {CloseCode.GOING_AWAY: "going away", CloseCode.SERVICE_RESTART: "service restart"}


class SendOff:
    """The clients of a node that are to leave. A client that is moved to another worker meanwhile is left alone."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}  # pending closes by connection id

    def everyone(self, seconds: float, code: CloseCode, pause: Callable[[], float] | None = None) -> None:
        """Close every open client that is not leaving yet, spread over `seconds`.

        `pause` gives the seconds after which one comes back; without it they come back spread over `seconds`, too.
        """
        self._forget_closed()
        leaving = [one for one in self._node.connections.values() if one.id not in self._timers and one.ws.is_open]
        random.shuffle(leaving)
        for number, connection in enumerate(leaving):
            retry_after = pause() if pause is not None else seconds * random.random()
            self._timers[connection.id] = self._loop.call_later(
                seconds * number / len(leaving), self._close, connection, code, retry_after
            )

    def cancel(self) -> None:
        """Let those stay that have not been closed yet."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _forget_closed(self) -> None:
        for gone in self._timers.keys() - self._node.connections.keys():
            self._timers.pop(gone).cancel()

    def _close(self, connection: ClientConnection, code: CloseCode, retry_after: float) -> None:
        if connection.id in self._node.connections:
            self._node.application.announce_close(connection, code, retry_after)
            connection.close(code, _REASONS[code])
