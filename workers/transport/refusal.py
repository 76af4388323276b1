"""Refusals: short answers of the transport itself, with which a connection ends: as bytes, and as an application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from websockets.datastructures import Headers
from websockets.http11 import Response

TEXT = "text/plain; charset=utf-8"


def refusal_bytes(status: HTTPStatus, text: str = "", headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """A whole response with a sentence for people, by default the name of the status."""
    body = _body(status, text)
    fields = Headers(Date=formatdate(usegmt=True), Connection="close")
    fields.update({"Content-Type": TEXT, "Content-Length": str(len(body)), "X-Content-Type-Options": "nosniff"})
    fields.update(headers)
    return Response(status.value, status.phrase, fields, body).serialize()


def _body(status: HTTPStatus, text: str) -> bytes:
    return f"{text or status.phrase}\n".encode()


class AsgiRefusal:
    """An ASGI application that gives one answer, whatever is asked."""

    def __init__(self, status: HTTPStatus, text: str = "", *, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.status = status
        self._text = text
        self._headers = headers

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Answer; a body that comes with the request is not read."""
        body = _body(self.status, self._text)
        named = (
            ("content-type", TEXT), ("content-length", str(len(body))), ("x-content-type-options", "nosniff"),
            *self._headers,
        )  # fmt: skip
        fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in named]
        await send({"type": "http.response.start", "status": self.status.value, "headers": fields})
        await send({"type": "http.response.body", "body": body})
