"""EndpointShared: what all connections of one endpoint share, and the accounts that each of them is entered in.

A connection holds one reference to it and nothing else of the endpoint. The endpoint builds it and owns the listening
sockets. `descriptors`, `peers` and `refusals` are shared by all endpoints of a worker.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol

from workers.transport.allowed_hosts import AllowedHosts
from workers.transport.answers import AnswerQueue
from workers.transport.config import EndpointConfig
from workers.transport.fd_budget import SLACK, FdBudget
from workers.transport.handshake_cache import HandshakeCache
from workers.transport.http_server import AsgiApp, HttpServer
from workers.transport.keepalive import Expiring, Keepalive, PendingHandshake, PingedSocket
from workers.transport.negotiation import Negotiator
from workers.transport.parser import Parsers
from workers.transport.peers import Newcomer, Peers
from workers.transport.poller import SocketPoller
from workers.transport.ports import ConnectionHandler, HandshakeJudge
from workers.transport.proxies import TrustedProxies
from workers.transport.refusal_log import RefusalLog

PATIENCE: Final = 1.0  # seconds that a handshake may take where no descriptors are left
LOW_WATER_PART: Final = 4  # a paused reader goes on when a quarter of the queue is left


class SharedSocket(PingedSocket, Protocol):
    """An open WebSocket as the accounts see it."""

    transport: asyncio.Transport

    @property
    def address(self) -> str:
        """The client's address."""


@dataclass(slots=True)
class EndpointCounts:
    """What happened on an endpoint since its start; copied to the worker's shared row now and then."""

    connections: int = 0  # open now
    connections_total: int = 0
    messages_in: int = 0
    bytes_in: int = 0
    bytes_out: int = 0  # by `write_frame`; the rooms count what they write
    refused: dict[int, int] = field(default_factory=dict)  # handshakes, by the status of the answer
    protocol_errors: int = 0
    callback_errors: int = 0


class EndpointShared:
    """Configuration, parsers, counters and accounts of one endpoint."""

    def __init__(
        self,
        config: EndpointConfig,
        handler: ConnectionHandler,
        http: AsgiApp | None,
        *,
        encrypted: bool,
        judge: HandshakeJudge | None = None,
        descriptors: FdBudget | None,
        peers: Peers | None,
        refusals: RefusalLog | None,
        answers: AnswerQueue | None,
    ) -> None:
        self.config = config
        self._low_water = config.queue_size // LOW_WATER_PART  # one number for all connections
        self.handler = handler
        self.encrypted = encrypted
        self.judge = judge
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.poller = SocketPoller()
        self.counts = EndpointCounts()
        self.http = HttpServer(http, config, self.now, self._on_http_error) if http is not None else None
        self.parsers = Parsers(config.message_size)
        self.proxies = TrustedProxies(config.trusted_proxies, config.forwarded_header)
        self.behind_proxies = bool(self.proxies)
        self.negotiator = Negotiator(
            paths=config.paths,
            origins=config.origins,
            subprotocols=config.subprotocols,
            deflate=config.deflate,
            claims=self.proxies.claims,
            keep=config.keep_headers,
        )
        self.hosts = AllowedHosts(config.hosts)
        self.handshake_cache = HandshakeCache()
        self.keepalive = Keepalive(config, self.now)
        self.keepalive.on_sweep = self._sweep
        self.descriptors = descriptors or FdBudget.of_this_process(config.reserve)
        self.peers = peers or Peers(
            self.descriptors.limit, per_address=config.per_address, ipv6_prefix=config.ipv6_prefix
        )
        self.refusals = refusals or RefusalLog()
        self.answers = answers or AnswerQueue()
        self.shut = ""  # why no WebSocket is accepted; "": they are

    # ---- handshakes --------------------------------------------------------------------------------

    def on_accept(self, handshake: PendingHandshake) -> None:
        """A connection was accepted and its handshake begins."""
        self.descriptors.take()
        self._begin(handshake)

    def _begin(self, handshake: PendingHandshake) -> None:
        self.keepalive.handshakes.add(handshake, self.now())
        address = self._counted_address(handshake) if self.behind_proxies else handshake.peer[0]
        if (evicted := self.peers.add(handshake.transport, address)) is not None:
            self._evict(evicted, address)

    def _counted_address(self, handshake: PendingHandshake) -> str:
        """The address that the connection counts for; "" where a proxy is between."""
        address = handshake.peer[0]
        return "" if self.behind_proxies and self.proxies.trusts(address) else address

    def on_answer(self, handshake: PendingHandshake) -> None:
        """The handshake ended with a response other than 101; the client has some time to read it."""
        self.keepalive.handshakes.set(handshake, self.now())

    def on_handshake_lost(self, handshake: PendingHandshake) -> None:
        """The connection is closed and did not become a WebSocket."""
        self.peers.remove(handshake.transport, "")
        self.keepalive.handshakes.clear(handshake)
        self.descriptors.give_back()

    def on_plain_request(self, handshake: PendingHandshake) -> None:
        """The connection asks for plain HTTP: who asks is served, and not evicted for others."""
        self.keepalive.handshakes.clear(handshake)
        self.peers.settle(handshake.transport)

    def on_taken_back(self, handshake: PendingHandshake) -> None:
        """A connection of plain HTTP begins a handshake after all."""
        self.peers.remove(handshake.transport, self._counted_address(handshake))
        self._begin(handshake)

    def on_plain_lost(self, handshake: PendingHandshake) -> None:
        """A connection of plain HTTP is closed."""
        self.peers.remove(handshake.transport, self._counted_address(handshake))
        self.keepalive.handshakes.clear(handshake)
        self.descriptors.give_back()

    def on_handshake_done(self, handshake: PendingHandshake, ws: SharedSocket) -> None:
        """The connection became a WebSocket."""
        self.keepalive.handshakes.clear(handshake)
        self.on_open(ws)
        if self.behind_proxies:
            address = ws.address
            if (evicted := self.peers.move(ws.transport, address)) is not None:
                self._evict(evicted, address)

    def _evict(self, newcomer: Newcomer, address: str) -> None:
        protocol = newcomer.get_protocol()
        if protocol is not None:  # else its socket is lost, and with TLS it is told so in the next turn only
            protocol.evict()
        if self.peers.count(address) >= self.peers.share:
            self.refusals.crowded_address(address, self.peers.share)

    def _on_http_error(self) -> None:
        self.counts.callback_errors += 1

    def _sweep(self, now: float) -> None:
        if self.http is not None:
            self.http.sweep(now)
        self._make_room(now)

    def _make_room(self, now: float) -> None:
        """Where no descriptors are left, close idle HTTP and evict the oldest handshakes that make no progress."""
        if self.descriptors.paused:
            for idle in islice(self.http.idle() if self.http is not None else (), SLACK):
                idle.shutdown()
            for handshake in list(islice(self.keepalive.handshakes, SLACK)):
                if (self.keepalive.handshakes.age(handshake, now) or 0.0) >= PATIENCE:
                    handshake.evict()

    # ---- WebSockets --------------------------------------------------------------------------------

    def on_open(self, ws: SharedSocket) -> None:
        """A WebSocket is open on its transport."""
        ws.transport.set_write_buffer_limits(self.config.queue_size, self._low_water)
        self.keepalive.add(ws)
        self.counts.connections += 1
        self.counts.connections_total += 1

    def on_closing(self, ws: Expiring) -> None:
        """A WebSocket waits for its peer to finish the closing handshake."""
        self.keepalive.closings.set(ws, self.now())

    def on_lost(self, ws: SharedSocket) -> None:
        """A WebSocket's socket is closed."""
        self.peers.remove(ws.transport, ws.address)
        self.keepalive.remove(ws)
        self.counts.connections -= 1
        self.descriptors.give_back()

    # ---- connections of another process ------------------------------------------------------------

    def on_attach(self, address: str) -> None:
        """The descriptor of a connection that another process accepted continues here."""
        self.descriptors.take()
        self.peers.add_settled(address)
        self.keepalive.start(self.loop)
