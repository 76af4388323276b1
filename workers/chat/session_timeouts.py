"""Owns when sessions run out of time: to say hello, and as long as their tokens hold. One timer for all of a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from workers.chat.agenda import Agenda
from workers.chat.rules.state import SessionPhase

if TYPE_CHECKING:
    from workers.chat.chat_connection import ChatConnection

TICK: Final = 0.25  # seconds between two looks at the clock for all sessions
_COMING_IN: Final = (SessionPhase.NEW, SessionPhase.ADMITTING)


class SessionTimeouts:
    """Who has to say hello until when, and whose token ends.

    `connections` are those of the worker, `moving` the ids of those that are on their way to another one.
    """

    def __init__(
        self,
        hello_timeout: float,
        connections: Collection[str],
        moving: Collection[str],
        *,
        ticked: Callable[[], None],
    ) -> None:
        self._hello_timeout = hello_timeout
        self._connections = connections
        self._moving = moving
        self._ticked = ticked
        self._loop = asyncio.get_running_loop()
        self._hellos: Agenda[ChatConnection] = Agenda()  # until when each has to have said hello
        self._ends: Agenda[ChatConnection] = Agenda()  # when tokens end
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look at the clock from now on."""
        self._timer = self._loop.call_later(TICK, self._tick)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def await_hello(self, desk: ChatConnection, since: float) -> None:
        """A connection began at that time, perhaps at another worker."""
        self._hellos.put(since + self._hello_timeout, desk)

    def expires(self, desk: ChatConnection, when: float) -> None:
        """Look at this session again when its token ends; 0: never."""
        if when:
            self._ends.put(when, desk)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._tick)
        self._ticked()
        now = time.time()
        for desk in self._hellos.due(now):
            if desk.session.phase is SessionPhase.NEW and desk.connection.id not in self._moving:
                desk.carry_out(desk.session.hello_timed_out(now))
            if desk.session.phase in _COMING_IN:  # who is refused now has to say hello again
                self._hellos.put(now + self._hello_timeout, desk)
        for desk in self._ends.due(now):
            desk.carry_out(desk.session.token_timed_out(now))
        here = len(self._connections)
        self._hellos.tidy(here, lambda _, desk: desk.session.phase in _COMING_IN)
        self._ends.tidy(here, lambda at, desk: desk.session.awaits_end(at))
