"""The OpenAPI 3.1 document of the verbs that an instance has, made from their types. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from workers.verbs.request import STATUS
from workers.verbs.table import GROUPS
from workers.verbs.verb import AnyVerb

PATH: Final = "/api/v1"
MOST_CALLS: Final = 100  # of one batch
_PROBLEM: Final = "application/problem+json"
_REF: Final = "#/components/schemas/{name}"
# What a verb may answer beside its answer; 404 stands for a verb that the instance has not, too.
_REFUSALS: Final = tuple(dict.fromkeys(status for status in STATUS.values() if status != 405))  # it describes POST


class ProblemDetails(Struct, frozen=True, omit_defaults=True):
    """Why a call is refused (RFC 9457). `code` is the one to decide by, `retry_after` in seconds."""

    title: str
    status: int
    detail: str
    code: str
    type: str = "about:blank"
    field: str = ""
    retry_after: float | UnsetType = UNSET


class BatchCall(Struct, frozen=True, forbid_unknown_fields=True):
    """One call of a batch."""

    verb: str
    request: dict[str, Any] = {}
    key: str = ""


BatchCalls = msgspec.json.Decoder(list[BatchCall])


class BatchResult(Struct, frozen=True):
    """The result of one call: an answer or a problem, with the status that it would have by itself."""

    status: int
    body: dict[str, Any]


def document(verbs: list[AnyVerb], version: str) -> dict[str, Any]:
    """The document for some verbs."""
    types = list(dict.fromkeys(kind for one in verbs for kind in (one.request, one.answer)))
    _, components = msgspec.json.schema_components([*types, ProblemDetails, BatchCall, BatchResult], ref_template=_REF)
    for one in verbs:
        components[one.request.__name__].update(one.request.rule)
    return {
        "openapi": "3.1.0",
        "info": {"title": "chatmaster", "version": version, "description": "What a program outside may ask for."},
        "servers": [{"url": PATH}],
        "tags": [{"name": name, "description": text} for name, text in GROUPS.items()],
        "security": [{"key": []}],
        "paths": {f"/{one.name}": {"post": _operation(one)} for one in verbs} | {"/batch": {"post": _batch()}},
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "chatctl apikey add NAME"}},
        },
    }


def _operation(verb: AnyVerb) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": verb.name,
        "summary": verb.text,
        "tags": [verb.group],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(verb.request)}}},
        "responses": _responses(_ref(verb.answer)),
    }
    if not verb.reads:
        operation["parameters"] = [_IDEMPOTENCY]
    return operation


def _batch() -> dict[str, Any]:
    calls = {"type": "array", "items": _ref(BatchCall), "maxItems": MOST_CALLS}
    return {
        "operationId": "batch",
        "summary": "Carry out several calls, one after the other; each has its own result.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": calls}}},
        "responses": _responses({"type": "array", "items": _ref(BatchResult)}),
    }


_IDEMPOTENCY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A repetition with the same key is done once.",
    "schema": {"type": "string", "maxLength": 128, "pattern": "^[ -~]*$"},
}


def _responses(answer: dict[str, Any]) -> dict[str, Any]:
    problem = {_PROBLEM: {"schema": _ref(ProblemDetails)}}
    refusals = {
        str(status): {
            "description": ", ".join(code for code, one in STATUS.items() if one == status),
            "content": problem,
        }
        for status in _REFUSALS
    }
    done = {"description": "It is done.", "content": {"application/json": {"schema": answer}}}
    return {"200": done, **refusals}


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}
