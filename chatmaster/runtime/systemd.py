"""Notifies systemd by sd_notify(3): READY, RELOADING, STOPPING, STATUS and WATCHDOG.

Without NOTIFY_SOCKET every method does nothing. A datagram that cannot be sent at once is dropped: the service manager
must never block the master.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping


class Notifier:
    """The notification socket of the service manager."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        self.watchdog_interval = _watchdog_interval(environ) if self._socket else None
        """Seconds between two `watchdog` calls: half of the watchdog's timeout; None: there is no watchdog."""

    def ready(self, status: str = "") -> None:
        """Report that every worker is ready; also ends a reload."""
        self._send("READY=1", f"MAINPID={os.getpid()}", *_status(status))

    def reloading(self, status: str = "") -> None:
        """Report that a reload begins; `ready` ends it. Newer versions of systemd need the time."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", *_status(status))

    def stopping(self, status: str = "") -> None:
        """Report that the server stops."""
        self._send("STOPPING=1", *_status(status))

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(*_status(text))

    def watchdog(self) -> None:
        """Report that the loop is alive."""
        self._send("WATCHDOG=1")

    def keep_feeding(self, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        """Notify the watchdog now, and then once per `watchdog_interval`."""
        if self.watchdog_interval is not None:
            self.watchdog()
            call_later(self.watchdog_interval, lambda: self.keep_feeding(call_later))

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None or not lines:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            pass  # a service manager that does not listen is no reason to end


def _address(path: str) -> str:
    """Return the address of the socket; @ stands for the NUL of an abstract one. sd_notify supports no others."""
    if path.startswith("@"):
        return "\0" + path[1:]
    return path if path.startswith("/") else ""


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())}",) if text else ()


def _watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """Return half of WATCHDOG_USEC in seconds, as sd_watchdog_enabled(3) advises, if WATCHDOG_PID is this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return microseconds / 2_000_000 if microseconds > 0 else None
