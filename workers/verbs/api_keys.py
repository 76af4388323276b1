"""ApiKeys: the keys with which programs call verbs by HTTP, hashed in the store, the same for all workers.

A key is ``cm_<id>_<secret>``. The store has the id and a hash of the secret, which has 192 random bits, so that one
round of BLAKE2b is enough. Each call reads the record, so a key that is revoked is revoked at once everywhere; the same
script takes a token of the key's rate, which is that of all workers together.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from workers.bus.script import ScriptRunner, scripts_of
from workers.verbs import keys
from workers.verbs.request import KEY, Caller, VerbError

RATE: Final = 100.0  # calls a second of a key that has no rate of its own
BURST: Final = 2.0  # seconds of its rate that may come at once
MOST_KEYS: Final = 1000
_KEY: Final = re.compile(r"cm_([0-9a-f]{12})_([A-Za-z0-9_-]{32})\Z")


class KeyRecord(Struct, frozen=True, omit_defaults=True):
    """What the store keeps of a key."""

    name: str
    digest: str
    created: float
    rate: float
    burst: float
    verbs: tuple[str, ...] | None = None
    rooms: tuple[str, ...] | None = None


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator asks for; `rate` in calls a second, 0: no limit."""

    name: Annotated[str, Meta(pattern=r"^[\w.:-]{1,64}\Z")]
    verbs: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    rooms: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    rate: Annotated[float, Meta(ge=0, le=1_000_000)] = RATE


class KeyRow(Struct, frozen=True):
    """A key as operators see it; `used` 0: never."""

    id: str
    name: str
    verbs: tuple[str, ...]
    rooms: tuple[str, ...]
    rate: float
    created: float
    used: float


class ApiKeys:
    """Adds, lists, revokes and recognises keys. Every method raises BusError."""

    def __init__(self, calls: ScriptRunner, name: str) -> None:
        self._calls, self._name = calls, name
        self._keys, self._authorize = map(calls.script, scripts_of(Path(__file__).parent, "keys", "authorize"))
        self._own = [keys.api_keys(name), keys.used(name)]

    async def add(self, asked: NewKey) -> str:
        """Make a key; it is shown this once. Raises ValueError for a name that is taken, or too many keys."""
        known = await self.listed()
        if any(one.name == asked.name for one in known):
            raise ValueError(f"there is a key of the name {asked.name!r} already: revoke it first")
        if len(known) >= MOST_KEYS:
            raise ValueError(f"there are {MOST_KEYS} keys already: revoke some")
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(24)
        burst = max(1.0, asked.rate * BURST)
        record = KeyRecord(
            asked.name, _digest(secret), time.time(), asked.rate, burst, asked.verbs or None, asked.rooms or None
        )
        await self._calls.call(self._keys, self._own, ["add", key_id, msgspec.json.encode(record)], again=True)
        return f"cm_{key_id}_{secret}"

    async def listed(self) -> list[KeyRow]:
        """All keys, by name."""
        found = await self._calls.call(self._keys, self._own, ["list", "", ""], again=True)
        rows = [_row(*found[at : at + 3]) for at in range(0, len(found), 3)]
        return sorted(rows, key=lambda one: one.name)

    async def revoke(self, name: str) -> int:
        """End all keys of a name or id, at once and everywhere; returns how many."""
        ended = 0
        for one in await self.listed():
            if name in (one.name, one.id):
                ended += await self._calls.call(self._keys, self._own, ["remove", one.id, ""], again=True)
        return ended

    async def caller(self, key: str) -> Caller:
        """Whose key it is. Raises VerbError `unauthorized`, or `rate_limited`."""
        parts = _KEY.match(key)
        if parts is None:
            raise VerbError("unauthorized", "this is no API key: chatctl apikey add NAME makes one")
        own = [self._own[0], keys.bucket(self._name, parts[1]), self._own[1]]
        found = await self._calls.call(self._authorize, own, [parts[1], _digest(parts[2]), RATE], again=True)
        if not found:
            raise VerbError("unauthorized", "this API key is not known, or was revoked")
        record = msgspec.json.decode(found[0], type=KeyRecord)
        if found[1]:
            wait = int(found[1]) / 1000
            raise VerbError("rate_limited", f"this key may call {record.rate:g} times a second", retry_after=wait)
        return Caller(KEY + record.name, record.verbs, record.rooms)


def _digest(secret: str) -> str:
    return hashlib.blake2b(secret.encode(), digest_size=32, person=b"api key").hexdigest()


def _row(key_id: bytes, record: bytes, used: bytes) -> KeyRow:
    known = msgspec.json.decode(record, type=KeyRecord)
    return KeyRow(
        key_id.decode(), known.name, known.verbs or (), known.rooms or (), known.rate, known.created, int(used) / 1000
    )
