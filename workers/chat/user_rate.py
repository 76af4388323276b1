"""UserRate: how fast one user may ask over all connections and workers. A token bucket in the store, leased in chunks.

A worker takes some tokens of a user at once and spends them without asking, so that a request costs a subtraction, and
one of many a round trip to the store. What is leased and not spent soon is lost; the bucket fills again meanwhile.
The first request after that does not wait for the next lease: it goes ahead, and the lease takes its price from the
bucket in any case.
While the store is away no request waits for tokens: the limit of each connection still holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from chatmaster.settings import Limits, Settings
from workers.bus.port import BusError
from workers.bus.script import ScriptRunner, scripts_of
from workers.chat.store import keys
from workers.rate_limit import TokenAccount

CHUNKS: Final = 4  # a worker leases so small a part of a burst at once
LEASED_FOR: Final = 2.0  # seconds


class UserRate:
    """The buckets of all users, as this worker leases from them. Made inside the running loop."""

    def __init__(self, calls: ScriptRunner, settings: Settings, *, store_answers: Callable[[], bool]) -> None:
        self._calls = calls
        self._store_answers = store_answers
        self._name = settings.master.name
        self._rate, self._burst = limits_of(settings.limits)
        self._chunk = max(1, self._burst // CHUNKS)
        self._loop = asyncio.get_running_loop()
        (self._lease_script,) = map(calls.script, scripts_of(Path(__file__).parent, "lease"))
        self._accounts: WeakValueDictionary[str, TokenAccount] = WeakValueDictionary()

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._rate > 0

    def account(self, user: str) -> TokenAccount:
        """The account of a user, one for all connections here; it lives as long as a connection refers to it."""
        found = self._accounts.get(user)
        if found is None:
            found = self._accounts[user] = TokenAccount(user)
        return found

    async def spend(self, account: TokenAccount, size: int) -> float:
        """Take what a request costs, leasing where nothing is left. Returns 0, or in how many seconds to try again."""
        while not account.spend(size, time.time()):
            wait = account.blocked_until - time.time()
            if wait > 0:
                return wait
            leasing = account.leasing or self.lease(account)
            await asyncio.shield(leasing)
        return 0.0

    def lease(self, account: TokenAccount, owed: float = 0.0) -> asyncio.Future[None]:
        """Ask for tokens; `owed` are taken from the bucket in any case, for what went ahead (`TokenAccount.borrow`)."""
        leased: asyncio.Future[None] = self._loop.create_future()
        account.leasing = leased

        def done(reply: Any) -> None:
            granted, wait = (self._chunk, 0) if isinstance(reply, BusError) else reply
            now = time.time()
            debt = min(0.0, account.tokens)
            account.tokens, account.expires = granted + debt, now + LEASED_FOR
            account.blocked_until = now + wait / 1000
            account.leasing = None
            leased.set_result(None)

        if not self._store_answers():
            done(BusError("the store is away"))
            return leased
        key = keys.request_tokens(self._name, account.user)
        self._calls.send(self._lease_script, [key], [self._rate, self._burst, self._chunk, owed], done, again=True)
        return leased


def limits_of(limits: Limits) -> tuple[float, int]:
    """Requests a second and at once of one user: as many as of one connection where nothing else is set."""
    return limits.user_rate or limits.rate, limits.user_burst or limits.burst
