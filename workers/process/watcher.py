"""Detects from a thread that the loop is blocked, and logs where, long before `master.hang_timeout`.

The loop beats ten times a second; the thread looks as often how old the last beat is, and from BLOCKED_AFTER on at what
the loop's thread is doing. A function that keeps the interpreter to itself (a regular expression, a large hash) is seen
as soon as it returns, still at its line. A worker that does not run at all, because it was stopped or the machine
has no time for it, is not blamed on anybody: then the loop's thread is in no function of the application's or ours.
"""

from __future__ import annotations

import asyncio
import linecache
import logging
import sys
import sysconfig
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from workers.failures import OncePerPlace
from workers.node.counters import Counters
from workers.process.debugger import Debugger

logger = logging.getLogger(__name__)

BEAT: Final = 0.1  # seconds
BLOCKED_AFTER: Final = 0.3  # seconds without a beat: then something has run for 0.2 to 0.3 s
BLOCKED_AFTER_IN_DEVELOPMENT: Final = 0.1
AGAIN_AFTER: Final = 2.0  # seconds until a continuing block is logged again; doubled each time

_OURS: Final = str(Path(__file__).parents[1])
_LIBRARIES: Final = tuple(
    path for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")} if path
)


@dataclass(frozen=True, slots=True)
class SourceLine:
    """Where the loop's thread is executing."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        source = linecache.getline(self.file, self.line).strip()
        return f"{self.file}:{self.line} in {self.function}" + (f": {source}" if source else "")


class Watcher:
    """Watches the loop that makes it; `base` is the function that runs the loop."""

    def __init__(
        self, counters: Counters, base: CodeType, debugger: Debugger, blocked_after: float = BLOCKED_AFTER
    ) -> None:
        self._counters = counters
        self._debugger = debugger
        self._blocked_after = blocked_after
        self._interval = min(BEAT, blocked_after / 3)
        self._base = base
        self._loop = asyncio.get_running_loop()
        self._ident = threading.get_ident()
        self._beaten = time.monotonic()
        self._handle: asyncio.TimerHandle | None = None
        self._ended = threading.Event()
        self._places: OncePerPlace[SourceLine] = OncePerPlace()

    def start(self) -> None:
        """Watch until `stop`."""
        self._beat()
        threading.Thread(target=self._watch, name="watcher", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._ended.set()
        if self._handle is not None:
            self._handle.cancel()

    def _beat(self) -> None:
        self._beaten = time.monotonic()
        self._handle = self._loop.call_later(self._interval, self._beat)

    def _watch(self) -> None:
        block, again = 0.0, 0.0  # the beat before the current block; its age at the next log line
        while not self._ended.wait(self._interval):
            beaten = self._beaten
            age = time.monotonic() - beaten
            if self._debugger.holds_terminal:
                block = beaten  # it waits for a person
                again = float("inf")
                continue
            if age < self._blocked_after or (beaten == block and age < again):
                continue
            place = blamed(sys._current_frames().get(self._ident), self._base)
            if place is None:
                continue
            if beaten != block:
                block, again = beaten, AGAIN_AFTER
                self._counters.blocked += 1
                self._say(place, age)
            else:
                again = 2 * age
                logger.warning("the worker is still blocked, for %.1f s now, by %s", age, place)

    def _say(self, place: SourceLine, age: float) -> None:
        now = time.monotonic()
        if not self._places.is_due(place, now):
            self._places.omit(place)
            return
        more = self._places.log(place, now)
        again = f" ({more} times more since this was last logged)" if more else ""
        logger.warning(
            "the worker is blocked, for %.1f s so far, by %s%s; no other client is served until then: "
            "await it, or run it in a thread (threaded=True)",
            age,
            place,
            again,
        )


def blamed(frame: FrameType | None, base: CodeType) -> SourceLine | None:
    """Return the innermost running function of the application, else of the server; None if the loop is idle."""
    ours: SourceLine | None = None
    while frame is not None and frame.f_code is not base:
        code = frame.f_code
        place = SourceLine(code.co_filename, frame.f_lineno, code.co_qualname)
        if code.co_filename.startswith(_OURS):
            ours = ours or place
        elif not code.co_filename.startswith(("<", *_LIBRARIES)):
            return place
        frame = frame.f_back
    return ours
