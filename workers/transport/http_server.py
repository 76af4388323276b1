"""HttpServer: the plain HTTP side of an endpoint: one ASGI application, its connections, and how they end.

The protocol is uvicorn's (`http_connection.py`); nothing else of uvicorn runs here. There is no task and no timer of
its own: the endpoint's keepalive calls `sweep` once a second or oftener.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, Protocol

from uvicorn.config import Config
from uvicorn.server import ServerState

from workers.transport.event_stream import EventStream

if TYPE_CHECKING:
    from workers.transport.config import EndpointConfig

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# Seconds that an idle connection has for one more request where the server is about to go. Who asks in that time is
# answered and told to close; closing at once would cut a request that is on its way.
LAST_REQUEST: Final = 1.0


class PlainConnection(Protocol):
    """A connection of plain HTTP as its server sees it."""

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""

    def check(self, now: float) -> None:
        """Drop the connection if its client makes no progress."""

    def shutdown(self) -> None:
        """Close it now where it is idle, else after the answer that is under way."""

    def close_after_answer(self) -> None:
        """An answer that has not begun is the last."""

    def abort(self) -> None:
        """Drop it."""


class HttpServer:
    """Serves one ASGI application on the connections that the endpoint hands over; `on_error` counts its exceptions."""

    def __init__(
        self, app: AsgiApp, config: EndpointConfig, now: Callable[[], float], on_error: Callable[[], None]
    ) -> None:
        self._app = app
        self._on_error = on_error
        self.now = now
        self.uvicorn = Config(
            self._answer,
            interface="asgi3",
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            root_path=config.root_path,
            timeout_keep_alive=config.keep_alive,
            ws="none",
            http="httptools",
        )
        self.uvicorn.load()
        self.state = ServerState()
        self.app_state: dict[str, Any] = {}  # copied into each request's scope
        self.open: set[PlainConnection] = set()
        self._answers: set[EventStream] = set()
        self.draining = False  # every answer is the last of its connection
        self.sweep(now())

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = EventStream(send, ending=self.draining)
        self._answers.add(answer)
        try:
            await self._app(scope, receive, answer.send)
        except asyncio.CancelledError:
            if not answer.ended:
                raise
        except Exception:
            self._on_error()
            raise  # uvicorn logs it, and answers 500 or cuts the connection
        finally:
            self._answers.discard(answer)

    def sweep(self, now: float) -> None:
        """Set the date of the responses, and drop who makes no progress."""
        self.state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
        for connection in list(self.open):
            connection.check(now)

    def idle(self) -> Iterator[PlainConnection]:
        """The connections without a request."""
        return (connection for connection in list(self.open) if connection.idle)

    def drain(self) -> None:
        """From now on each answer is the last of its connection, and idle connections close after LAST_REQUEST."""
        if not self.draining:
            self.draining = True
            for connection in list(self.open):
                connection.close_after_answer()
            for answer in list(self._answers):
                ending = asyncio.ensure_future(answer.end())
                self.state.tasks.add(ending)
                ending.add_done_callback(self.state.tasks.discard)

    def close(self) -> None:
        """Drop all connections and cancel what still works on their requests."""
        for connection in list(self.open):
            connection.abort()
        for task in list(self.state.tasks):
            task.cancel()
