"""The verbs by HTTP: `POST /api/v1/VERB`, `/api/v1/batch`, and the OpenAPI document with a page to try it.

Every call needs an API key. Its record is read with each request, so that a key that is revoked is of no use from then
on; a batch takes one token of the key's rate for each of its calls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from chatmaster.contract import VERSION
from workers.bus.port import BusError
from workers.http.documents import NEVER_CACHED, Document, ReadOnly, content_security_policy
from workers.http.site import HTML
from workers.verbs import openapi, table
from workers.verbs.dispatcher import of_store
from workers.verbs.openapi import MOST_CALLS, PATH, BatchCalls, BatchResult, ProblemDetails
from workers.verbs.request import STATUS, Caller, VerbError
from workers.verbs.service import VerbService
from workers.verbs.try_page import PAGE

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
LOCAL: Final = Caller("api")  # a program without a key, on a unix socket of the API's own
BODY_FACTOR: Final = 8  # of `limits.message_size`: JSON may escape a character by six, and lists name 1,000 targets
BODY_SPACE: Final = 1_048_576  # bytes for what is no message


class HttpApi:
    """The routes of one worker."""

    def __init__(self, service: VerbService, *, keyless: bool = False) -> None:
        """`keyless`: a call without a key may do everything, as on a socket that only some users may open."""
        self._service = service
        self._keyless = keyless
        self._encode = msgspec.json.Encoder().encode
        self._most = BODY_FACTOR * service.message_size + BODY_SPACE

    def routes(self) -> Sequence[BaseRoute]:
        """What the site mounts."""
        verbs = table.of_application("chat" if self._service.is_chat else "program")
        described = Document(self._encode(openapi.document(verbs, VERSION)), JSON, {"Cache-Control": "no-cache"})
        policy = {"Content-Security-Policy": content_security_policy(PAGE), "Cache-Control": "no-cache"}
        page = Document(PAGE, HTML, policy)
        return [
            Route(f"{PATH}/openapi.json", ReadOnly(described.answer)),
            Route(f"{PATH}/", ReadOnly(page.answer)),
            Route(f"{PATH}/{{verb}}", _Posted(self)),
        ]

    async def answer(self, request: Request) -> Response:
        """Answer one request. What there is to call is no secret: an unknown verb is told without a key as well."""
        verb = request.path_params["verb"]
        try:
            if verb != "batch":
                self._service.dispatcher.find(verb)
            if request.method != "POST":
                raise VerbError("method_not_allowed", "a verb is called by POST")
            key = _bearer(request)
            caller = await self._caller(key)
            body = await self._body(request)
            if verb == "batch":
                return await self._batch(caller, key, body)
            once = request.headers.get("idempotency-key", "")
            return _response(200, await self._service.dispatcher.call(caller, verb, body, once), JSON)
        except VerbError as error:
            return self._refused(error)
        except BusError as error:
            return self._refused(of_store(error))

    async def _caller(self, key: str) -> Caller:
        if key:
            return await self._service.api_keys.caller(key)
        if self._keyless:
            return LOCAL
        raise VerbError("unauthorized", "an API key is needed: Authorization: Bearer KEY (chatctl apikey add NAME)")

    async def _body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        if kind != JSON:
            raise VerbError("bad_request", f"the body is {JSON}, not {kind[:64]}", field="Content-Type")
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > self._most:
                    raise VerbError("too_large", f"a request has at most {self._most} bytes")
        except ClientDisconnect:
            raise VerbError("bad_request", "the request broke off") from None
        if not body:
            raise VerbError("bad_request", "the body is missing: a verb without fields takes {}")
        return bytes(body)

    async def _batch(self, caller: Caller, key: str, body: bytes) -> Response:
        try:
            calls = BatchCalls.decode(body)
        except (ValueError, RecursionError) as error:
            raise VerbError("bad_request", f"a batch is a list of calls: {error}") from None
        if len(calls) > MOST_CALLS:
            raise VerbError("bad_request", f"a batch has at most {MOST_CALLS} calls, and this has {len(calls)}")
        results = []
        for number, one in enumerate(calls):
            try:
                if number:
                    caller = await self._caller(key)
                answer = await self._service.dispatcher.call(
                    caller, one.verb, msgspec.json.encode(one.request), one.key
                )
                results.append(BatchResult(200, msgspec.json.decode(answer)))
            except VerbError as error:
                results.append(BatchResult(STATUS[error.code], msgspec.to_builtins(_problem(error))))
            except BusError as error:
                refused = of_store(error)
                results.append(BatchResult(STATUS[refused.code], msgspec.to_builtins(_problem(refused))))
        return _response(200, self._encode(results), JSON)

    def _refused(self, error: VerbError) -> Response:
        response = _response(STATUS[error.code], self._encode(_problem(error)), PROBLEM)
        if error.retry_after:
            response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
        if error.code == "method_not_allowed":
            response.headers["Allow"] = "POST"
        if error.code == "unauthorized":
            response.headers["WWW-Authenticate"] = 'Bearer realm="chatmaster"'
        return response


class _Posted:
    """The ASGI endpoint of all verbs, for every method."""

    def __init__(self, api: HttpApi) -> None:
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self._api.answer(Request(scope, receive))
        await response(scope, receive, send)


def _bearer(request: Request) -> str:
    """The API key of a request; "" where it has none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        key = request.headers.get("x-api-key", "")
    return key.strip()


def _problem(error: VerbError) -> ProblemDetails:
    title = error.code.replace("_", " ")
    wait = error.retry_after or UNSET
    return ProblemDetails(title, STATUS[error.code], str(error), error.code, field=error.field, retry_after=wait)


def _response(status: int, body: bytes, kind: str) -> Response:
    headers: dict[str, Any] = {**NEVER_CACHED, "Content-Type": kind}
    return Response(body, status_code=status, headers=headers)
