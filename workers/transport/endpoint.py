"""A place where connections come in: it accepts them from listening sockets and knows all that are open.

The listening sockets belong to the master. An endpoint listens on duplicates, so that stopping, pausing and
the end of this process leave the accept queue as it is.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from workers.close_codes import CloseCode
from workers.tasks import EagerCoroutine
from workers.transport.acceptor import Acceptor
from workers.transport.closing import ClosingProtocol
from workers.transport.config import EndpointConfig
from workers.transport.fd_budget import SLACK, FdBudget
from workers.transport.handshake import Handshake
from workers.transport.handshake_cache import HandshakeCache
from workers.transport.hosts import Hosts
from workers.transport.keepalive import Keepalive
from workers.transport.negotiation import Negotiator
from workers.transport.notices import Notices
from workers.transport.parser import Parsers
from workers.transport.peers import Newcomer, Peers
from workers.transport.ports import ConnectionHandler, HttpHandler
from workers.transport.proxies import TrustedProxies
from workers.transport.snapshot import ConnectionState, decode_state
from workers.transport.websocket import WebSocket

log = logging.getLogger(__name__)

PATIENCE = 1.0  # seconds for a handshake that nobody need wait for where there are no descriptors left
LOW_WATER_PART = 4  # a paused reader goes on when a quarter of the queue is left


@dataclass(slots=True)
class EndpointCounts:
    """What happened here since the start; copied to the shared counters now and then."""

    connections: int = 0  # open now
    connections_total: int = 0
    messages_in: int = 0
    bytes_in: int = 0
    bytes_out: int = 0  # by `write_frame`; what the rooms write, they count
    refused: dict[int, int] = field(default_factory=dict)  # handshakes, by the status of the answer
    protocol_errors: int = 0
    callback_errors: int = 0


class Endpoint:
    """Accepts, keeps the set of open connections, and lends them what they share.

    `http` answers plain requests; None: they are refused with 426. `tls` makes it wss://.
    `descriptors`, `peers` and `notices` are shared by all endpoints of a worker.
    """

    def __init__(
        self,
        config: EndpointConfig,
        handler: ConnectionHandler,
        http: HttpHandler | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        descriptors: FdBudget | None = None,
        peers: Peers | None = None,
        notices: Notices | None = None,
    ) -> None:
        self.config = config
        self.handler = handler
        self.http = http
        self.tls = tls
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.counts = EndpointCounts()
        self.parsers = Parsers(config.message_size)
        self.proxies = TrustedProxies(config.trusted_proxies, config.forwarded_header)
        self.behind_proxies = bool(self.proxies)
        self.negotiator = Negotiator(
            paths=config.paths,
            origins=config.origins,
            subprotocols=config.subprotocols,
            deflate=config.deflate,
            claims=self.proxies.claims,
        )
        self.hosts = Hosts(config.hosts)
        self.handshake_cache = HandshakeCache()
        self.connections = Keepalive(config, self.now)
        self.descriptors = descriptors or FdBudget.of_this_process(config.reserve)
        self.descriptors.watch(self._descriptors_changed)
        self.peers = peers or Peers(
            self.descriptors.limit, per_address=config.per_address, ipv6_prefix=config.ipv6_prefix
        )
        self.notices = notices or Notices()
        self.connections.when_swept = self._make_room
        self._listeners: list[socket.socket] = []
        self._doors: list[Acceptor] = []  # as many as listeners, or none
        self._serving: asyncio.Task[None] | None = None

    # ---- accepting ---------------------------------------------------------------------------------

    async def listen(self, sock: socket.socket) -> None:
        """Accept from a listening socket too. It stays the caller's; keep it open until `stop_accepting`."""
        self._listeners.append(sock)
        self.connections.start(self.loop)
        if not self.descriptors.paused:
            self._doors.append(await self._open(sock))

    async def _open(self, sock: socket.socket) -> Acceptor:
        return await Acceptor.open(sock, partial(Handshake, self), self.config, self.tls)

    def stop_accepting(self) -> None:
        """Leave the listening sockets to others, for good. Open connections and handshakes go on."""
        self._listeners.clear()
        self._close_doors()

    @property
    def accepting(self) -> bool:
        """Whether new connections are taken now."""
        return bool(self._doors)

    def _descriptors_changed(self, paused: bool) -> None:
        if paused:
            log.warning(
                "no new connections are taken at %d open files: the limit (ulimit -n) is near", self.descriptors.used
            )
            # Not at once: this is called while the server is in the middle of handing a connection over.
            self.loop.call_soon(self._close_doors)
        else:
            log.info("new connections are taken again")
            self._serve_again()

    def _close_doors(self) -> None:
        if self._listeners and not self.descriptors.paused:
            return  # it was asked for, but meanwhile the reason has gone
        for door in self._doors:
            door.close()
        self._doors.clear()

    def _serve_again(self) -> None:
        if self._listeners and (self._serving is None or self._serving.done()):
            self._serving = self.loop.create_task(self._serve_all())

    async def _serve_all(self) -> None:
        """Listen on what is not listened on, unless a reason to pause has come up again."""
        for sock in self._listeners[len(self._doors) :]:
            door = await self._open(sock)
            if self.descriptors.paused or not self._listeners:
                door.close()
                return
            self._doors.append(door)

    def close(self) -> None:
        """Stop everything; what is still open is dropped."""
        self.stop_accepting()
        if self._serving is not None:
            self._serving.cancel()
        for ws in list(self.connections):
            ws.abort(CloseCode.GOING_AWAY)
        for handshake in list(self.connections.handshakes):
            handshake.transport.abort()
        self.connections.stop()

    # ---- connections that move between processes -------------------------------------------------------

    async def attach(self, sock: socket.socket, state: bytes) -> WebSocket:
        """Go on with a connection that another process detached; the socket becomes the connection's.

        Nothing is delivered before the caller has set `ws.owner` and called `ws.resume_reading()`. But bytes may
        be read from the socket at once (uvloop starts reading before it lets anyone stop it), so this is for a
        move that cannot be taken back any more; until then the descriptor is only held.
        Raises msgspec.MsgspecError for a state that is none, OSError for a socket that is dead.
        """
        (ws,) = await self.attach_all([(sock, state)])
        if isinstance(ws, Exception):
            raise ws
        return ws

    async def attach_all(self, moved: Sequence[tuple[socket.socket, bytes]]) -> list[WebSocket | Exception]:
        """Go on with many connections as `attach` does with one; in place of one that cannot, why.

        They are begun in one turn of the loop, without a task for each.
        """
        begun = [self._begin(sock, state) for sock, state in moved]
        attached: list[WebSocket | Exception] = []
        for one in begun:
            if isinstance(one, Exception):
                attached.append(one)
                continue
            ws, adoption, known = one
            try:
                await adoption
            except OSError as error:
                self.descriptors.give_back()
                self.peers.remove(ws, ws.address)
                attached.append(error)
                continue
            if known.pinged is not None and ws.is_open:
                self.connections.pinged_before(ws, known.pinged, self.now())
            attached.append(ws)
        return attached

    def _begin(
        self, sock: socket.socket, state: bytes
    ) -> tuple[WebSocket, EagerCoroutine[Any], ConnectionState] | Exception:
        try:
            known = decode_state(state)
        except ValueError as error:
            sock.close()
            return error
        ws = WebSocket(self, known.handshake, known.remote)
        ws.restore(known)
        self.descriptors.take()
        self.peers.add_settled(ws.address)
        self.connections.start(self.loop)
        return ws, EagerCoroutine(self.loop.connect_accepted_socket(lambda: ws, sock)), known

    # ---- what connections report -----------------------------------------------------------------------

    def handshake_began(self, handshake: Handshake) -> None:
        """A connection was accepted."""
        self.descriptors.take()
        self.connections.handshakes.add(handshake, self.now())
        address = handshake.peer[0]
        if self.behind_proxies and self.proxies.trusts(address):
            address = ""
        self._let_in(address, self.peers.add(handshake, address))

    def _let_in(self, address: str, instead_of: Newcomer | None) -> None:
        if instead_of is not None:
            instead_of.evict()
            if self.peers.of(address) >= self.peers.share:
                self.notices.warn(
                    "addresses with too many connections",
                    address,
                    f"{address} has {self.peers.share} connections, and the rest are kept for other addresses: whoever "
                    "of them has not come in yet gives way (a proxy belongs into server.trusted_proxies)",
                )

    def _make_room(self, now: float) -> None:
        """Out of descriptors, with handshakes that do not go on: the oldest give way."""
        if self.descriptors.paused:
            for handshake in list(islice(self.connections.handshakes, SLACK)):
                if (self.connections.handshakes.age(handshake, now) or 0.0) >= PATIENCE:
                    handshake.evict()

    def handshake_answered(self, handshake: Handshake) -> None:
        """It has got a response that is no 101, and some time to read it."""
        self.connections.handshakes.set(handshake, self.now())

    def lost_in_handshake(self, handshake: Handshake) -> None:
        """It is gone without having become a WebSocket."""
        self.peers.remove(handshake, "")
        self.connections.handshakes.clear(handshake)
        self.descriptors.give_back()

    def upgraded(self, handshake: Handshake, ws: WebSocket) -> None:
        """It has become a WebSocket."""
        self.connections.handshakes.clear(handshake)
        self.opened(ws)
        self._let_in(ws.address, self.peers.rename(handshake, ws, ws.address))

    def came_in(self, ws: Newcomer) -> None:
        """The client of a WebSocket has said who it is, or need not."""
        self.peers.settled(ws)

    def opened(self, ws: WebSocket) -> None:
        """A WebSocket is open on its transport."""
        high = self.config.queue_size
        ws.transport.set_write_buffer_limits(high, high // LOW_WATER_PART)
        self.connections.add(ws)
        self.counts.connections += 1
        self.counts.connections_total += 1

    def closing_began(self, ws: ClosingProtocol) -> None:
        """A WebSocket waits for its peer to finish the closing handshake."""
        self.connections.closings.set(ws, self.now())

    def lost(self, ws: WebSocket) -> None:
        """A WebSocket's socket is closed."""
        self.peers.remove(ws, ws.address)
        self.connections.remove(ws)
        self.counts.connections -= 1
        self.descriptors.give_back()
