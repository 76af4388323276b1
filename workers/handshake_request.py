"""The request of a WebSocket handshake, as a program judges it and as a connection keeps it, and the two verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from workers.addressing import user_id


@dataclass(frozen=True, slots=True)
class ConnectionRequest:
    """What a connection keeps of its request: of the headers, those that `worker.keep_headers` names.

    Header names are in lower case; several values of a header are joined as RFC 9110, 5.3, has it.
    """

    path: str  # without `http.root_path`
    query: str  # without the question mark
    headers: Mapping[str, str]

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name, as they were sent; of two with one name the first, which has the longer path."""
        found: dict[str, str] = {}
        for pair in self.headers.get("cookie", "").split(";"):
            name, separator, value = pair.strip().partition("=")
            if separator:
                found.setdefault(name, value.strip('"'))
        return found


@dataclass(frozen=True, slots=True)
class HandshakeRequest(ConnectionRequest):
    """The whole request, with all headers."""

    subprotocols: tuple[str, ...]  # that the client offers
    remote_ip: str  # as a trusted proxy says; "" behind a unix socket
    scheme: str  # "http" or "https", as a trusted proxy says
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """The connection is let in: bound to `user` before `on_connect`, with `session` as its first session.

    `subprotocol` must be one of those that the client offers. Raises TypeError and ValueError for an invalid user.
    """

    user: str = ""
    session: Mapping[str, Any] = field(default_factory=dict)
    subprotocol: str = ""

    def __post_init__(self) -> None:
        if self.user:
            user_id(self.user)


@dataclass(frozen=True, slots=True)
class Reject:
    """The request is answered with this instead of a WebSocket. Raises ValueError for an invalid status or header."""

    status: int = 403
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    def __post_init__(self) -> None:
        if HTTPStatus(self.status) < HTTPStatus.MULTIPLE_CHOICES:
            raise ValueError(f"a refusal has a status from 300, not {self.status}")
        for name, value in self.headers.items():
            if not f"{name}{value}".isprintable() or not value.isascii() or not name.isascii():
                raise ValueError(f"a header has printable characters of ASCII, not {name!r}: {value!r}")
