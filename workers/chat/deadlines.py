"""Owns when sessions run out of time: to say hello, and as long as their tokens hold. One timer for all of a worker."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from workers.chat.session import Phase

if TYPE_CHECKING:
    from workers.chat.desk import Desk

TICK: Final = 0.25  # seconds between two looks at the clock for all sessions


class Deadlines:
    """Who has to say hello until when, and whose token ends. `moving(id)`: a connection is on its way to elsewhere."""

    def __init__(self, hello_timeout: float, moving: Callable[[str], bool], *, ticked: Callable[[], None]) -> None:
        self._hello_timeout = hello_timeout
        self._moving = moving
        self._ticked = ticked
        self._loop = asyncio.get_running_loop()
        self._new: deque[tuple[float, Desk]] = deque()  # until when each has to have said hello, in order
        self._expiring: list[tuple[float, int, Desk]] = []  # when tokens end, a heap
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look at the clock from now on."""
        self._timer = self._loop.call_later(TICK, self._tick)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def await_hello(self, desk: Desk, now: float) -> None:
        """A connection begins now."""
        self._new.append((now + self._hello_timeout, desk))

    def await_hello_since(self, desk: Desk, opened_at: float) -> None:
        """It has waited for a while at another worker: its turn comes before those that began here later."""
        until = opened_at + self._hello_timeout
        at = len(self._new)
        while at and self._new[at - 1][0] > until:
            at -= 1
        self._new.insert(at, (until, desk))

    def expires(self, desk: Desk, when: float) -> None:
        """Look at this session again when its token ends; 0: never."""
        if when:
            heapq.heappush(self._expiring, (when, id(desk), desk))

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._tick)
        self._ticked()
        now = time.time()
        while self._new and self._new[0][0] <= now:
            _, desk = self._new.popleft()
            if desk.session.phase is Phase.NEW and not self._moving(desk.connection.id):
                desk.carry_out(desk.session.hello_timed_out(now))
            if desk.session.phase in (Phase.NEW, Phase.ADMITTING):  # who is refused now has to say hello again
                self._new.append((now + self._hello_timeout, desk))
        while self._expiring and self._expiring[0][0] <= now:
            desk = heapq.heappop(self._expiring)[2]
            desk.carry_out(desk.session.token_timed_out(now))
