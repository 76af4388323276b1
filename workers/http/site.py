"""Site: which path of the port gets which answer: the routes of this server, and the program's application.

An answer of `/health` shows that this worker's loop runs; `/ready` answers as the worker's `ready` function says. Other
parts of the server mount routes of their own (`routes`). Every other path is the program's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from workers.http.documents import NEVER_CACHED, NOSNIFF, Document, ReadOnly, content_security_policy

EXTENSION: Final = "chatmaster"  # in a scope's extensions: {"local": whether the client is on this machine}
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
SCRIPT: Final = "text/javascript; charset=utf-8"
_TYPES: Final = {"json": "application/json", "webmanifest": "application/manifest+json", "png": "image/png"}

# The files change with the version of the server: a browser may keep them, but asks each time.
_REVALIDATED: Final = {"Cache-Control": "no-cache", "Referrer-Policy": "no-referrer"}
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
# Other sites import the client, and importing a module of another origin is always a CORS request (HTML, 8.1.4.2).
_FOR_ANY_SITE: Final = {"Access-Control-Allow-Origin": "*"}


class Site:
    """The ASGI application of an endpoint's plain HTTP.

    `page` and `script` are the bytes of `/` and `/chat.js`, and `metrics` makes the Prometheus text; None: the path is
    the program's. `parts` are scripts and JSON beside the page by their names, which it loads when needed. `ready`
    returns None, or a sentence that says why this worker is not ready; `drained`
    likewise why the host is drained. `routes` come before the others. `program` is
    the ASGI application that gets every other path; with one, the page is not served. `state` is that of its lifespan.
    """

    def __init__(
        self,
        *,
        page: bytes | None = None,
        script: bytes | None = None,
        parts: Mapping[str, bytes] = MappingProxyType({}),
        ready: Callable[[], str | None] | None = None,
        drained: Callable[[], str | None] | None = None,
        metrics: Callable[[], str] | None = None,
        metrics_for_all: bool = False,
        routes: Sequence[BaseRoute] = (),
        program: ASGIApp | None = None,
        state: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._program = program
        self._state = state
        self._metrics_for_all = metrics_for_all
        self._ready = ready
        self._drained = drained
        self._metrics = metrics
        own: list[BaseRoute] = [
            Route("/health", ReadOnly(lambda request: _text("ok"))),
            Route("/ready", ReadOnly(self._readiness)),
        ]
        if metrics is not None:
            own.append(Route("/metrics", ReadOnly(self._measurements)))
        if script is not None:
            own += _script_routes(script)
        if page is not None and program is None:
            policy = {"Content-Security-Policy": content_security_policy(page)}
            own.append(Route("/", ReadOnly(Document(page, HTML, policy | _REVALIDATED).answer)))
            own += [
                Route(f"/{name}", ReadOnly(Document(part, _type_of(name), _kept(name)).answer))
                for name, part in parts.items()
            ]
        self._router = Router(
            [*routes, *own], redirect_slashes=False, default=_not_found if program is None else self._run_program
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._router(scope, receive, send)

    async def _run_program(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._program is not None
        await self._program({**scope, "state": dict(self._state)}, receive, send)

    def _readiness(self, request: Request) -> Response:
        if self._ready is not None and (reason := self._ready()) is not None:
            return _text(reason, HTTPStatus.SERVICE_UNAVAILABLE)
        if self._drained is not None and (reason := self._drained()) is not None:
            # A balancer may take 404 for "nobody new, but those who are there stay" (HAProxy: disable-on-404).
            asked = request.query_params.get("drained") == "404"
            return _text(reason, HTTPStatus.NOT_FOUND if asked else HTTPStatus.SERVICE_UNAVAILABLE)
        return _text("ready")

    def _measurements(self, request: Request) -> Response:
        assert self._metrics is not None
        if not (self._metrics_for_all or _is_local(request)):
            return _text('for this machine only; http.metrics = "public": for everybody', HTTPStatus.FORBIDDEN)
        return Response(self._metrics(), headers={**NEVER_CACHED, "Content-Type": METRICS_TYPE})


def _is_local(request: Request) -> bool:
    """Whether the client is on this machine; the transport says so (`workers/transport/http_connection.py`)."""
    local: bool = request.scope.get("extensions", {}).get(EXTENSION, {}).get("local", False)
    return local


def _script_routes(script: bytes) -> list[BaseRoute]:
    """The script under its plain name, and under one with its digest, which never means anything else."""
    document = Document(script, SCRIPT, _FOR_ANY_SITE | _REVALIDATED)

    def hashed(request: Request) -> Response:
        # While workers are replaced, one of them may have served the page and another be asked for its script: the
        # script of this version is better than none, but must not be kept under the other's name.
        current = request.path_params["digest"] == document.digest
        return document.answer(request, **({"Cache-Control": _IMMUTABLE} if current else {}))

    return [
        Route("/chat.js", ReadOnly(document.answer)),
        Route("/assets/chat-{digest}.js", ReadOnly(hashed)),
    ]


def _text(text: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return PlainTextResponse(f"{text}\n", status_code=status, headers=NEVER_CACHED)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    response = PlainTextResponse("Not Found\n", status_code=404, headers=NOSNIFF)
    await response(scope, receive, send)


def _kept(name: str) -> dict[str, str]:
    """How long a browser keeps a part: for ever what has its digest in its name."""
    return _REVALIDATED | {"Cache-Control": _IMMUTABLE} if name.startswith("assets/") else _REVALIDATED


def _type_of(name: str) -> str:
    return _TYPES.get(name.rpartition(".")[2], SCRIPT)
