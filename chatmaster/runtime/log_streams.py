"""Turns what an application prints into log records, so that a JSON log contains only JSON."""

from __future__ import annotations

import io
import logging
import sys
from typing import Final

LONGEST: Final = 65_536  # bytes of a line; a longer line is split


class _Lines(io.RawIOBase):
    """Splits bytes into lines and passes each to a handler; loggers are bypassed because they may print."""

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
        """Return the real descriptor, for child processes, whose output is not captured."""
        return self._fd

    def write(self, data) -> int:  # type: ignore[no-untyped-def]  # any buffer, which 3.11 has no name for
        """Emit the complete lines; keep the rest."""
        taken = bytes(data)
        *lines, self._rest = (self._rest + taken).split(b"\n")
        while len(self._rest) > LONGEST:
            lines.append(self._rest[:LONGEST])
            self._rest = self._rest[LONGEST:]
        for line in lines:
            self._emit(line)
        return len(taken)

    def write_rest(self) -> None:
        """Emit the last line, which has no line break."""
        rest, self._rest = self._rest, b""
        if rest:
            self._emit(rest)

    def _emit(self, line: bytes) -> None:
        text = line.decode(errors="backslashreplace")
        if text.strip():
            record = logging.LogRecord(self.name, self._level, "", 0, text, None, None)
            self._handler.handle(record)


class Stream(io.TextIOWrapper):
    """Replaces `sys.stdout` or `sys.stderr`."""

    def __init__(self, handler: logging.Handler, name: str, level: int, fd: int) -> None:
        self._lines = _Lines(handler, name, level, fd)
        super().__init__(
            self._lines,  # raw: not buffered
            encoding="utf-8",
            errors="backslashreplace",
            write_through=True,
        )

    def write_rest(self) -> None:
        """See `_Lines.write_rest`."""
        self._lines.write_rest()


def capture(handler: logging.Handler) -> None:
    """Turn what this process prints into records of `stdout` (info) and `stderr` (warning)."""
    sys.stdout = Stream(handler, "stdout", logging.INFO, 1)
    sys.stderr = Stream(handler, "stderr", logging.WARNING, 2)


def end() -> None:
    """Emit what was printed without a line break at the end."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Stream):
            stream.write_rest()
