"""AskedBackend: asks the web application of `[hooks]` by signed HTTP, and fails closed.

Whatever is no clear answer within `hooks.timeout` is a failure, which refuses what was asked about. Of one worker
`hooks.concurrency` questions are under way at once; others wait for their turn, within the same deadline.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Struct

from chatmaster import signatures
from chatmaster.settings import AskedHooks
from workers.failures import OncePerPlace
from workers.outgoing_http import OutgoingError, OutgoingHttp

logger = logging.getLogger(__name__)

MAX_ANSWER: Final = 262_144  # bytes
WAITING: Final = 10  # questions that may wait for each that may be under way
MAX_REASON: Final = 500  # characters of a reason for a client
_SHOWN: Final = 80  # characters of a bad answer in the log
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class BackendFailed(Exception):
    """The application gave no answer that counts; the text says why, for the log and a developer."""


class BackendAnswer(Struct, frozen=True, forbid_unknown_fields=True):
    """An answer of the application. Anything else than these members is none."""

    allow: bool
    code: str = ""  # hello, join, say: an error code of the protocol
    reason: str = ""  # for the client
    text: str | None = None  # say: the text instead
    status: int = 403  # handshake: of the answer instead of a WebSocket
    user: str = ""  # handshake: who it is
    session: dict[str, Any] = {}  # handshake: beside the user


_decode: Final = msgspec.json.Decoder(BackendAnswer).decode
_encode: Final = msgspec.json.Encoder().encode


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object that has a key twice, of which msgspec takes the last: it says two things. Raises ValueError."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("an object has a key twice")


class AskedBackend:
    """The application that one worker asks."""

    def __init__(self, asked: AskedHooks, server: str) -> None:
        self._asked = asked
        self._server = server
        self._urls = {name: url for name in ("handshake", "hello", "join", "say") if (url := getattr(asked, name))}
        self._http = OutgoingHttp(max_connections=asked.concurrency, keep=False)
        self._turns = asyncio.Semaphore(asked.concurrency)
        self._waiting = 0
        self._logged: OncePerPlace[tuple[str, str]] = OncePerPlace()
        self.failures = 0

    @property
    def hooks(self) -> frozenset[str]:
        """The hooks with a URL."""
        return frozenset(self._urls)

    async def ask(self, hook: str, question: dict[str, Any], headers: Mapping[str, str] = _NONE) -> BackendAnswer:
        """Ask about one request. Raises BackendFailed, which is logged once a minute for each reason.

        `headers` are those of the handshake that the settings name; the question has them as headers of its own.
        """
        await asyncio.sleep(0)  # in a task from here on: a coroutine's first step may be outside of one
        try:
            return await self._ask(hook, question, headers)
        except BackendFailed as error:
            self.failures += 1
            self._log(hook, str(error))
            raise

    async def _ask(self, hook: str, question: dict[str, Any], headers: Mapping[str, str]) -> BackendAnswer:
        if self._waiting >= WAITING * self._asked.concurrency:
            raise BackendFailed(f"{self._waiting} questions wait for it already")
        passed = {name: value for name in self._asked.headers if (value := headers.get(name.lower())) is not None}
        body = _encode({"hook": hook, "server": self._server, **question})
        self._waiting += 1
        try:
            async with asyncio.timeout(self._asked.timeout), self._turns:
                answer = await self._http.request(
                    "POST",
                    self._urls[hook],
                    timeout=self._asked.timeout,
                    max_size=MAX_ANSWER,
                    headers={**passed, "content-type": "application/json", **self._signed(body)},
                    content=body,
                )
        except TimeoutError:
            raise BackendFailed(f"does not answer within {self._asked.timeout:g} s") from None
        except OutgoingError as error:
            raise BackendFailed(str(error)) from None
        finally:
            self._waiting -= 1
        if answer.status != 200:
            raise BackendFailed(f"answers with {answer.status}")
        try:
            decoded = _decode(answer.body)
            json.loads(answer.body, object_pairs_hook=_refuse_repeated)
            return decoded
        except (ValueError, RecursionError) as error:
            raise BackendFailed(f"answers with {answer.body[:_SHOWN]!r}: {error}") from None

    def _signed(self, body: bytes) -> dict[str, str]:
        message_id = f"msg_{os.urandom(12).hex()}"
        return signatures.sign(body, secret=self._asked.secret, message_id=message_id, now=time.time())

    def _log(self, hook: str, why: str) -> None:
        place, now = (hook, why), time.monotonic()
        if not self._logged.is_due(place, now):
            self._logged.omit(place)
            return
        more = self._logged.log(place, now)
        again = f" (and {more} times since this was last logged)" if more else ""
        logger.warning("the hook %s is refused: %s %s%s", hook, self._urls[hook], why, again)

    async def prepare(self) -> None:
        """Load what asking needs, if there is anything to ask."""
        if self._urls:
            await self._http.prepare()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()
