"""What `Gateway` and `AsyncGateway` share: arguments, errors, and the steps of a call. It does no I/O.

What both raise beside TypeError and ValueError for wrong arguments is one tree::

    GatewayError                the server failed; its log says why
    ├── GatewayUnavailable      nobody answered in time; unless the text says so, nobody knows whether it was done
    ├── GatewayRefused          refused: a wrong password, no memory, a key that was used with other content
    ├── GatewayNotFound         there is no such connection, user or message
    ├── InstanceNotRunning      nobody runs an instance of that name in this store
    └── WrongApplication        what runs there would misunderstand it
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from random import sample
from typing import Any, Final

import msgspec
import redis
from redis.exceptions import ClusterDownError, RedisClusterException

from chatmaster.store import url as store_url
from workers.addressing import connection_id, connection_ids, room_name, room_or_inbox, scoped, user_id
from workers.bus.script import load, sharded
from workers.chat.rules import names
from workers.node import published_settings as kept
from workers.payload import BINARY, close_reason, packed
from workers.verbs import exchange, keys
from workers.verbs.exchange import FetchKey, ListSet, Step
from workers.verbs.notes import Answered
from workers.verbs.request import PlacedAnswer

MAX_TIMEOUT: Final = 3600.0  # seconds
LOOK_EVERY: Final = 1.0  # seconds between two looks who runs the instance
SCRIPT: Final = Path(exchange.__file__).parent / "scripts" / "call.lua"

Steps = Generator[Step, Any, Any]


class GatewayError(Exception):
    """The server could not do it; the message says why, in one sentence."""


class GatewayUnavailable(GatewayError):
    """Nobody answered in time. Unless the text says otherwise nobody knows whether it was done."""


class GatewayRefused(GatewayError):
    """It was refused; nothing was done."""


class GatewayNotFound(GatewayError):
    """There is no such connection, user or message; nothing was done."""


class InstanceNotRunning(GatewayError):
    """Nobody runs an instance of that name in this store; nothing was sent."""


class WrongApplication(GatewayError):
    """What runs there would misunderstand it; nothing was sent."""


_ERRORS: Final[dict[str, type[Exception]]] = {
    "bad_request": ValueError,
    "too_large": ValueError,
    "not_found": GatewayNotFound,
    "wrong_application": WrongApplication,
    "unavailable": GatewayUnavailable,
    "internal": GatewayError,
}


def error_of(code: str) -> type[Exception]:
    """What a gateway raises for a code of the verbs' errors."""
    return _ERRORS.get(code, GatewayRefused)


# A cluster, or a part of it, that nobody serves; redis has a tree of its own for some of this.
_CLUSTER_AWAY: Final = ClusterDownError | RedisClusterException
STORE_ERRORS: Final = (redis.RedisError, RedisClusterException, OSError)


def own_error(error: Exception) -> GatewayError:
    """What a store, or the way there, raised, as one of ours."""
    if isinstance(error, redis.AuthenticationError):
        return GatewayRefused(f"the store refused: {error}")
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError | _CLUSTER_AWAY):
        return GatewayUnavailable(f"the store did not answer: {error}")
    return GatewayRefused(f"the store refused: {error}")


class Calls:
    """The calls of one gateway: where they go, and by which steps."""

    def __init__(self, url: str, *, name: str, worker: str, timeout: float) -> None:
        """Raises TypeError, ValueError."""
        if not all(isinstance(one, str) for one in (url, name, worker)):
            raise TypeError("url, name and worker are strings")
        _check_timeout(timeout)
        self.where = _parse_url(url)
        own = load(SCRIPT)
        self.script = sharded(own) if self.where.is_cluster else own
        self._instance, self._worker, self._timeout = name, worker, timeout
        self._name = scoped(name, worker)  # with which the keys of the Worker begin; see `_look`
        self._listeners: list[str] = []
        self._looked_at = -math.inf

    def steps(self, verb: str, request: dict[str, Any], key: str) -> Steps:
        """Call a verb; returns its answer. Raises GatewayError, TypeError, ValueError; the client's own errors."""
        if not isinstance(key, str):
            raise TypeError(f"a key is a string, not {type(key).__name__}")
        body = msgspec.json.encode(request if verb == "token" else _checked(request))
        if time.monotonic() >= self._looked_at + LOOK_EVERY:
            yield from self._look()
        few = self._listeners
        takers = tuple(sample(few, exchange.TAKERS)) if len(few) > exchange.TAKERS else ()
        try:
            answered: Answered = yield from exchange.exchange(
                exchange.stored(verb, body, key),
                name=self._name,
                database=self.where.database,
                token=secrets.token_hex(12),
                takers=takers,
                timeout=self._timeout,
            )
        except exchange.NobodyHears:
            raise self._nobody() from None
        except exchange.NobodyTook:
            raise GatewayUnavailable(f"no worker took {verb} within {self._timeout:g} s; nothing was done") from None
        except exchange.NoAnswer:
            raise GatewayUnavailable(f"no worker answered {verb} within {self._timeout:g} s") from None
        if answered.code:
            text = f"{answered.message} ({answered.field})" if answered.field else answered.message
            raise error_of(answered.code)(text)
        return msgspec.json.decode(answered.answer)

    def _look(self) -> Generator[Step, Any, None]:
        """Find out what the Worker is called, and who hears calls.

        The chat, or else the first Worker of a program, has the instance's own name: a name that the Worker may get and
        lose by a reload. Raises InstanceNotRunning.
        """
        own, first = scoped(self._instance, self._worker), self._instance
        self._name = own
        found = yield FetchKey(kept.key_of(own))
        if found is None and self._worker:
            found = yield FetchKey(kept.key_of(first))
            if found is not None and kept.unpack(found).worker != self._worker:
                raise InstanceNotRunning(f"the instance {first!r} runs no Worker of the name {self._worker!r}")
            self._name = first
        if found is None:
            raise self._nobody()
        self._listeners = [one.decode() for one in (yield ListSet(keys.listeners(self._name)))]
        self._looked_at = time.monotonic()

    def _nobody(self) -> InstanceNotRunning:
        self._looked_at = -math.inf
        return InstanceNotRunning(f"nobody runs an instance of the name {self._instance!r} in this store")


# ---- arguments -----------------------------------------------------------------------------------------


def content(text: str | None, data: Any, name: str) -> dict[str, Any]:
    """What a message of the chat says, and under which name; `data` where it is not None. Raises ValueError."""
    if not isinstance(text, str | None) or not isinstance(name, str):
        raise TypeError("text and name are strings; other content is `data`")
    said = {"data": data} if data is not None else {"text": text or ""}
    return {**said, "name": names.cleaned(name)} if name else said


def payload(data: str | bytes) -> dict[str, Any]:
    """What is sent to a program's clients: text for str and binary for bytes. Raises TypeError, ValueError."""
    encoded, form = packed(data)
    return {"binary": encoded} if form == BINARY else {"text": encoded.decode()}


def message(data: str | bytes, exclude: str | Iterable[str]) -> dict[str, Any]:
    """The same, and the connections that do not get it."""
    return {**payload(data), "exclude": connection_ids(exclude)}


def deed(user: str, room: str, reason: str) -> dict[str, Any]:
    """To whom a moderator does something, where and why."""
    return {"user": user_id(user), "room": room, "reason": close_reason(reason)}


def sanction(user: str, room: str, reason: str, seconds: float, *, ahead: bool) -> dict[str, Any]:
    """As `deed`, for a time; a worker of an older version knows no `ahead`."""
    return {**deed(user, room, reason), "seconds": seconds, **({"ahead": True} if ahead else {})}


def unpacked_placed(found: Any) -> PlacedAnswer:
    """Where a message was kept."""
    return msgspec.convert(found, PlacedAnswer)


_CHECKS: Final[dict[str, Any]] = {
    "room": room_or_inbox,  # the verb says which of the two it takes
    "user": user_id,
    "sender": user_id,
    "connection": connection_id,
}
_OPTIONAL: Final = frozenset({"reply_to", "sender", "before", "after"})
_LISTS: Final[dict[str, Any]] = {"rooms": room_name, "users": user_id, "connections": connection_id}


def _packed(request: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were given."""
    return {field: value for field, value in request.items() if value is not None or field not in _OPTIONAL}


def _checked(request: dict[str, Any]) -> dict[str, Any]:
    """The same, with names of rooms, users and connections as they are kept. Raises TypeError, ValueError."""
    return {field: _kept(field, value) for field, value in _packed(request).items()}


def _kept(field: str, value: Any) -> Any:
    if field in _CHECKS:
        return value if value == "" else _CHECKS[field](value)
    if field not in _LISTS:
        return value
    if not isinstance(value, Iterable) or isinstance(value, bytes | bytearray):
        raise TypeError(f"{field} are a name or several names, not {type(value).__name__}")
    return [_LISTS[field](one) for one in value]


def _parse_url(url: str) -> store_url.StoreUrl:
    try:
        return store_url.parse(url)
    except ValueError as error:  # an embedded store has an address too, which only its server knows
        raise ValueError(f"url: {str(error).replace('embedded, ', '')}") from None


def _check_timeout(timeout: Any) -> None:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is a number of seconds, not {timeout!r}")
    if not 0 < timeout <= MAX_TIMEOUT:
        raise ValueError(f"timeout is more than 0 and at most {MAX_TIMEOUT:g} seconds, not {timeout!r}")
