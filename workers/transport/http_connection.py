"""HttpConnection: a connection of plain HTTP, by uvicorn's protocol, under the endpoint's rules and limits.

A connection carries many requests, and a proxy sends those of many clients on it. So whatever depends on a request is
judged for each: the Host, the path that a proxy serves, the client's address and scheme, the sizes. A request for a
WebSocket on a kept connection goes back to the `Handshake` that the connection began with.

What is used of uvicorn beside its documented interface, and so pinned: `HttpToolsProtocol` with its parser's callbacks
(`on_url` … `on_message_complete`), `app`, `client`, `scheme`, `url`, `headers`, `scope`, `cycle`, `flow`, `transport`,
`pipeline`, `parser`, `handle_websocket_upgrade`, `_start_asgi_task`; `FlowControl` with `HIGH_WATER_LIMIT`;
`RequestResponseCycle` with `transport`, `body`, `keep_alive`, `more_body`, `disconnected`, `message_event`,
`response_started`, `response_complete`.
"""

from __future__ import annotations

import asyncio
import re
import sys
import weakref
from collections.abc import Collection
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol, cast

from httptools import HttpParserUpgrade
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from workers.http.site import EXTENSION
from workers.ip_addresses import is_loopback
from workers.transport.http_server import LAST_REQUEST
from workers.transport.refusal import AsgiRefusal, refusal_bytes

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

    from workers.transport.shared import EndpointShared

WAITING: Final = 16  # requests behind the one that is being answered; what one read brings comes on top
FOR_ANY_HOST: Final = ("/health", "/ready")  # load balancers ask by address, and the answers hold no secret
_BY_PROXIES: Final = {
    *(b"forwarded", b"x-forwarded-for", b"x-real-ip", b"x-forwarded-proto", b"x-forwarded-host", b"via"),
}
_absolute = re.compile(rb"(?:https?|wss?)://([^/?#]*)", re.IGNORECASE)
_unprintable = re.compile(rb"[^\x21-\x7e]")


class Beginning(Protocol):
    """The `Handshake` that the connection began with: it is in the accounts of the endpoint."""

    peer: tuple[str, int]
    remote: tuple[str, int] | None  # as a PROXY header says
    transport: asyncio.Transport

    def take_back(self, request: bytes, rest: bytes) -> None:
        """A request for a WebSocket came, and `rest` after it: the connection is the handshake's again."""

    def linger(self) -> None:
        """The last answer is written: the connection ends when its client closes, or after some time."""

    def evict(self) -> None:
        """Drop the connection because others need its place."""

    def expire(self) -> None:
        """The deadline of the handshake has passed."""

    def abort(self) -> None:
        """Drop the connection."""

    def __hash__(self) -> int: ...


class HttpConnection(HttpToolsProtocol):
    """One connection, from its first plain request to its end."""

    def __init__(self, shared: EndpointShared, handshake: Beginning) -> None:
        assert shared.http is not None
        self._server = shared.http
        super().__init__(self._server.uvicorn, self._server.state, self._server.app_state, shared.loop)
        self._shared = shared
        self._handshake = handshake
        self._everybody = self.app  # the application, for requests that nothing is wrong with
        self._head = 0  # bytes of the request's head so far; 0: none has begun
        self._head_began = 0.0
        self._heads = 0  # requests that have begun
        self._body = 0  # bytes of the request's body so far
        self._progress = shared.now()  # when the client last sent or took something
        self.written = 0  # bytes of all answers
        self._taken = 0  # bytes of them that had left this process when that was last looked at
        self._answering: RequestResponseCycle | None = None  # the request that is being answered, or was last
        self._data = b""  # what is being parsed
        self._asks_ahead = False  # whether the client has sent a request, or its begin, before it had the last answer
        self.lingering = False  # the last answer is written; what the client still sends is discarded

    # ---- the connection ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The endpoint hands the connection over."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._server.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by either side."""
        self._server.open.discard(self)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        answering = self._answering
        if answering is not None and not answering.response_complete:  # uvicorn has told the last request that came
            answering.disconnected = True
            answering.message_event.set()
        self.pipeline.clear()
        self._let_go()
        self._shared.on_plain_lost(self._handshake)

    def _let_go(self) -> None:
        """The connection carries no request any more: forget what refers back to it, and so would keep it."""
        self._answering = None
        self.cycle = self.parser = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Parse; the head of a request is limited in size by the bytes that come before it is complete."""
        if self.lingering:
            return
        self._progress = self._shared.now()
        before = self._heads
        self._data = data
        super().data_received(data)
        self._data = b""
        if self.pipeline and not self.transport.is_closing():  # uvicorn pauses where a request has to wait
            self.flow.resume_reading()
        if self._head and self._heads == before and not self.transport.is_closing():
            self._head += len(data)
            if self._head > self._shared.config.header_size:
                self._shared.refusals.large_header(self._handshake.peer[0], self._shared.config.header_size)
                self._refuse_next(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    @property
    def idle(self) -> bool:
        """Whether no request is under way, not even a part of its head."""
        return not self._head and self._all_answered

    @property
    def _all_answered(self) -> bool:
        """Whether each request whose head is complete has its whole answer; they are answered in order."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def more_may_come(self) -> bool:
        """Whether the client may have sent more than was read: it does not wait for answers, or reading is paused."""
        return self._asks_ahead or self.flow.read_paused

    def check(self, now: float) -> None:
        """Drop the connection if its client neither sends what it has begun nor takes what it asked for."""
        limits = self._shared.config
        waiting = self.transport.get_write_buffer_size()
        if self.written - waiting > self._taken:
            self._progress = now
        self._taken = self.written - waiting
        if self.flow.read_paused:
            self._head_began = now  # the rest of the head is in the socket
        late = now - self._progress
        if self.lingering:
            if waiting and late < limits.request_timeout:
                self._shared.on_answer(self._handshake)  # the time to close begins when the answer is sent
            return  # `Handshake.expire` ends it
        if self.idle and not waiting:
            # uvicorn's own timer does not run after an empty line between requests.
            if late >= (LAST_REQUEST if self._server.draining else limits.keep_alive + 1):
                self.transport.close()
        elif self._head and self._all_answered and now - self._head_began >= limits.handshake_timeout:
            self.send_refusal(HTTPStatus.REQUEST_TIMEOUT)
        elif (waiting or self._wants_body) and late >= limits.request_timeout:
            self.transport.abort()

    @property
    def _wants_body(self) -> bool:
        """Whether the application takes more of the body than the client has sent."""
        cycle = self.cycle
        return cycle is not None and cycle.more_body and not (self.flow.read_paused or cycle.waiting_for_100_continue)

    def shutdown(self) -> None:
        """Close the connection now if it is idle, else after the answer that is under way."""
        if self.idle:
            self.transport.close()
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    def close_after_answer(self) -> None:
        """An answer that has not begun is the last; after one that has, the client may ask once more."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def abort(self) -> None:
        """Drop the connection."""
        self.transport.abort()

    # ---- the rules for each request ----------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._head, self._body = 1, 0
        self._heads += 1
        self._head_began = self._shared.now()
        self._asks_ahead = self._asks_ahead or not self._all_answered
        self.app = self._everybody
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is complete: judge it, and start the application or a refusal."""
        self._head = 0
        if self.lingering:  # since a request that came in the same read
            return
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        refusal = self._judge()
        self.scope["extensions"] = {EXTENSION: {"local": self._set_client()}}
        if refusal is not None:
            self._count(refusal.status)
            self.app = cast("ASGI3Application", refusal)
        super().on_headers_complete()
        self.cycle.transport = cast(asyncio.Transport, _Answering(self, self.cycle))
        if refusal is not None or self._server.draining or self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def _judge(self) -> AsgiRefusal | None:
        self._take_origin_form()
        hosts = [value for name, value in self.headers if name == b"host"]
        if self.parser.get_http_version() not in ("1.0", "1.1"):  # a line that breaks off is a request of HTTP/0.9
            return AsgiRefusal(HTTPStatus.BAD_REQUEST, "not a request of HTTP/1.1")
        if _unprintable.search(self.url):
            return AsgiRefusal(HTTPStatus.BAD_REQUEST, "a control character in the path")
        if len(hosts) > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            return AsgiRefusal(HTTPStatus.BAD_REQUEST, "more than one Host" if hosts else "no Host")  # RFC 9112, 3.2
        root = self._shared.config.root_path.encode()
        path, mark, query = self.url.partition(b"?")
        if root and path == root:  # the page's links are relative
            there = (("Location", f"{root.decode()}/"),)
            return AsgiRefusal(HTTPStatus.PERMANENT_REDIRECT, headers=there)
        if root and path.startswith(root + b"/"):  # uvicorn expects that the proxy has removed it
            path = path.removeprefix(root)
            self.url = path + mark + query
        return self._judge_host(hosts[0].decode("latin-1") if hosts else "", path) or self._judge_size()

    def _judge_host(self, host: str, path: bytes) -> AsgiRefusal | None:
        if self._shared.hosts.allows(host) or path.decode("latin-1") in FOR_ANY_HOST:
            return None
        self._shared.refusals.foreign_host(host)
        return AsgiRefusal(HTTPStatus.MISDIRECTED_REQUEST, "not one of this server's names")

    def _judge_size(self) -> AsgiRefusal | None:
        most = self._shared.config.body_size
        sizes = [int(value) for name, value in self.headers if name == b"content-length" and value.isdigit()]
        if most and any(size > most for size in sizes):
            return AsgiRefusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of more than {most} bytes")
        return None

    def _take_origin_form(self) -> None:
        """Reduce an absolute target to its path; its host replaces the Host (RFC 9112, 3.2.2)."""
        found = _absolute.match(self.url)
        if found is None:
            return
        rest = self.url[found.end() :]
        self.url = rest if rest.startswith(b"/") else b"/" + rest
        self.headers[:] = [(b"host", found[1]), *(pair for pair in self.headers if pair[0] != b"host")]

    def _set_client(self) -> bool:
        """Put the client's address and scheme into the scope; returns whether the client is on this machine."""
        proxies, peer = self._shared.proxies, self._handshake.remote or self._handshake.peer
        client = peer
        if proxies.trusts(peer[0]):
            client = proxies.behind(peer, self._values(proxies.header))
            self.scope["scheme"] = proxies.scheme(self._values) or self.scheme or "http"
        self.scope["client"] = client if client[0] else None
        if client == peer and any(name in _BY_PROXIES for name, _ in self.headers):
            return False
        return not client[0] or is_loopback(client[0])

    def _values(self, header: str) -> list[str]:
        """The values of a header, in order."""
        name = header.lower().encode()
        return [value.decode("latin-1") for given, value in self.headers if given == name]

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """The answer is written: the client's turn."""
        self._progress = self._shared.now()
        super().on_response_complete()
        if self.lingering:
            self._unset_keepalive_if_required()

    # ---- bodies --------------------------------------------------------------------------------------

    def on_body(self, body: bytes) -> None:
        """A part of the body, which may be chunked and so larger than announced."""
        self._body += len(body)
        most = self._shared.config.body_size
        if self.lingering:
            return
        if most and self._body > most and not self.cycle.response_complete:
            self._refuse_body(most)
        else:
            super().on_body(body)

    def _refuse_body(self, most: int) -> None:
        """Tell the application that the client has gone, and the client why."""
        cycle = self.cycle
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started or self.pipeline:
            self.transport.abort()
        else:
            self.send_refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of more than {most} bytes")

    # ---- WebSockets on a kept connection -------------------------------------------------------------

    def _should_upgrade(self) -> bool:
        return self._get_upgrade() == b"websocket" and self.parser.get_method() == b"GET" and self.idle

    def _unsupported_upgrade_warning(self) -> None:
        """Any client may offer an upgrade, h2c for example; the offer is ignored (RFC 9110, 7.8)."""

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection back, with the request as it came."""
        self._server.open.discard(self)
        self.connections.discard(self)
        self._unset_keepalive_if_required()
        lines = [b"GET " + self.url + b" HTTP/1.1", *(name + b": " + value for name, value in self.headers)]
        self._handshake.take_back(b"\r\n".join((*lines, b"", b"")), self._after_upgrade())
        self._let_go()

    def _after_upgrade(self) -> bytes:
        """What came behind the request that the parser has just found to be an upgrade."""
        found = sys.exc_info()[1]
        assert isinstance(found, HttpParserUpgrade)
        return self._data[found.args[0] :]

    # ---- the last answer -----------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP."""
        self._refuse_next(HTTPStatus.BAD_REQUEST, msg)

    def _refuse_next(self, status: HTTPStatus, text: str = "") -> None:
        """Refuse what is no complete head of a request, and close."""
        if self._all_answered:
            self.send_refusal(status, text)
        else:
            self.transport.abort()  # in the middle of an answer there is no place for another

    def send_refusal(self, status: HTTPStatus, text: str = "") -> None:
        """Answer without the application, and close."""
        self._count(status)
        self.transport.write(refusal_bytes(status, text))
        self.linger()

    def linger(self) -> None:
        """Shut this side, so that the client can read the answer, and discard what it still sends.

        Closing a socket that holds unread data, such as the rest of a body, resets the connection, and the answer is
        lost. The client has `handshake_timeout` seconds to close.
        """
        if self.lingering or self.transport.is_closing():
            return
        self.lingering = True
        self._head = 0
        self.pipeline.clear()  # nothing can be answered any more
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self._handshake.linger()

    def _count(self, status: HTTPStatus) -> None:
        if status >= HTTPStatus.BAD_REQUEST:
            refused = self._shared.counts.refused
            refused[status] = refused.get(status, 0) + 1


class _Flow(FlowControl):
    """Leaves what a client sends on in its socket while WAITING requests, or much of their bodies, wait here.

    The request that is being answered has its whole body then.
    """

    def __init__(self, transport: asyncio.Transport, pipeline: Collection[tuple[RequestResponseCycle, object]]) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        """Read on, unless too much waits; uvicorn asks again after each answer.

        Where little waits it is read on, so that an application that waits for it hears that the client has gone.
        """
        if len(self._pipeline) < WAITING and sum(len(cycle.body) for cycle, _ in self._pipeline) <= HIGH_WATER_LIMIT:
            super().resume_reading()


class _Answering:
    """The transport that an answer is written to: its last act is to linger where the client may still send."""

    __slots__ = ("_connection", "_cycle")

    def __init__(self, connection: HttpConnection, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        # The request refers to this; a strong reference back would leave it to the garbage collector in the end.
        self._cycle = weakref.ref(cycle)

    def write(self, data: bytes) -> None:
        self._connection.written += len(data)
        self._connection.transport.write(data)

    def is_closing(self) -> bool:
        return self._connection.transport.is_closing()

    def close(self) -> None:
        cycle = self._cycle()
        sends_body = cycle is not None and cycle.more_body and cycle.response_complete
        if sends_body or self._connection.more_may_come:
            self._connection.linger()
        else:
            self._connection.transport.close()
