"""DailyQuota: how much one user, all guests of one address, or an API key may have kept in a day: bytes, and rooms
written to.

A message costs a look into a dictionary here. What a worker took is told to the store in parts, a small share of the
quota at a time, and the store's count over all workers decides: so a quota may be exceeded by a part for each worker.
Guests count for their address, since anyone can be any number of guests.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from chatmaster.settings import Settings
from workers.bus.port import BusError
from workers.bus.script import Argument, ScriptRunner, scripts_of
from workers.chat.rules.identity import Identity
from workers.registry import keys

DAY: Final = 86_400  # seconds
PARTS: Final = 64  # into which a quota is divided
GUEST_COST: Final = 400  # bytes that the name or the address of one guest takes, about
COST: Final = 100  # bytes that a message takes in the store beside itself, about
MOST_ROOMS: Final = 1000  # that an account remembers; of more some are counted again
MOST_ACCOUNTS: Final = 10_000
ASKED_AGAIN: Final = 60.0  # seconds after which the store is asked again whether a quota is still used up


class _Account:
    """What one user, address or key had kept by this worker and the store does not know of yet."""

    __slots__ = ("bytes", "full_until", "limits", "rooms", "subject", "unknown_rooms")

    def __init__(self, subject: str, limits: tuple[int, int]) -> None:
        self.subject = subject
        self.limits = limits  # bytes and rooms a day; 0: any
        self.bytes = 0
        self.unknown_rooms = 0
        self.rooms: set[str] = set()
        self.full_until = 0.0  # of the loop


class DailyQuota:
    """The quotas of all users, addresses and keys, as this worker knows them. Made inside the running loop."""

    def __init__(self, calls: ScriptRunner, settings: Settings) -> None:
        limits = settings.limits
        self._calls = calls
        self._name = settings.master.name
        self._of_users = limits.user_bytes, limits.user_rooms
        self._of_guests = limits.guest_bytes, limits.guest_rooms
        self._of_keys = settings.api.key_bytes, settings.api.key_rooms
        self._now = asyncio.get_running_loop().time
        (self._spend,) = map(calls.script, scripts_of(Path(__file__).parent, "spend"))
        self._accounts: dict[str, _Account] = {}

    def takes(self, identity: Identity, address: str, room: str, size: int) -> bool:
        """Whether `size` bytes may be kept; then they count. `address` is the client's network.

        `room` is the room or inbox of a message; "" for what is kept beside messages.
        """
        subject = keys.of_address(address) if identity.guest and address else keys.of_user(identity.user)
        return self._takes(subject, self._of_guests if identity.guest else self._of_users, room, size)

    def key_takes(self, key: str, room: str, size: int) -> bool:
        """The same of what the API key of that name asks for."""
        return self._takes(keys.of_api_key(key), self._of_keys, room, size)

    def _takes(self, subject: str, limits: tuple[int, int], room: str, size: int) -> bool:
        account = self._accounts.get(subject) or self._open(subject, limits)
        if account.full_until and account.full_until > self._now():
            return False
        account.bytes += size + COST
        if room and room not in account.rooms:
            if len(account.rooms) >= MOST_ROOMS:
                account.rooms.clear()
            account.rooms.add(room)
            account.unknown_rooms += 1
        most, most_rooms = account.limits
        if (most and account.bytes * PARTS >= most) or (most_rooms and account.unknown_rooms * PARTS >= most_rooms):
            self._tell(account)
        return True

    def _open(self, subject: str, limits: tuple[int, int]) -> _Account:
        if len(self._accounts) >= MOST_ACCOUNTS:
            self._tell(self._accounts.pop(next(iter(self._accounts))))
        account = self._accounts[subject] = _Account(subject, limits)
        return account

    def _tell(self, account: _Account) -> None:
        """Have the store add what it does not know of."""

        def done(reply: Any) -> None:
            if not isinstance(reply, BusError) and int(reply) > 0:
                account.full_until = self._now() + min(int(reply) / 1000, ASKED_AGAIN)

        args: list[Argument] = [account.bytes, account.unknown_rooms, *account.limits, DAY]
        account.bytes = account.unknown_rooms = 0
        account.full_until = 0.0
        self._calls.send(self._spend, [keys.today(self._name, account.subject)], args, done, again=False)
