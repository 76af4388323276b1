"""The WebSocket handshake as a decision without I/O: from a request to an agreement or a refusal.

The library `websockets` judges header syntax, the key and the extensions. This module decides which paths and origins
are allowed, which subprotocol is chosen, and that permessage-deflate is agreed on in one form only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from sys import intern

from msgspec import Struct
from websockets.datastructures import Headers, MultipleValuesError
from websockets.exceptions import (
    InvalidHandshake,
    InvalidMethod,
    InvalidOrigin,
    InvalidProtocol,
    InvalidUpgrade,
    NegotiationError,
)
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import ExtensionParameter, Subprotocol

from workers.handshake_request import Accept
from workers.transport.allowed_hosts import AllowedOrigins
from workers.transport.parser import WINDOW_BITS
from workers.transport.snapshot import HandshakeResult

_unprintable = re.compile(r"[^\x21-\x7e]")
_absolute = re.compile(r"(?:https?|wss?)://([^/?#]*)", re.IGNORECASE)
_websocket_header = re.compile(rb"\nupgrade[ \t]*:[^\n]*websocket|\nsec-websocket-key[ \t]*:", re.IGNORECASE)


class Agreed(Struct, frozen=True):
    """The handshake succeeded: the response, what was agreed on, and what a proxy claims about the client."""

    response: bytes
    handshake: HandshakeResult
    claims: list[str]


def with_verdict(agreed: Agreed, accepted: Accept) -> Agreed:
    """The agreement with what the program's `on_handshake` adds: a subprotocol, a user, a session."""
    response, handshake = agreed.response, replace(agreed.handshake, accepted=accepted)
    if accepted.subprotocol:
        if handshake.subprotocol is not None:
            response = response.replace(f"Sec-WebSocket-Protocol: {handshake.subprotocol}\r\n".encode(), b"")
        response = response.removesuffix(b"\r\n") + f"Sec-WebSocket-Protocol: {accepted.subprotocol}\r\n\r\n".encode()
        handshake = replace(handshake, subprotocol=accepted.subprotocol)
    return Agreed(response, handshake, agreed.claims)


@dataclass(frozen=True, slots=True)
class HandshakeRefused:
    """The handshake failed; `reason` is a sentence for people."""

    status: HTTPStatus
    reason: str
    headers: tuple[tuple[str, str], ...] = ()


class BadRequest(ValueError):
    """The bytes are not an HTTP request."""


# RFC 6455, 4.4: the supported versions, and the Upgrade header that a 426 must have (RFC 9110, 15.5.22).
_VERSION = (("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket"))


def asks_for_websocket(block: bytes) -> bool:
    """Whether `block` may be a request for a WebSocket, also one whose Upgrade header was lost on its way."""
    return block.startswith((b"GET ", b"HEAD ")) and _websocket_header.search(block) is not None


def parse_request(block: bytes) -> Request:
    """Parse a complete header block, from the request line to the empty line. Raises BadRequest."""
    lines = iter(block.splitlines(keepends=True))

    def read_line(limit: int, too_long: type[Exception]) -> Generator[None, None, bytes]:
        line = next(lines, b"")
        if len(line) > limit:
            raise too_long(f"a header line of {len(line)} bytes")
        return line
        yield

    parsing = Request.parse(read_line)
    try:
        next(parsing)
    except StopIteration as stop:
        request: Request = stop.value
    except Exception as error:  # the library raises many kinds, EOFError and NotImplementedError among them
        raise BadRequest(str(error)) from error
    else:
        raise BadRequest("a header block without an end")
    if _unprintable.search(request.path):
        raise BadRequest("a control character in the path")
    hosts = request.headers.get_all("Host")
    if len(hosts) > 1 or (not hosts and request.protocol == "HTTP/1.1"):
        raise BadRequest("no Host" if not hosts else "more than one Host")  # RFC 9112, 3.2
    return _in_origin_form(request)


def _in_origin_form(request: Request) -> Request:
    """Reduce an absolute target, as sent to a proxy, to its path; its host replaces the Host (RFC 9112, 3.2.2)."""
    found = _absolute.match(request.path)
    if found is None:
        return request
    _replace(request.headers, "Host", found[1])
    path = request.path[found.end() :]
    return replace(request, path=path if path.startswith("/") else f"/{path}")


def _replace(headers: Headers, name: str, *values: str) -> None:
    """Set a header to exactly these values."""
    if name in headers:
        del headers[name]
    for value in values:
        headers[name] = value


def wants_websocket(headers: Headers) -> bool:
    """Whether `websocket` is among the protocols of the Upgrade header; others are ignored (RFC 9110, 7.8)."""
    return any(word.strip().lower() == "websocket" for value in headers.get_all("Upgrade") for word in value.split(","))


def lost_its_upgrade(headers: Headers) -> bool:
    """Whether the request is a WebSocket handshake whose Upgrade header a proxy has removed."""
    return "Sec-WebSocket-Key" in headers and "Sec-WebSocket-Version" in headers


class SharedDeflate(ServerPerMessageDeflateFactory):
    """permessage-deflate in the one form that lets all readers share a frame and a parser.

    There is no context takeover on either side, and the server's window has 15 bits: an offer that demands a smaller
    one is declined. The client's window may be smaller, because a decoder of 15 bits can read it.
    """

    def __init__(self) -> None:
        super().__init__(server_no_context_takeover=True, client_no_context_takeover=True)

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """See the base class. Raises NegotiationError to decline the offer."""
        response, extension = super().process_request_params(params, accepted_extensions)
        if extension.local_max_window_bits != WINDOW_BITS:
            raise NegotiationError("the server's window is not negotiable")
        return response, extension


class Negotiator:
    """Judges handshakes. An endpoint has one; it keeps no state of a request."""

    def __init__(
        self,
        *,
        paths: frozenset[str] | None,
        origins: tuple[str, ...],
        subprotocols: tuple[str, ...],
        deflate: bool,
        claims: Callable[[Headers], list[str]] = lambda headers: [],
        keep: tuple[str, ...] = (),
    ) -> None:
        self._claims = claims  # the headers that name the client
        self._keep = keep  # the names of headers in lower case, interned
        self._paths = paths  # None: any
        self._origins = AllowedOrigins(origins)
        self._subprotocols = subprotocols
        self._judge = ServerProtocol(
            extensions=[SharedDeflate()] if deflate else None,
            select_subprotocol=lambda _, offered: self._select(offered),
        )

    def negotiate(self, request: Request) -> Agreed | HandshakeRefused:
        """Answer a request for a WebSocket."""
        path, _, query = request.path.partition("?")
        if self._paths is not None and path not in self._paths:
            return HandshakeRefused(HTTPStatus.NOT_FOUND, "no WebSocket here")
        if request.headers.get_all("Sec-WebSocket-Version") != ["13"]:
            return HandshakeRefused(HTTPStatus.UPGRADE_REQUIRED, "this server speaks version 13 (RFC 6455)", _VERSION)
        _normalise(request.headers)
        try:
            accept, extensions, subprotocol = self._judge.process_request(request)
            origin = _single(request.headers, "Origin")
            if origin and not self._origins.allows(origin, _single(request.headers, "Host")):
                raise InvalidOrigin(origin)
        except InvalidHandshake as error:
            return _refusal(error)
        handshake = HandshakeResult(
            path=intern(path),
            query=query,
            subprotocol=subprotocol,
            deflate=extensions is not None,
            origin=intern(origin),
            user_agent=intern(joined("user-agent", request.headers.get_all("User-Agent"))),
            kept=self._kept(request.headers) if self._keep else (),
        )
        return Agreed(
            _switching_protocols(accept, extensions, subprotocol),
            handshake,
            self._claims(request.headers),
        )

    def _kept(self, headers: Headers) -> tuple[tuple[str, str], ...]:
        """What the connection keeps of its headers; equal values of several connections are one string."""
        found = ((name, headers.get_all(name)) for name in self._keep)
        return tuple((name, intern(joined(name, values))) for name, values in found if values)

    def _select(self, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        """The server's most preferred subprotocol that the client offers; None where the client offers none."""
        if not self._subprotocols or not offered:
            return None
        for ours in self._subprotocols:
            if ours in offered:
                return Subprotocol(ours)
        raise NegotiationError(f"this server speaks {', '.join(self._subprotocols)}")


def joined(name: str, values: Sequence[str]) -> str:
    """The values of a header as one (RFC 9110, 5.3; for `cookie`, in lower case: RFC 6265, 5.4)."""
    return ("; " if name == "cookie" else ", ").join(values)


def _normalise(headers: Headers) -> None:
    """Remove what has no meaning: empty lists, and other protocols in the Upgrade header."""
    for name in ("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"):
        values = headers.get_all(name)
        _replace(headers, name, *(value for value in values if value.strip(", \t")))
    if wants_websocket(headers):
        _replace(headers, "Upgrade", "websocket")


def _single(headers: Headers, name: str) -> str:
    """The value of a header that must not be repeated; "" without it. Raises NegotiationError."""
    try:
        return headers.get(name) or ""
    except MultipleValuesError:
        raise NegotiationError(f"more than one {name}") from None


def _refusal(error: InvalidHandshake) -> HandshakeRefused:
    reason = f"{error}; {error.__cause__}" if error.__cause__ else str(error)
    if isinstance(error, InvalidOrigin):
        return HandshakeRefused(HTTPStatus.FORBIDDEN, f"{reason}; http.origins lets pages of other sites in")
    if isinstance(error, InvalidMethod):
        return HandshakeRefused(HTTPStatus.METHOD_NOT_ALLOWED, reason, (("Allow", "GET"),))
    if isinstance(error, InvalidProtocol):
        return HandshakeRefused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, reason)
    if isinstance(error, InvalidUpgrade):
        return HandshakeRefused(HTTPStatus.UPGRADE_REQUIRED, reason, (("Upgrade", "websocket"),))
    return HandshakeRefused(HTTPStatus.BAD_REQUEST, reason)


def _switching_protocols(accept: str, extensions: str | None, subprotocol: str | None) -> bytes:
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
    ]
    if extensions is not None:
        lines.append(f"Sec-WebSocket-Extensions: {extensions}")
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")
