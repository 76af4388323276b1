"""Bans and mutes in the store: a record for each user, verb and room, under every subject that the record holds for.

The record under the user is authoritative: its script gives the record the time that orders it. Copies of the record
lie under each address that it holds for, so that one read at admission finds all, and in a list of all for operators.
Only a later copy replaces a copy. A call that fails half-way raises BusError, and repeating the call completes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from workers.bus.script import Argument, ScriptRunner, scripts_of
from workers.registry import keys
from workers.registry.sanctions import (
    Sanction,
    Sanctions,
    field_of,
    pack_addresses,
    pack_details,
    packed,
    unpack,
    unpack_all,
)

PAGE: Final = 500  # sanctions that one script lists, approximately
MOST_LISTED: Final = 10_000
RELOADS: Final = 64  # subjects that are reloaded concurrently
MOST_ADDRESSES: Final = 64  # of one guest


class SanctionStore:
    """Keeps bans and mutes, over all workers. Made inside the running loop."""

    def __init__(self, calls: ScriptRunner, name: str) -> None:
        self._calls = calls
        self._name = name
        scripts = scripts_of(Path(__file__).parent, "sanction", "place", "extend", "held", "list")
        self._sanction, self._place, self._extend, self._held, self._list = map(calls.script, scripts)

    async def impose(self, asked: Sanction, seconds: float) -> Sanction:
        """Keep a sanction under the user and the addresses; 0 seconds: without end. Returns it with its times.

        Raises BusError.
        """
        asked = msgspec.structs.replace(asked, addresses=asked.addresses[:MOST_ADDRESSES])
        until, at, addresses, _ = await self._keep(asked, seconds)
        kept = msgspec.structs.replace(asked, until=until, at=at, addresses=addresses)
        await self._copy(kept)
        await self._still(kept)
        return kept

    async def lift(self, asked: Sanction) -> tuple[Sanction, bool]:
        """End a sanction and its copies. Returns the order for the workers, and whether a sanction was lifted.

        Raises BusError.
        """
        _, at, addresses, before = await self._keep(asked, -1)
        lifted = msgspec.structs.replace(asked, at=at, addresses=addresses, lifted=True)
        await self._copy(lifted)
        return lifted, bool(before)

    async def extend(self, sanction: Sanction, address: str) -> Sanction | None:
        """Extend a sanction to an address. None: it was lifted or replaced in the meantime. Raises BusError."""
        if len(sanction.addresses) >= MOST_ADDRESSES:
            return None
        extended = msgspec.structs.replace(sanction, addresses=(*sanction.addresses, address))
        await self._copy(extended)
        return await self._still(extended, address)

    async def _still(self, sanction: Sanction, address: str = "") -> Sanction | None:
        """The sanction, with the address from now on, if it still holds now that its copies are written; else None.

        A later lift finds the copies. An earlier lift did not find them, so this method removes them.
        """
        own = [keys.sanctions(self._name, keys.of_user(sanction.user))]
        args: list[Argument] = [field_of(sanction), sanction.at, address]
        value = await self._calls.call(self._extend, own, args, again=True)
        if value:
            return unpack(field_of(sanction), value)
        await self._copy(msgspec.structs.replace(sanction, lifted=True))
        return None

    async def listed(self, *, limit: int = MOST_LISTED) -> list[Sanction]:
        """Return all active sanctions, at most `limit`. Raises BusError."""
        found: dict[bytes, Sanction] = {}
        cursor = b"0"
        while len(found) < limit:
            args: list[Argument] = [cursor, PAGE]
            reply = await self._calls.call(self._list, [keys.all_sanctions(self._name)], args, again=True)
            found |= {field_of(one): one for one in unpack_all(reply[1:])}
            cursor = reply[0]
            if cursor == b"0":
                break
        return list(found.values())[:limit]

    async def reload(self, sanctions: Sanctions, subjects: Sequence[str]) -> float:
        """Reload the sanctions of some subjects. Returns the store's time (Unix time). Raises BusError."""
        now = await self._reload(sanctions, keys.ALL)  # no sanctions, but the store's time
        for start in range(0, len(subjects), RELOADS):
            await asyncio.gather(*(self._reload(sanctions, one) for one in subjects[start : start + RELOADS]))
        return now

    async def _reload(self, sanctions: Sanctions, subject: str) -> float:
        reply = await self._calls.call_read(self._held, [keys.sanctions(self._name, subject)], [])
        sanctions.reloaded(subject, unpack_all(reply[1:]), int(reply[0]))
        return int(reply[0]) / 1000

    # ---- the records -------------------------------------------------------------------------------

    async def _keep(self, asked: Sanction, seconds: float) -> tuple[int, int, tuple[str, ...], bytes]:
        """Write the record under the user; return its end, its time, old and new addresses, and the record before."""
        own = [keys.sanctions(self._name, keys.of_user(asked.user))]
        args: list[Argument] = [field_of(asked), seconds, pack_addresses(asked.addresses), pack_details(asked)]
        until, at, held, before = await self._calls.call(self._sanction, own, args, again=True)
        return int(until), int(at), () if held == b"-" else tuple(held.decode().split(",")), before

    async def _copy(self, sanction: Sanction) -> None:
        """Write the copies of a sanction, or remove those of a lifted one; later copies stay."""
        value: Any = b"" if sanction.lifted else packed(sanction)
        every = keys.all_sanctions(self._name)
        for place in (*(keys.sanctions(self._name, keys.of_address(one)) for one in sanction.addresses), every):
            forgotten = 0 if place == every else sanction.until
            args: list[Argument] = [field_of(sanction), sanction.at, value, forgotten]
            await self._calls.call(self._place, [place], args, again=True)
