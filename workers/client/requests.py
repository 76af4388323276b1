"""The requests that wait for an answer, and which of them to send now: pure.

A request stays until it is answered: after a new connection's `welcome` it is sent again, and what writes carries the
same key each time, so that the server keeps it once. Requests of one room go one after the other (a lane), because a
refused one that is tried again must not end up behind what was said after it.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec
from msgspec import Struct

from workers.addressing import inbox_of, normalized
from workers.client.errors import RequestRefused

WITH_KEY: Final = frozenset({"say", "direct", "edit", "delete", "react"})
IN_LANE: Final = frozenset({"say", "edit", "delete", "react", "join", "leave"})
NAMES: Final = ("room", "user", "to")
AT_ONCE: Final = 16  # in flight; more after a long absence would be refused as too fast
KEY_TTL: Final = 600.0  # seconds, until the server says otherwise
MARGIN: Final = 0.9  # of it: the way to the server takes time too

encode: Final = msgspec.json.Encoder().encode


class Request(Struct):
    """A request that waits for its answer. Times are seconds of a clock that does not go back."""

    id: int
    kind: str
    fields: dict[str, Any]
    lane: str  # "" where order does not matter
    sent: bool = False  # on this connection, and not refused since
    first_sent: float | None = None
    not_before: float = 0.0

    @property
    def data(self) -> bytes:
        """As it is sent, each time the same."""
        return encode({"type": self.kind, "id": self.id, **self.fields})

    @property
    def key(self) -> str | None:
        key: str | None = self.fields.get("key")
        return key

    @property
    def may_be_done(self) -> bool:
        """It writes, and a server may have carried it out: only the same user's same key keeps it from being twice."""
        return self.kind in WITH_KEY and self.first_sent is not None


class Turn(Struct, frozen=True):
    """What to send now, what cannot be sent again because its key may be forgotten, and when to look again."""

    send: list[Request]
    expired: list[Request]
    wake_at: float


class Requests:
    """The requests of one client, in the order they were made."""

    def __init__(self, key_prefix: str) -> None:
        """`key_prefix` makes this client's keys its own: some random letters."""
        self.pending: dict[int, Request] = {}
        self.key_ttl = KEY_TTL
        self.message_size: int | None = None  # bytes of a text or of data, once the server has said it
        self._key_prefix = key_prefix
        self._last_id = 0

    def add(self, kind: str, fields: dict[str, Any]) -> Request:
        """Note a request; members that are None are left out. Raises RequestRefused: no text, or too large."""
        given = spelled({name: value for name, value in fields.items() if value is not None})
        self._check_content(given)
        self._last_id += 1
        if kind in WITH_KEY:
            given.setdefault("key", f"{self._key_prefix}{self._last_id}")
        request = Request(self._last_id, kind, given, _lane(kind, given))
        self.pending[request.id] = request
        return request

    def _check_content(self, given: dict[str, Any]) -> None:
        if not isinstance(given.get("text", ""), str):
            raise RequestRefused("bad_request", "the text is a string; anything else is `data`", "text")
        for field in ("text", "data"):
            if field in given and self.message_size is not None:
                content = given[field]
                size = len(content.encode() if field == "text" else encode(content))
                if size > self.message_size:
                    raise RequestRefused("too_large", f"{size} bytes, and {self.message_size} are allowed", field)

    def take(self, request_id: object) -> Request | None:
        """Take a request out, answered or given up."""
        return self.pending.pop(request_id, None) if isinstance(request_id, int) else None

    def lost(self) -> None:
        """The connection is gone: whatever was sent on it may not have arrived."""
        for request in self.pending.values():
            request.sent = False

    def next(self, now: float) -> Turn:
        """Whose turn it is. What is to be sent has to be noted as sent."""
        send: list[Request] = []
        expired: list[Request] = []
        busy: set[str] = set()
        flying, wake_at = 0, math.inf
        for request in self.pending.values():
            if request.lane in busy:
                continue
            if self._is_expired(request, now):
                expired.append(request)
                continue
            if request.lane:
                busy.add(request.lane)
            if request.sent:
                flying += 1
            elif request.not_before > now:
                wake_at = min(wake_at, request.not_before)
            elif flying < AT_ONCE:
                flying += 1
                send.append(request)
        return Turn(send, expired, wake_at)

    def _is_expired(self, request: Request, now: float) -> bool:
        if request.sent or request.first_sent is None or request.kind not in WITH_KEY:
            return False
        return now - request.first_sent > self.key_ttl * MARGIN


def spelled(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with the names of rooms and users as the server keeps them: two spellings are one."""
    names = {name: normalized(fields[name]) for name in NAMES if isinstance(fields.get(name), str)}
    return {**fields, **names}


def _lane(kind: str, fields: dict[str, Any]) -> str:
    if kind == "direct":
        return inbox_of(fields["to"])
    return str(fields["room"]) if kind in IN_LANE else ""
