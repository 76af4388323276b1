"""The master's loop: descriptors, timers and signals on one `selectors` selector, without threads.

Signal handlers only record the number; the wake-up descriptor ends the wait, and the recorded signals are handled in
the loop like all other events, so a fork is safe at any point. An exception in a callback is a bug of the master: the
loop logs it with its traceback and goes on, because the workers depend on the loop.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Final

log = logging.getLogger(__name__)

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE

IDLE: Final = 1.0  # seconds; the longest wait, in case a wake-up is lost


class LoopTimer:
    """A callback that is due at a time of the monotonic clock."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not call the callback."""
        self.callback = None


class EventLoop:
    """Waits for descriptors, timers and signals, and runs their callbacks."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, LoopTimer]] = []
        self._order = itertools.count()
        self._signals: deque[int] = deque()
        self._on_signal: dict[int, Callable[[], None]] = {}
        self._awake, self._wake = socket.socketpair()
        for end in (self._awake, self._wake):
            end.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self.watch(self._awake.fileno(), READ, self._drain_wakeups)

    # ---- what to wait for --------------------------------------------------------------------------

    def watch(self, fd: int, events: int, callback: Callable[[], None]) -> None:
        """Call back whenever `fd` is ready for one of `events` (READ, WRITE); replaces an earlier watch."""
        if fd in self._selector.get_map():
            self._selector.modify(fd, events, callback)
        else:
            self._selector.register(fd, events, callback)

    def forget(self, fd: int) -> None:
        """Stop watching, before the descriptor is closed."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def call_at(self, when: float, callback: Callable[[], None]) -> LoopTimer:
        """Call once, when `time.monotonic()` has reached `when`."""
        timer = LoopTimer(when, callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def call_later(self, seconds: float, callback: Callable[[], None]) -> LoopTimer:
        """Call once, after `seconds`."""
        return self.call_at(time.monotonic() + seconds, callback)

    def on_signal(self, number: signal.Signals, callback: Callable[[], None]) -> None:
        """Call in the loop whenever the signal arrives."""
        self._on_signal[int(number)] = callback
        signal.signal(number, self._record)

    # ---- the loop ----------------------------------------------------------------------------------

    def run_until(self, done: Callable[[], bool]) -> None:
        """Run the loop until `done()` returns True; it is called after each turn."""
        while not done():
            self._turn()

    def close(self) -> None:
        """Close the descriptors of the loop and reset the wake-up descriptor."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._awake.close()
        self._wake.close()

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._wait()):
            if key.fd in self._selector.get_map():  # not forgotten by a callback before it
                self._call(key.data)
        while self._signals:
            self._call(self._on_signal[self._signals.popleft()])
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                self._call(callback)

    def _wait(self) -> float:
        if self._signals:
            return 0.0
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return IDLE
        return min(max(self._timers[0][0] - time.monotonic(), 0.0), IDLE)

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            log.exception("a bug in the master; it goes on")

    def _record(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _drain_wakeups(self) -> None:
        try:
            while self._awake.recv(4096):
                pass
        except BlockingIOError:
            pass
