"""AnswerQueue: answers that wait until the loop's next turn, so that few writes carry them.

A transport writes at once, a system call for each write. The store answers many publications together, and what was
published comes back in the same turn or the next, by another connection: the answers to one connection, and the room's
messages for it, leave by one write. So answers wait for one turn more, in which the sockets are read once more.
Whatever else is written to the connection takes its answers along, so that answers keep their order.

The store often writes the answer first, and a worker that shares a core with the store then runs before the publication
is written. So where it is known to be on its way, its answers wait for it, a millisecond or two at most.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

LONGEST: Final = 0.002  # seconds that answers wait for messages


class Answerable(Protocol):
    """A connection, as the queue sees it."""

    def write_answers(self) -> None:
        """Write the connection's answers, if any still wait."""


class AnswerQueue:
    """The answers of one worker, by transport. Made inside the running loop.

    `waiting` is read before `take` is called, since nearly always nothing waits.
    """

    __slots__ = ("_connections", "_loop", "_timer", "awaited", "waiting")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections: dict[object, Answerable] = {}  # by transport, those that may have answers in `waiting`
        self._timer: asyncio.TimerHandle | None = None  # while the answers wait for messages
        self.awaited: set[object] = set()  # the rooms of these messages; whoever writes a room's messages discards it
        self.waiting: dict[object, bytes] = {}  # whole frames; whoever writes to a transport pops its own

    def add(self, connection: Answerable, transport: object, frame: bytes) -> None:
        """Let a frame wait until the connection is written to, in the next turn at the latest."""
        waiting = self.waiting
        if transport in waiting:
            waiting[transport] += frame
            return
        waiting[transport] = frame
        if not self._connections:
            self._loop.call_soon(self._wait)
        self._connections[transport] = connection

    def take(self, transport: object) -> bytes:
        """What waits for a transport, for a caller that writes to it now; b"" where nothing does."""
        return self.waiting.pop(transport, b"")

    def wait_for(self, room: object) -> None:
        """Let the answers that wait leave with a room's messages, which will come within moments."""
        if self._connections:
            self.awaited.add(room)
            if self._timer is None:
                self._timer = self._loop.call_later(LONGEST, self._write)

    def messages_written(self) -> None:
        """Messages were written: where all came that were awaited, what they did not take along leaves now."""
        if self._timer is not None and not (self.awaited and self.waiting):
            self._write()

    def _wait(self) -> None:
        """Let what comes in this turn be written first; that takes the answers along."""
        if self._timer is None:
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.awaited.clear()
        connections, self._connections = self._connections, {}
        waiting = self.waiting
        for transport, connection in connections.items() if waiting else ():
            if transport in waiting:
                connection.write_answers()
