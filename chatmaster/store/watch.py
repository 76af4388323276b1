"""Sees whether the embedded store still answers: asks it now and then over one connection, never waiting for it.

A store may be busy for seconds (a slow disk, a long script, which it says), so only a long silence counts.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chatmaster.runtime.event_loop import READ, EventLoop, Timer

ASK_EVERY: Final = 1.0  # seconds


class StoreWatch:
    """Asks while it is started; calls `hung` once the store has not said a word for `patience` seconds."""

    def __init__(self, reactor: EventLoop, path: Path, *, patience: float, hung: Callable[[float], None]) -> None:
        self.patience = patience
        self._reactor = reactor
        self._path = path
        self._hung = hung
        self._sock: socket.socket | None = None
        self._asked: float | None = None  # when, as long as no answer has come
        self._timer: Timer | None = None

    def start(self) -> None:
        """It answers now: begin to watch."""
        self.stop()
        self._timer = self._reactor.call_later(ASK_EVERY, self._look)

    def stop(self) -> None:
        """It is not to be judged: it ends, or somebody has stopped it."""
        self._hang_up()
        self._asked = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._listen()  # the master itself may have been away, and the answer have come meanwhile
        now = time.monotonic()
        if self._asked is not None and now - self._asked >= self.patience:
            self.stop()
            self._hung(self.patience)
            return
        if self._asked is None:
            self._asked = now
            self._ask()
        elif self._sock is None:
            self._ask()
        self._timer = self._reactor.call_later(ASK_EVERY, self._look)

    def _ask(self) -> None:
        try:
            if self._sock is None:
                self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._sock.setblocking(False)
                self._sock.connect(str(self._path))
                self._reactor.watch(self._sock.fileno(), READ, self._listen)
            self._sock.send(b"PING\r\n")
        except OSError:
            self._hang_up()  # a full queue of connections is no answer either

    def _listen(self) -> None:
        if self._sock is None:
            return
        try:
            said = self._sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self._asked = None  # any answer will do: a store that is busy says so
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._sock is not None:
            if self._sock.fileno() >= 0:
                self._reactor.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None
