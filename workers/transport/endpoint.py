"""Endpoint: accepts connections from listening sockets, and attaches connections of another process.

The listening sockets belong to the master. An endpoint listens on duplicates, so that a pause, a stop and the end of
this process leave the accept queue untouched.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from typing import cast

from workers.close_codes import CloseCode
from workers.transport.acceptor import Acceptor, PlainAcceptor, TlsAcceptor
from workers.transport.answers import AnswerQueue
from workers.transport.config import EndpointConfig
from workers.transport.fd_budget import FdBudget
from workers.transport.handshake import Handshake
from workers.transport.http_server import AsgiApp
from workers.transport.peers import Peers
from workers.transport.ports import ConnectionHandler, HandshakeJudge
from workers.transport.refusal_log import RefusalLog
from workers.transport.shared import EndpointShared
from workers.transport.snapshot import decode_state
from workers.transport.socket_transport import SocketTransport
from workers.transport.websocket import WebSocket

log = logging.getLogger(__name__)

# Which listeners an endpoint serves: ws:// and unix:, wss://, or the one of `api.listen`.
PLAIN, SECURE, API = "plain", "secure", "api"


class Endpoint:
    """Owns the acceptors of one kind of listener, and all connections that they accept.

    `http` is the ASGI application for plain requests; None: they are refused with 426. With `tls` the endpoint serves wss://.
    `kind` is one of PLAIN, SECURE and API.
    `descriptors`, `peers` and `refusals` are those of the worker's other endpoints, `answers` is the one that the rooms
    take along; None: new ones.
    """

    def __init__(
        self,
        config: EndpointConfig,
        handler: ConnectionHandler,
        http: AsgiApp | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        kind: str = PLAIN,
        judge: HandshakeJudge | None = None,
        descriptors: FdBudget | None = None,
        peers: Peers | None = None,
        refusals: RefusalLog | None = None,
        answers: AnswerQueue | None = None,
    ) -> None:
        self.tls = tls
        self.kind = kind
        self.shared = EndpointShared(
            config,
            handler,
            http,
            encrypted=tls is not None,
            judge=judge,
            descriptors=descriptors,
            peers=peers,
            refusals=refusals,
            answers=answers,
        )
        self._config = config
        self._loop = self.shared.loop
        self._keepalive = self.shared.keepalive
        self._descriptors = self.shared.descriptors
        self._descriptors.watch(self._on_descriptors)
        self._listeners: list[socket.socket] = []
        self._acceptors: list[Acceptor] = []  # as many as listeners, or none
        self._serving: asyncio.Task[None] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether its connections can move to another process: they are WebSockets, and not encrypted."""
        return self.kind == PLAIN

    # ---- accepting ---------------------------------------------------------------------------------

    async def listen(self, sock: socket.socket) -> None:
        """Accept from one more listening socket, which stays the caller's and open until `stop_accepting`."""
        self._listeners.append(sock)
        self._keepalive.start(self._loop)
        if not self._descriptors.paused:
            self._acceptors.append(await self._open(sock))

    async def _open(self, sock: socket.socket) -> Acceptor:
        make = partial(Handshake, self.shared)
        if self.tls is None:
            return PlainAcceptor(sock, make, self.shared.poller)
        return await TlsAcceptor.open(sock, make, self._config, self.tls)

    def stop_accepting(self) -> None:
        """Stop accepting for good. Open connections and handshakes go on."""
        self._listeners.clear()
        self._close_acceptors()

    @property
    def accepting(self) -> bool:
        """Whether new connections are accepted now."""
        return bool(self._acceptors)

    @property
    def handshakes(self) -> int:
        """How many handshakes are under way."""
        return len(self._keepalive.handshakes)

    def _on_descriptors(self, paused: bool) -> None:
        if paused:
            log.warning(
                "no new connections are taken at %d open files: the limit (ulimit -n) is near", self._descriptors.used
            )
            # Not at once: the event loop is still in the middle of accepting a connection.
            self._loop.call_soon(self._close_acceptors)
        else:
            log.info("new connections are taken again")
            self._serve_again()

    def _close_acceptors(self) -> None:
        if self._listeners and not self._descriptors.paused:
            return  # descriptors are free again
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()

    def _serve_again(self) -> None:
        if self._listeners and (self._serving is None or self._serving.done()):
            self._serving = self._loop.create_task(self._serve_all())

    async def _serve_all(self) -> None:
        """Listen on the remaining sockets, unless accepting has to pause again."""
        for sock in self._listeners[len(self._acceptors) :]:
            acceptor = await self._open(sock)
            if self._descriptors.paused or not self._listeners:
                acceptor.close()
                return
            self._acceptors.append(acceptor)

    def close(self) -> None:
        """Stop accepting and drop all connections."""
        self.stop_accepting()
        if self._serving is not None:
            self._serving.cancel()
        for ws in list(self._keepalive):
            ws.abort(CloseCode.GOING_AWAY)
        for handshake in list(self._keepalive.handshakes):
            handshake.abort()
        if self.shared.http is not None:
            self.shared.http.close()
        self._keepalive.stop()

    # ---- connections that move between processes -------------------------------------------------------

    def attach(self, moved: Sequence[tuple[int, bytes]]) -> list[WebSocket | Exception]:
        """Continue connections that another process froze, by their descriptors, which are closed with them.

        The result has, for each connection, the WebSocket or the reason why it cannot continue: ValueError for a state
        that cannot be decoded, OSError for a dead socket. Nothing is read before the caller has set `ws.owner` and
        called `ws.resume_reading()`.
        """
        return [self._attach_one(descriptor, state) for descriptor, state in moved]

    def _attach_one(self, descriptor: int, state: bytes) -> WebSocket | Exception:
        try:
            known = decode_state(state)
            transport = SocketTransport(self.shared.poller, descriptor)
        except (ValueError, OSError) as error:
            os.close(descriptor)
            return error
        shared = self.shared
        handshake = shared.handshake_cache.one_of_equals(known.handshake)
        ws = WebSocket(shared, handshake, known.remote if shared.behind_proxies else None)
        if not shared.behind_proxies:
            ws.set_address(known.remote[0])
        ws.restore(known)
        shared.on_attach(ws.address)
        transport.set_protocol(ws)
        ws.connection_made(cast(asyncio.Transport, transport))
        if known.pinged is not None and ws.is_open:
            self._keepalive.restore_ping(ws, known.pinged, shared.now())
        return ws
