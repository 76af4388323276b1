"""Site: which path gets which response: the page and its script, health, readiness, metrics.

An answer of `/health` shows that this worker's loop runs; `/ready` answers as the worker's `ready` function says. All
other responses but the metrics are built at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType

from workers.http.response import HTML, SCRIPT, Response, content_security_policy

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_UNCACHED = (("Cache-Control", "no-store"),)
# The files change with the version of the server: a browser may keep them, but asks each time.
_REVALIDATED = (("Cache-Control", "no-cache"), ("Referrer-Policy", "no-referrer"))
# Other sites import the client, and importing a module of another origin is always a CORS request (HTML, 8.1.4.2).
_FOR_ANY_SITE = ("Access-Control-Allow-Origin", "*")


class Site:
    """The plain HTTP side of an endpoint.

    `page` and `script` are the bytes of `/` and `/chat.js`, and `metrics` makes the Prometheus text; None: the path is
    not found. `parts` are scripts beside the page by their names, which it loads when it needs them. `ready` returns
    None, or a sentence that says why this worker is not ready.
    """

    def __init__(
        self,
        *,
        page: bytes | None = None,
        script: bytes | None = None,
        parts: Mapping[str, bytes] = MappingProxyType({}),
        ready: Callable[[], str | None] | None = None,
        metrics: Callable[[], str] | None = None,
        metrics_for_all: bool = False,
    ) -> None:
        self._metrics_for_all = metrics_for_all
        self._ready = ready
        self._metrics = metrics
        self._files: dict[str, Response] = {"/health": Response.text(HTTPStatus.OK, "ok", _UNCACHED)}
        if page is not None:
            policy = ("Content-Security-Policy", content_security_policy(page))
            self._files["/"] = Response(HTTPStatus.OK, page, HTML, (policy, *_REVALIDATED))
        if script is not None:
            self._files["/chat.js"] = Response(HTTPStatus.OK, script, SCRIPT, (_FOR_ANY_SITE, *_REVALIDATED))

        for name, part in parts.items():
            self._files[f"/{name}"] = Response(HTTPStatus.OK, part, SCRIPT, _REVALIDATED)

    def answer(self, path: str, *, local: bool = True) -> Response:
        """The response to GET or HEAD of a path; a query is ignored. `local`: the client is on this machine."""
        path = path.partition("?")[0]
        if path in self._files:
            return self._files[path]
        if path == "/ready":
            return self._readiness()
        if path == "/metrics" and self._metrics is not None:
            if not (local or self._metrics_for_all):
                return Response.text(
                    HTTPStatus.FORBIDDEN, 'for this machine only; http.metrics = "public": for everybody'
                )
            return Response(HTTPStatus.OK, self._metrics().encode(), METRICS_TYPE, _UNCACHED)
        return Response.text(HTTPStatus.NOT_FOUND)

    def _readiness(self) -> Response:
        reason = self._ready() if self._ready is not None else None
        if reason is None:
            return Response.text(HTTPStatus.OK, "ready", _UNCACHED)
        return Response.text(HTTPStatus.SERVICE_UNAVAILABLE, reason, _UNCACHED)
