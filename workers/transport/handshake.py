"""Handshake: a connection from the accept to the answer to its first request.

Whatever a client does here costs at most one connection, a buffer of `header_size` bytes and `handshake_timeout`
seconds. A request for a WebSocket becomes a `WebSocket`, which takes over the transport; any other request goes, with
the connection, to an `HttpConnection`. `_receive_plain` is the only way to plain HTTP, and nothing of a WebSocket's
path passes through it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from http import HTTPStatus
from typing import cast

from websockets.http11 import Request

from workers.handshake_request import Accept, HandshakeRequest, Reject
from workers.ip_addresses import of_peer
from workers.transport.http_connection import FOR_ANY_HOST, HttpConnection
from workers.transport.negotiation import (
    Agreed,
    BadRequest,
    HandshakeRefused,
    asks_for_websocket,
    joined,
    lost_its_upgrade,
    parse_request,
    wants_websocket,
    with_verdict,
)
from workers.transport.ports import HandshakeJudge
from workers.transport.proxies import V1_PREFIX, BadProxyHeader, parse_proxy_header
from workers.transport.refusal import refusal_bytes
from workers.transport.shared import EndpointShared
from workers.transport.websocket import WebSocket

log = logging.getLogger(__name__)


class Handshake(asyncio.Protocol):
    """Reads one request and answers it."""

    __slots__ = ("_answered", "_buffer", "_claims_proxy", "_judging", "peer", "remote", "shared", "transport")

    peer: tuple[str, int]  # address and port of the other end of the socket
    transport: asyncio.Transport

    def __init__(self, shared: EndpointShared, address: object = None) -> None:
        """`address` is the other end of the socket, as the kernel tells it; None: the socket is asked."""
        self.shared = shared
        self.peer = of_peer(address)
        self._buffer = b""
        self.remote: tuple[str, int] | None = None  # as a PROXY header says
        self._claims_proxy = shared.proxies.by_protocol  # whether a PROXY header may still arrive
        self._answered = False
        self._judging: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection was accepted."""
        self.transport = cast(asyncio.Transport, transport)
        if not self.peer[0]:
            self.peer = of_peer(transport.get_extra_info("peername"))
        self.shared.on_accept(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left, or has read the answer."""
        if self._judging is not None:
            self._judging.cancel()
        self.shared.on_handshake_lost(self)

    def evict(self) -> None:
        """Drop the connection because others need its place."""
        self._count(HTTPStatus.TOO_MANY_REQUESTS)
        self._answered = True
        self.transport.abort()

    def abort(self) -> None:
        """Drop the connection."""
        self.transport.abort()

    def expire(self) -> None:
        """`handshake_timeout` has passed, before the request was complete or while its answer is being read."""
        if self._answered:
            self.transport.abort()
        elif self._judging is not None:
            self._judging.cancel()
            log.error("on_handshake took longer than limits.handshake_timeout: the handshake is refused (503)")
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def data_received(self, data: bytes) -> None:
        """Collect until the header is complete."""
        if self._answered:
            return  # what follows the header of a plain request, such as the body of a POST, is discarded
        if self._judging is not None:
            self._buffer += data  # little, as reading is paused
            return
        data = self._buffer + data
        if self._claims_proxy:
            rest = self._receive_proxy_header(data)
            if rest is None:
                return
            data = rest
        if data[:1] in (b"\r", b"\n"):
            data = data.lstrip(b"\r\n")  # RFC 9112, 2.2: empty lines before the request are ignored
        end = data.find(b"\r\n\r\n", 0, self.shared.config.header_size) + 4
        if end >= 4:
            self._receive_request(data[:end], data[end:])
        elif len(data) >= self.shared.config.header_size:
            self.shared.refusals.large_header(self.peer[0], self.shared.config.header_size)
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            self._buffer = data

    def _receive_proxy_header(self, data: bytes) -> bytes | None:
        """The bytes after the PROXY header, if a trusted peer sent one; None while more bytes are needed."""
        if not self.shared.proxies.trusts(self.peer[0]):
            self._claims_proxy = False
            return data
        try:
            found = parse_proxy_header(data)
        except BadProxyHeader as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return None
        if found is None:
            self._buffer = data
            return None
        self.remote, length = found
        self._claims_proxy = False
        self._buffer = b""
        return data[length:]

    def _receive_request(self, block: bytes, rest: bytes) -> None:
        agreed = self.shared.handshake_cache.get(block) if self.shared.judge is None else None
        if agreed is not None:
            self._accept(agreed, rest)
            return
        if self.shared.http is not None and not (asks_for_websocket(block) or block.startswith(V1_PREFIX)):
            self._receive_plain(block + rest)
            return
        try:
            request = parse_request(block)
        except BadRequest as error:
            if block.startswith(V1_PREFIX) and self.shared.proxies.trusts(self.peer[0]):
                self.shared.refusals.unexpected_proxy_header(self.peer[0])
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        self._route(self._below_root(request), block, rest)

    def _route(self, request: Request, block: bytes, rest: bytes) -> None:
        """Choose between a WebSocket, plain HTTP and a refusal."""
        host = request.headers.get("Host") or ""
        if not self.shared.hosts.allows(host) and request.path not in FOR_ANY_HOST:
            self.shared.refusals.foreign_host(host)
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "not one of this server's names")
        elif wants_websocket(request.headers) or self.shared.http is None:
            self._receive_websocket_request(request, block, rest)
        elif lost_its_upgrade(request.headers):
            self.shared.refusals.no_upgrade(self.peer[0])
            lacks = "the Upgrade and Connection headers are missing: a proxy did not pass them on"
            self._refuse(HTTPStatus.UPGRADE_REQUIRED, lacks, (("Upgrade", "websocket"),))
        else:
            self._receive_plain(block + rest)

    def _below_root(self, request: Request) -> Request:
        """The request without `http.root_path`, which a proxy either passes on or removes."""
        root = self.shared.config.root_path
        path, mark, query = request.path.partition("?")
        if not root or not (path == root or path.startswith(f"{root}/")):
            return request
        return replace(request, path=(path.removeprefix(root) or "/") + mark + query)

    def _receive_websocket_request(self, request: Request, block: bytes, rest: bytes) -> None:
        agreed = self.shared.negotiator.negotiate(request)
        if isinstance(agreed, HandshakeRefused):
            self._explain(request, agreed)
            self._refuse(agreed.status, agreed.reason, agreed.headers)
        elif self.shared.judge is not None:
            self._buffer = rest
            self.transport.pause_reading()
            self._judging = self.shared.loop.create_task(self._ask(self.shared.judge, request, agreed))
        else:
            self.shared.handshake_cache.put(block, agreed)
            self._accept(agreed, rest)

    async def _ask(self, judge: HandshakeJudge, request: Request, agreed: Agreed) -> None:
        """Let the program judge the handshake; `expire` is the deadline."""
        asked = self._described(request, agreed)
        try:
            verdict = await judge(asked)
            subprotocol = verdict.subprotocol if isinstance(verdict, Accept) else ""
            if subprotocol and subprotocol not in asked.subprotocols:
                raise ValueError(f"on_handshake chose {subprotocol!r}, which the client does not offer")
        except Exception:
            self.shared.counts.callback_errors += 1
            log.exception("on_handshake failed: the handshake is refused (500)")
            verdict = Reject(HTTPStatus.INTERNAL_SERVER_ERROR)
        self._judging = None
        if self.transport.is_closing():
            return
        self.transport.resume_reading()
        if isinstance(verdict, Reject):
            self._refuse(HTTPStatus(verdict.status), verdict.body, tuple(verdict.headers.items()))
            return
        rest, self._buffer = self._buffer, b""
        self._accept(with_verdict(agreed, verdict) if verdict is not None else agreed, rest)

    def _described(self, request: Request, agreed: Agreed) -> HandshakeRequest:
        headers: dict[str, str] = {}
        for name, value in request.headers.raw_items():
            name = name.lower()
            headers[name] = joined(name, (headers[name], value)) if name in headers else value
        scheme = "https" if self.shared.encrypted else "http"
        if self.shared.proxies.trusts(self.peer[0]):
            scheme = self.shared.proxies.scheme(request.headers.get_all) or scheme
        offered = headers.get("sec-websocket-protocol", "").split(",")
        return HandshakeRequest(
            path=agreed.handshake.path,
            query=agreed.handshake.query,
            headers=headers,
            subprotocols=tuple(one.strip() for one in offered if one.strip()),
            remote_ip=self._client(agreed)[0],
            scheme=scheme,
            host=headers.get("host", ""),
        )

    def _explain(self, request: Request, refused: HandshakeRefused) -> None:
        if refused.status == HTTPStatus.FORBIDDEN:
            origin, host = request.headers["Origin"], request.headers.get("Host") or ""
            self.shared.refusals.foreign_origin(origin, host)
        elif refused.status == HTTPStatus.NOT_FOUND:
            self.shared.refusals.unknown_path(request.path.partition("?")[0])
        elif refused.status == HTTPStatus.UPGRADE_REQUIRED and "Connection" not in request.headers:
            self.shared.refusals.no_upgrade(self.peer[0])

    def _accept(self, agreed: Agreed, rest: bytes) -> None:
        """Become a WebSocket."""
        shared = self.shared
        if shared.shut:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, shared.shut, (("Retry-After", "1"),))
            return
        ws = WebSocket(shared, agreed.handshake, self._client(agreed) if shared.behind_proxies else None)
        ws.transport = self.transport
        if not shared.behind_proxies:
            ws.set_address(self.peer[0])
        self.transport.set_protocol(ws)
        shared.on_handshake_done(self, ws)
        if not ws.is_open:  # evicted at once
            return
        self.transport.write(agreed.response)
        ws.begin(shared.handler)
        if rest:
            ws.data_received(rest)

    def _receive_plain(self, data: bytes) -> None:
        """Give the connection away, with what has been read of it."""
        self._buffer = b""
        self.shared.on_plain_request(self)
        connection = HttpConnection(self.shared, self)
        self.transport.set_protocol(connection)
        connection.connection_made(self.transport)
        connection.data_received(data)

    def take_back(self, request: bytes, rest: bytes) -> None:
        """On a connection that carried plain HTTP, a request for a WebSocket came, and `rest` after it."""
        self.transport.set_protocol(self)
        self.shared.on_taken_back(self)
        if not self.transport.is_closing():  # evicted at once
            self._receive_request(request, rest)

    def _client(self, agreed: Agreed) -> tuple[str, int]:
        """Address and port of the client, as trusted proxies report it."""
        proxies, peer = self.shared.proxies, self.remote or self.peer
        return proxies.behind(peer, agreed.claims) if proxies.trusts(peer[0]) else peer

    def _count(self, status: HTTPStatus) -> None:
        refused = self.shared.counts.refused
        refused[status] = refused.get(status, 0) + 1

    def _refuse(self, status: HTTPStatus, text: str = "", headers: tuple[tuple[str, str], ...] = ()) -> None:
        """Answer, and end the connection."""
        self._count(status)
        self._buffer = b""
        self.transport.write(refusal_bytes(status, text, headers))
        self.linger()

    def linger(self) -> None:
        """Shut this side, so that the client can read the answer.

        Closing a socket that holds unread data, such as the body of a POST, resets the connection, and the answer is
        lost. So the server closes the socket when the client does, or in `expire`.
        """
        self._answered = True
        self.shared.on_answer(self)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
