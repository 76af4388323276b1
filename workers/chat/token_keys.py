"""TokenKeys: the key set behind `auth.jwks`, fetched from its URL, kept in memory and in the store.

It is fetched when the worker starts, every `auth.jwks_refresh` seconds, and when a token names a key that is not
known, but no more often than each `MIN_INTERVAL` seconds. Where the URL is away the last keys stay in use.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from workers.bus.port import BusError
from workers.chat.rules.token_verifier import TokenVerifier
from workers.chat.services import ChatServices
from workers.outgoing_http import OutgoingError, OutgoingHttp

logger = logging.getLogger(__name__)

MIN_INTERVAL: Final = 5.0  # seconds between two fetches on demand
TIMEOUT: Final = 5.0  # seconds for one fetch
MAX_SIZE: Final = 262_144  # bytes of a key set
RETRY: Final = 10.0  # seconds to the next try after one that failed
_SPREAD: Final = 0.1  # of the refresh interval, so that the workers do not all ask at once


class TokenKeys:
    """Fetches the keys for one worker's verifier; of several who wait, one fetch serves all."""

    def __init__(
        self, services: ChatServices, verifier: TokenVerifier, refresh: float, *, min_interval: float = MIN_INTERVAL
    ) -> None:
        self._tasks = services.tasks
        self._records = services.store.token_keys
        self._loop = services.loop
        self._verifier = verifier
        self._refresh = refresh
        self._min_interval = min_interval
        self._http = OutgoingHttp(max_connections=1, keep=False)
        self._fetching: asyncio.Task[None] | None = None
        self._demanded: asyncio.Task[None] | None = None
        self._next_demand = 0.0  # by the loop's clock
        self._failed = False  # the last fetch failed, which the log says

    def start(self) -> None:
        """Fetch now and from time to time, in the background."""
        self._tasks.start(self._run(), what="the keys of tokens")

    async def close(self) -> None:
        """Close the connection."""
        await self._http.close()

    async def _run(self) -> None:
        await self._load_kept()
        while True:
            await self._fetch()
            spread = random.uniform(1 - _SPREAD, 1 + _SPREAD)
            await asyncio.sleep(min(RETRY, self._refresh) if self._failed else self._refresh * spread)

    async def _load_kept(self) -> None:
        """Take the keys that another worker has fetched, until those of the URL are here."""
        url = self._verifier.url
        try:
            kept = await self._records.read(url)
            if kept and not self._verifier.has_keys:
                self._verifier.replace_keys(kept)
        except (BusError, ValueError) as error:
            logger.debug("no kept keys of tokens: %s", error)

    async def fetch_on_demand(self) -> None:
        """Fetch because a token names an unknown key; return after that fetch, whether it succeeded or not."""
        if self._demanded is None:
            self._demanded = self._tasks.start(self._demand(), what="the keys of tokens")
        await asyncio.shield(self._demanded)

    async def _demand(self) -> None:
        try:
            await asyncio.sleep(max(0.0, self._next_demand - self._loop.time()))
            self._next_demand = self._loop.time() + self._min_interval
            await self._fetch()
        finally:
            self._demanded = None

    async def _fetch(self) -> None:
        if self._fetching is None:
            self._fetching = self._tasks.start(self._fetch_once(), what="the keys of tokens")
        await asyncio.shield(self._fetching)

    async def _fetch_once(self) -> None:
        url = self._verifier.url
        try:
            answer = await self._http.request("GET", url, timeout=TIMEOUT, max_size=MAX_SIZE, headers={})
            if answer.status != 200:
                raise OutgoingError(f"answers with {answer.status}")
            count = self._verifier.replace_keys(answer.body)
        except (OutgoingError, ValueError) as error:
            self._note_failure(error)
            return
        finally:
            self._fetching = None
        if not self._verifier.is_current:
            logger.info("keys of tokens from %s: %d", url, count)
        self._failed, self._verifier.is_current = False, True
        try:
            await self._records.write(url, answer.body)
        except BusError as error:
            logger.debug("the keys of tokens are not kept: %s", error)

    def _note_failure(self, error: Exception) -> None:
        if not self._failed:
            rest = "the known keys stay in use" if self._verifier.has_keys else "no token can be verified"
            said = f"{self._verifier.url} {error}" if isinstance(error, OutgoingError) else str(error)
            logger.warning("the keys of tokens cannot be fetched: %s; %s, and it is tried again", said, rest)
        self._failed, self._verifier.is_current = True, False
