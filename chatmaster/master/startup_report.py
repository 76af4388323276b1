"""Reports the outcome of the start: one JSON line to each descriptor that waits for it.

``{"ok": true, "pid": N, "addresses": […], "pages": […], "result": {…}}``, or
``{"ok": false, "exit": N, "error": TEXT}``: the same line serves the pipe of `chatctl start -d` and, after a
restart, the control connections that asked for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec


class StartupReport:
    """The descriptors and the callback that wait for the start; each is served once."""

    def __init__(self, descriptors: Sequence[int], on_ready: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        self._descriptors = list(descriptors)
        self._on_ready = on_ready
        for fd in self._descriptors:
            os.set_inheritable(fd, False)
            os.set_blocking(fd, False)

    def ready(self, addresses: Sequence[str], pages: Sequence[str]) -> None:
        """Report that every worker is ready; `pages` are the addresses of the chat page."""
        facts = {"pid": os.getpid(), "addresses": list(addresses), "pages": list(pages)}
        self._write({"ok": True, **facts, "result": facts})
        if self._on_ready is not None:
            self._on_ready(facts)

    def failed(self, exit_code: int, error: str) -> None:
        """Report why the start failed."""
        self._write({"ok": False, "exit": int(exit_code), "error": error})

    def _write(self, line: Mapping[str, Any]) -> None:
        data = msgspec.json.encode(line) + b"\n"
        for fd in self._descriptors:
            try:
                os.write(fd, data)
            except OSError:
                pass  # the other end is closed
            os.close(fd)
        self._descriptors.clear()
