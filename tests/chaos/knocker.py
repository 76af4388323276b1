"""Connects all the time, and counts what a person in front of a browser would call "the site is down"."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.support.ws import Closed, RawSocket, Refused

TIMEOUT = 5.0  # seconds for a handshake


class Knocker:
    """Opens one WebSocket after another, `per_second` of them; `outcomes` counts how they ended."""

    def __init__(self, url: str, *, per_second: float = 50.0) -> None:
        self.url = url
        self.outcomes: Counter[str] = Counter()
        self._pause = 1 / per_second
        self._task: asyncio.Task[None] | None = None
        self._knocks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Knocker:
        self._task = asyncio.create_task(self._knock())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, *self._knocks, return_exceptions=True)

    async def _knock(self) -> None:
        while True:
            knock = asyncio.create_task(self._once())
            self._knocks.add(knock)
            knock.add_done_callback(self._knocks.discard)
            await asyncio.sleep(self._pause)

    async def _once(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                socket = await RawSocket.open(self.url)
        except ConnectionRefusedError:
            outcome = "refused"
        except TimeoutError:
            outcome = "timed out"
        except (Closed, ConnectionError):
            outcome = "reset"
        except Refused as error:
            outcome = f"HTTP {error.status}"
        else:
            outcome = "in"
            socket.abort()
        self.outcomes[outcome] += 1

    @property
    def bad(self) -> dict[str, int]:
        """What must not be, whoever dies: a reset is what a killed worker does to what it had accepted already."""
        return {outcome: times for outcome, times in self.outcomes.items() if outcome not in ("in", "reset")}
