"""The program's ASGI application in the life of a worker: its lifespan, and the end of requests in a worker that goes.

The lifespan runs by uvicorn's `LifespanOn`, of which `startup`, `shutdown`, `should_exit` and `state` are used.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from uvicorn.config import Config
from uvicorn.lifespan.on import LifespanOn

if TYPE_CHECKING:
    from workers.node.node import Node
    from workers.transport.http_server import AsgiApp

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT: Final = 5.0  # seconds
LOOK: Final = 0.05  # seconds between two looks at what is left


class LifespanFailed(Exception):
    """The application's startup failed; the log says why."""


class Lifespan:
    """Runs the lifespan of one application in one worker; `state` is what it gives to each request."""

    def __init__(self, app: AsgiApp) -> None:
        self.state: dict[str, Any] = {}
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # it tells each step, in each worker
        config = Config(app, interface="asgi3", lifespan="auto", log_config=None, access_log=False, proxy_headers=False)
        self._protocol = LifespanOn(config)
        self._protocol.state = self.state
        self._started = False

    async def start(self) -> None:
        """Returns when the application is ready, or has no lifespan. Raises LifespanFailed."""
        await self._protocol.startup()
        if self._protocol.should_exit:
            raise LifespanFailed("the startup of the ASGI application failed")
        self._started = True

    async def stop(self) -> None:
        """Shut the application down; what fails is logged, and the worker ends all the same."""
        if not self._started:
            return
        try:
            await asyncio.wait_for(self._protocol.shutdown(), SHUTDOWN_TIMEOUT)
        except TimeoutError:
            logger.error("the ASGI application's shutdown took longer than %.0f s", SHUTDOWN_TIMEOUT)


class RequestDrain:
    """Made when accepting ends: from then on every answer is the last of its connection.

    `seconds` says how long requests may take, counted from now; None: as long as they need. The value may change with
    another order of the master.
    """

    def __init__(self, node: Node, seconds: Callable[[], float | None]) -> None:
        self._servers = [endpoint.shared.http for endpoint in node.endpoints if endpoint.shared.http is not None]
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        for server in self._servers:
            server.drain()

    async def finish(self) -> None:
        """Returns when no request is under way any more, or the time is over."""
        while self._left():
            seconds, now = self._seconds(), self._loop.time()
            if seconds is not None and now - self._began >= seconds:
                logger.warning("%d HTTP connections did not finish in time and are cut", self._left())
                return
            for server in self._servers:
                server.sweep(now)
            await asyncio.sleep(LOOK)

    def _left(self) -> int:
        return sum(len(server.open) for server in self._servers)
