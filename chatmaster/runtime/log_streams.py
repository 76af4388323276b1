"""What an application prints, as records of the log: a JSON log holds nothing but JSON."""

from __future__ import annotations

import io
import logging
import sys
from typing import Final

LONGEST: Final = 65_536  # bytes of a line; what is longer is cut into several


class _Lines(io.RawIOBase):
    """Takes bytes, and hands each whole line to a handler, past the loggers: those may print, too."""

    def __init__(self, handler: logging.Handler, name: str, level: int, fd: int) -> None:
        super().__init__()
        self._handler = handler
        self.name = name
        self._level = level
        self._fd = fd
        self._rest = b""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """For programs that are executed with it: what they write goes there as it is."""
        return self._fd

    def write(self, data) -> int:  # type: ignore[no-untyped-def]  # any buffer, which 3.11 has no name for
        """Keep what is no whole line yet."""
        taken = bytes(data)
        *lines, self._rest = (self._rest + taken).split(b"\n")
        while len(self._rest) > LONGEST:
            lines.append(self._rest[:LONGEST])
            self._rest = self._rest[LONGEST:]
        for line in lines:
            self._emit(line)
        return len(taken)

    def write_rest(self) -> None:
        """At the end: what came without an end of line."""
        rest, self._rest = self._rest, b""
        if rest:
            self._emit(rest)

    def _emit(self, line: bytes) -> None:
        text = line.decode(errors="backslashreplace")
        if text.strip():
            record = logging.LogRecord(self.name, self._level, "", 0, text, None, None)
            self._handler.handle(record)


class Stream(io.TextIOWrapper):
    """In the place of `sys.stdout` or `sys.stderr`."""

    def __init__(self, handler: logging.Handler, name: str, level: int, fd: int) -> None:
        self._lines = _Lines(handler, name, level, fd)
        super().__init__(
            self._lines,  # raw: nothing is kept back
            encoding="utf-8",
            errors="backslashreplace",
            write_through=True,
        )

    def write_rest(self) -> None:
        """See `_Lines.write_rest`."""
        self._lines.write_rest()


def capture(handler: logging.Handler) -> None:
    """From now on what is printed in this process becomes records of `stdout` (info) and `stderr` (warning)."""
    sys.stdout = Stream(handler, "stdout", logging.INFO, 1)
    sys.stderr = Stream(handler, "stderr", logging.WARNING, 2)


def end() -> None:
    """Say what was printed without an end of line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Stream):
            stream.write_rest()
