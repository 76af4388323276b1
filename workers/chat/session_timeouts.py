"""SessionTimeouts: how long sessions have to say hello, and when tokens expire. One timer for all of a worker."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final, Generic, TypeVar

from workers.chat.chat_connection import ChatConnection
from workers.chat.connections import ChatConnections
from workers.chat.rules.state import SessionPhase

TICK: Final = 0.25  # seconds between two looks at the clock for all sessions
SPARE: Final = 100  # entries of a deadline queue that are no reason to look through all
_COMING_IN: Final = (SessionPhase.NEW, SessionPhase.ADMITTING)

Item = TypeVar("Item")


class DeadlineQueue(Generic[Item]):
    """Items by the time at which they are due. Pure.

    Most items are gone, or need no look any more, long before they are due, since a token may last for days: `tidy`
    removes them.
    """

    __slots__ = ("_entries", "_numbers")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Item]] = []  # a heap
        self._numbers = count()  # of equal times the first comes first

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, at: float, item: Item) -> None:
        """Add a time at which `item` is due, beside those that it has already."""
        heapq.heappush(self._entries, (at, next(self._numbers), item))

    def due(self, now: float) -> Iterator[Item]:
        """Remove and yield what is due at `now`, one by one."""
        while self._entries and self._entries[0][0] <= now:
            yield heapq.heappop(self._entries)[2]

    def tidy(self, here: int, wanted: Callable[[float, Item], bool]) -> None:
        """With far more entries than the `here` items there are, keep one entry of each item that is `wanted`."""
        if len(self._entries) > 2 * here + SPARE:
            kept = {id(item): (at, number, item) for at, number, item in self._entries if wanted(at, item)}
            self._entries = list(kept.values())
            heapq.heapify(self._entries)


class SessionTimeouts:
    """The deadlines of one worker's sessions. Made inside the running loop; `hello_timeout` in seconds."""

    def __init__(self, hello_timeout: float, connections: ChatConnections, *, ticked: Callable[[], None]) -> None:
        self._hello_timeout = hello_timeout
        self._connections = connections
        self._ticked = ticked
        self._loop = asyncio.get_running_loop()
        self._hellos: dict[ChatConnection, float] = {}  # by when each has to have said hello, until it has
        self._tokens: DeadlineQueue[ChatConnection] = DeadlineQueue()  # when each token expires
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look at the clock from now on."""
        self._timer = self._loop.call_later(TICK, self._tick)

    def stop(self) -> None:
        """Look at the clock no more."""
        if self._timer is not None:
            self._timer.cancel()

    def await_hello(self, client: ChatConnection, since: float) -> None:
        """Expect the hello of a connection that was opened at `since`, perhaps at another worker."""
        self._hellos[client] = since + self._hello_timeout

    def expect_no_hello(self, client: ChatConnection) -> None:
        """The connection has come in, or is gone."""
        self._hellos.pop(client, None)

    def await_expiry(self, client: ChatConnection, when: float) -> None:
        """Look at a session again when its token expires; 0: never."""
        if when:
            self._tokens.put(when, client)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._tick)
        self._ticked()
        now = time.time()
        for client in [client for client, at in self._hellos.items() if at <= now]:
            self._hellos.pop(client, None)
            session = client.session
            if session.phase is SessionPhase.NEW and not self._connections.is_moving(client):
                client.carry_out(session.hello_timed_out(now))
            if session.phase in _COMING_IN:  # a refused hello has to be said again in time
                self._hellos[client] = now + self._hello_timeout
        for client in self._tokens.due(now):
            client.carry_out(client.session.token_timed_out(now))
        self._tokens.tidy(len(self._connections), lambda at, client: client.session.awaits_end(at))
