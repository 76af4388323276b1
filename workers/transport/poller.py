"""SocketPoller: one epoll for all client sockets of an endpoint, which the event loop watches as a single descriptor.

The loop has no watcher, handle or transport object for a client, only the kernel has an entry; what happens at a
socket is told to its `Pollable`. Readiness is level-triggered: what a turn leaves is told again in the next one.

The poller is a source of commands to the store, which may hold it for some milliseconds (`bus/batch_pause.py`): what
happens at the sockets is then told at the end, in one turn.
"""

from __future__ import annotations

import asyncio
import select
from typing import Final, Protocol

A_TURN: Final = 512  # sockets that one turn of the loop looks at; the others come in the next turn
# Looks at the sockets at the end of a hold, at most: what a listening socket has takes several, as do long messages.
TURNS: Final = 8


class Pollable(Protocol):
    """What a socket's events are told to."""

    def on_ready(self, events: int) -> None:
        """Handle `events`, the bits of `select.EPOLL…`; they may be stale, so expect that nothing is there."""


class SocketPoller:
    """Watches sockets inside the running loop; holds an epoll only while there is one to watch."""

    __slots__ = ("_count", "_epoll", "_full", "_held", "_watched", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._epoll: select.epoll | None = None
        self._watched: list[Pollable | None] = []  # by descriptor, which the kernel numbers without large gaps
        self._count = 0
        self._held = False  # the loop does not watch the epoll
        self._full = False  # the last turn left sockets for the next one

    def __len__(self) -> int:
        """How many sockets are watched."""
        return self._count

    def watch(self, descriptor: int, events: int, pollable: Pollable) -> None:
        """Begin to watch a socket. Raises OSError where the kernel refuses."""
        epoll = self._epoll or self._open()
        epoll.register(descriptor, events)
        watched = self._watched
        if descriptor >= len(watched):
            watched += [None] * (descriptor + 1 - len(watched))
        watched[descriptor] = pollable
        self._count += 1

    def change(self, descriptor: int, events: int) -> None:
        """Watch a socket for other events."""
        assert self._epoll is not None
        self._epoll.modify(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """Watch a socket no more.

        Call it before the descriptor is closed: the kernel would go on to report a socket that another process has open
        as well, as the listening sockets and those that are handed over are.
        """
        assert self._epoll is not None
        self._watched[descriptor] = None
        self._epoll.unregister(descriptor)
        self._count -= 1
        if not self._count:
            self._close()

    def hold(self) -> None:
        """Tell of nothing but by `take`, until `release`; ignored while a turn is not enough for all sockets."""
        if self._epoll is not None and not self._held and not self._full:
            self._held = True
            self.loop.remove_reader(self._epoll.fileno())

    def take(self) -> None:
        """Tell what has happened while this was held."""
        for _ in range(TURNS):
            if not self._held:
                return
            if not self._on_ready():
                break
        if self._full:
            self.release()

    def release(self) -> None:
        """Tell of what happens in the loop's next turn again."""
        if self._held and self._epoll is not None:
            self._held = False
            self.loop.add_reader(self._epoll.fileno(), self._on_ready)

    def _open(self) -> select.epoll:
        epoll = self._epoll = select.epoll()
        self.loop.add_reader(epoll.fileno(), self._on_ready)
        return epoll

    def _close(self) -> None:
        assert self._epoll is not None
        if not self._held:
            self.loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._epoll = None
        self._held = False
        self._watched.clear()

    def _on_ready(self) -> int:
        """Tell what has happened at the sockets; return their number."""
        if self._epoll is None:  # closed in this very turn
            return 0
        watched = self._watched
        ready = self._epoll.poll(0, A_TURN)
        self._full = len(ready) == A_TURN
        for descriptor, events in ready:
            pollable = watched[descriptor] if descriptor < len(watched) else None
            if pollable is not None:
                pollable.on_ready(events)
        return len(ready)
