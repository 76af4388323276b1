"""Dispatcher: carries out a call of any door: who may, what is asked for, once or again, and what went wrong.

Keys make a repetition safe. The log of a room remembers those of what is published there; those of the other verbs are
kept here with their answers, for `limits.key_ttl` seconds. A key is claimed while its request is carried out. The claim
names the worker: where that one is dead, the next repetition is carried out.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import logging
import re
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw

from workers.addressing import inbox_of
from workers.bus.port import BusError, KeyConflict, NoTarget, NotAuthor, StoreRefused, TooMany
from workers.bus.script import scripts_of
from workers.chat.daily_quota import DailyQuota
from workers.verbs import keys
from workers.verbs.request import Caller, VerbError, VerbRequest
from workers.verbs.table import TABLE
from workers.verbs.verb import AnyVerb, Services

logger = logging.getLogger(__name__)

MOST_KEY: Final = 128  # characters of an idempotency key
RETRY: Final = 1.0  # seconds
LONGEST: Final = 60.0  # seconds that a call with a key may take
CLAIM: Final = 90  # seconds that a key counts as claimed by a worker that lives and does not answer
# They list or tell only what the caller's rooms allow, or nothing of a room.
_FOR_ANY_ROOMS: Final = frozenset({"rooms", "sanctions", "audit", "online", "is_online", "send_to_all", "token"})
_PLACE: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<place>[^`]*)`)?$", re.DOTALL)
_FLOAT: Final = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_UNKNOWN: Final = re.compile(
    r"Object contains unknown field `(?P<field>[^`]*)`|missing required field `(?P<other>[^`]*)`"
)


class Dispatcher:
    """Carries out calls on one worker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        node = services.node
        self._bus, self._name = node.bus, node.settings.master.name
        self._key_ttl = node.settings.limits.key_ttl
        self._quota = DailyQuota(node.bus, node.settings)
        self._claim, self._settle = map(node.bus.script, scripts_of(Path(__file__).parent, "claim", "settle"))
        self._encode = msgspec.json.Encoder().encode

    async def call(self, caller: Caller, name: str, body: bytes, key: str = "") -> bytes:
        """Carry out a verb; `body` is the request as JSON. Returns the answer as JSON.

        Raises VerbError; where the store is the cause, from the BusError.
        """
        verb = self.find(name)
        try:
            request = self._request(caller, verb, body)
            if not isinstance(key, str) or len(key) > MOST_KEY or not key.isprintable():
                raise VerbError("bad_request", f"a key has at most {MOST_KEY} printable characters", field="key")
            self._check_quota(caller, verb, request, len(body))
            if key and not verb.keyed and not verb.reads:
                return await self._once(caller, verb, request, key)
            return self._encode(await verb.run(self._services, caller, request, key))
        except VerbError:
            raise
        except BusError as error:
            raise of_store(error) from error
        except Exception:
            logger.exception("the verb %s failed", name)
            raise VerbError("internal", f"{name} failed; the server's log has the reason") from None

    def find(self, name: str) -> AnyVerb:
        """The verb of a name. Raises VerbError where there is none, or none in what runs here."""
        verb = TABLE.get(name)
        if verb is None:
            near = difflib.get_close_matches(name[:64], TABLE, 1)
            raise VerbError(
                "not_found", f"there is no verb {name[:64]!r}" + (f"; did you mean {near[0]}?" if near else "")
            )
        runs = "chat" if self._services.chat is not None else "program"
        if verb.application not in ("", runs):
            what = "the chat, whose clients understand only `say`" if runs == "chat" else "no chat"
            raise VerbError("wrong_application", f"this server runs {what}: it has no {name}")
        return verb

    def _request(self, caller: Caller, verb: AnyVerb, body: bytes) -> VerbRequest:
        if not caller.may_call(verb.name, verb.group, reads=verb.reads):
            raise VerbError("forbidden", f"this key may not call {verb.name}")
        try:
            request = _decoded(body or b"{}", verb.request)
        except msgspec.ValidationError as error:
            raise _invalid(error) from None
        except (ValueError, RecursionError) as error:
            raise VerbError("bad_request", f"the request is no JSON: {error}") from None
        if caller.rooms is not None:
            self._check_rooms(caller, verb, request)
        return request

    def _check_quota(self, caller: Caller, verb: AnyVerb, request: VerbRequest, size: int) -> None:
        """Raises VerbError `limit_reached` where an API key had as much kept as it may in a day."""
        if verb.reads or not caller.api_key:
            return
        named = request.named_rooms()
        target = named[0] if named else inbox_of(getattr(request, "user", ""))
        if not self._quota.key_takes(caller.api_key, target, size):
            raise VerbError("limit_reached", "this key had as much kept as it may in a day; see api.key_bytes")

    def _check_rooms(self, caller: Caller, verb: AnyVerb, request: VerbRequest) -> None:
        named = request.named_rooms()
        for room in named:
            if not caller.may_use(room):
                raise VerbError("forbidden", f"this key is not for the room {room}", field="room")
        if not named and verb.name not in _FOR_ANY_ROOMS:
            raise VerbError("forbidden", f"this key is for some rooms, and {verb.name} is not about one of them")

    async def _once(self, caller: Caller, verb: AnyVerb, request: VerbRequest, key: str) -> bytes:
        """Carry it out, or give the answer that it had before."""
        place = [keys.kept_answer(self._name, caller.name, verb.name, key)]
        digest = hashlib.blake2b(self._encode(request), digest_size=16).hexdigest().encode()
        try:
            before = await self._claimed(place, digest)
        except BusError:
            self._settle_soon(place, digest, b"")
            raise
        if before is not None:
            return before
        try:
            async with asyncio.timeout(LONGEST):
                answer = self._encode(await verb.run(self._services, caller, request, ""))
        except TimeoutError:
            raise VerbError(
                "unavailable", f"{verb.name} took longer than {LONGEST:g} s: the outcome is unknown"
            ) from None
        except VerbError as error:
            if error.code != "unavailable":
                await self._bus.call(self._settle, place, [b"", self._key_ttl], again=True)
            raise
        except BusError:
            self._settle_soon(place, digest, b"")
            raise
        try:
            await self._bus.call(self._settle, place, [digest + answer, self._key_ttl], again=True)
        except BusError:
            self._settle_soon(place, digest, digest + answer)
        return answer

    def _settle_soon(self, place: list[str], digest: bytes, answer: bytes) -> None:
        """Keep the answer under the key, or give the key back; while the store is away, once it is there again."""
        until = time.monotonic() + CLAIM  # by then the claim has expired, and another may hold it

        def ask() -> None:
            self._bus.send(self._settle, place, [answer, self._key_ttl, self._own(digest)], done, again=True)

        def done(reply: Any) -> None:
            if isinstance(reply, BusError) and time.monotonic() < until:
                asyncio.get_running_loop().call_later(RETRY, ask)

        ask()

    def _own(self, digest: bytes) -> bytes:
        """What claims a key for a request, as long as this worker lives."""
        return b"%b@%b" % (digest, self._services.node.launch.incarnation.encode())

    async def _claimed(self, place: list[str], digest: bytes) -> bytes | None:
        """Claim a key for a request. Returns the answer that the request had before; None: it is to be carried out.

        Raises VerbError `conflict` for a key of another request, and while a living worker carries the request out.
        """
        own = self._own(digest)
        dead = b""
        while True:
            before = await self._bus.call(self._claim, place, [own, CLAIM, dead], again=False)
            if not before:
                return None
            if not before.startswith(digest):
                raise VerbError("conflict", "this key was used with another request", field="key")
            if not before.startswith(b"@", len(digest)):
                return bytes(before[len(digest) :])
            if before == dead or await self._services.node.lease.lives(before[len(digest) + 1 :].decode()):
                raise VerbError("conflict", "the first request with this key is not answered yet", retry_after=RETRY)
            dead = bytes(before)


def of_store(error: BusError) -> VerbError:
    """What a caller is told when the store did not do what was asked."""
    if isinstance(error, KeyConflict):
        return VerbError("conflict", "this key was used with another request", field="key")
    if isinstance(error, NoTarget):
        return VerbError("not_found", "there is no such message any more", field="offset")
    if isinstance(error, NotAuthor):
        return VerbError("forbidden", "another user wrote this message", field="offset")
    if isinstance(error, TooMany):
        return VerbError("limit_reached", "this message has as many reactions as it may have", field="offset")
    if isinstance(error, StoreRefused):
        return VerbError("refused", "the store takes nothing now; nothing was done", retry_after=RETRY)
    return VerbError("unavailable", "the store did not answer; the outcome is unknown", retry_after=RETRY)


def _decoded(body: bytes, kind: type[VerbRequest]) -> VerbRequest:
    """The request. JSON has no integers of its own: 5.0 is one as well. Raises what msgspec raises."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        fields = {name: bytes(value) for name, value in msgspec.json.decode(body, type=dict[str, Raw]).items()}
        whole = {name: _whole(value) for name, value in fields.items()}
        if whole == fields:
            raise
        return msgspec.json.decode(msgspec.json.encode({name: Raw(one) for name, one in whole.items()}), type=kind)


def _whole(value: bytes) -> bytes:
    """A number that is an integer, written as one; anything else as it is."""
    if not _FLOAT.match(value):
        return value
    number = float(value)
    return b"%d" % number if number.is_integer() else value


def _invalid(error: msgspec.ValidationError) -> VerbError:
    """What is wrong, and in which field."""
    text = str(error)
    found: Any = _PLACE.match(text)
    unknown = _UNKNOWN.search(text)
    field = found["place"] or (unknown and (unknown["field"] or unknown["other"])) or ""
    return VerbError("bad_request", found["what"], field=field)
