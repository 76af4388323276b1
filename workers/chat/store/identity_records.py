"""Who users are: the secret and the addresses of guests, and the moderators, for workers that start."""

from __future__ import annotations

import secrets
from typing import Any, Final

import msgspec

from workers.bus.script import Script, ScriptRunner
from workers.chat.rules.moderators import Moderator
from workers.chat.store import keys

ADDRESS_TTL: Final = 3600  # seconds after a guest has left in which a ban still finds the address
TOKEN_KEYS_TTL: Final = 604_800  # seconds that a key set is kept whose URL is away
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Moderator).decode


class Guests:
    """What is kept of guests, over all workers."""

    __slots__ = ("_calls", "_depart", "_origin", "_secret", "_server")

    def __init__(self, calls: ScriptRunner, server: str, *, secret: Script, depart: Script, origin: Script) -> None:
        self._calls, self._server = calls, server
        self._secret, self._depart, self._origin = secret, depart, origin

    async def secret(self, known: bytes | None) -> bytes:
        """The secret of this server: `known`, or a new one, of whichever worker asks first. Raises BusError."""
        own = [keys.guest_secret(self._server)]
        return bytes(await self._calls.call(self._secret, own, [known or secrets.token_bytes(32)], again=True))

    def write_address(self, guest: str, address: str) -> None:
        """Note where a guest who leaves came from, for ADDRESS_TTL; the write may be lost."""
        self._calls.send(self._depart, [keys.address(self._server, guest)], [address, ADDRESS_TTL], _ignore, again=True)

    async def address_of(self, guest: str) -> str:
        """Where a guest who has left came from; "" where that is not known any more. Raises BusError."""
        found = await self._calls.call(self._origin, [keys.address(self._server, guest)], [], again=True)
        return found.decode() if found else ""


class ModeratorRecords:
    """Writes and reads moderators and admins, over all workers."""

    __slots__ = ("_calls", "_enlist", "_roll", "_server")

    def __init__(self, calls: ScriptRunner, server: str, *, enlist: Script, roll: Script) -> None:
        self._calls, self._server, self._enlist, self._roll = calls, server, enlist, roll

    async def write(self, moderator: Moderator) -> None:
        """Keep a role and a name; a plain user's record is removed. Raises BusError."""
        value = _encode(moderator) if moderator.role else b""
        await self._calls.call(self._enlist, [keys.staff(self._server)], [moderator.user, value], again=True)

    async def read_all(self) -> list[Moderator]:
        """All moderators and admins that ever came. Raises BusError."""
        found = await self._calls.call(self._roll, [keys.staff(self._server)], [], again=True)
        return [_decode(one) for one in found]


class TokenKeyRecords:
    """Keeps the key set of `auth.jwks`, over all workers: a worker that starts may need it while the URL is away."""

    __slots__ = ("_calls", "_jwks", "_server")

    def __init__(self, calls: ScriptRunner, server: str, *, jwks: Script) -> None:
        self._calls, self._server, self._jwks = calls, server, jwks

    async def write(self, url: str, text: bytes) -> None:
        """Keep a key set. Raises BusError."""
        await self._calls.call(self._jwks, [keys.token_keys(self._server, url)], [text, TOKEN_KEYS_TTL], again=True)

    async def read(self, url: str) -> bytes:
        """The key set that was kept last; empty: none. Raises BusError."""
        name = keys.token_keys(self._server, url)
        return bytes(await self._calls.call(self._jwks, [name], [b"", TOKEN_KEYS_TTL], again=True) or b"")


def _ignore(reply: Any) -> None:
    """Without the address a ban of the guest does not hold for the address."""
