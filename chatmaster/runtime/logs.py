"""Logging that never blocks: lines of text or JSON; a line that cannot be written at once is dropped and counted.

The standard library's logging does the rest, because websockets and redis log through it. A full disk, a pipe whose
reader stopped or a terminal held by Ctrl-S costs lines, never time: the number of lost ones is written before the next
line that gets through.

Standard error is shared with the process that started the master, so it must stay blocking: a terminal or pipe is
opened again through /proc, which gives a separate file description; a socket (journald's) is written with MSG_DONTWAIT.
"""

from __future__ import annotations

import logging
import os
import re
import select
import socket
import stat
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType

import msgspec

from chatmaster.plural import counted
from chatmaster.settings import Log
from chatmaster.tracebacks import format_program_error

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
TALKATIVE = ("httpx", "httpcore")  # at info a line with the URL for each request, at debug its headers

_CREDENTIALS = re.compile(r"(://)[^/@\s]*@")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127) if code not in (9, 10)}
_CONTROL_IN_MESSAGE = {**_CONTROL, 10: "\n    "}  # a message cannot forge a line: its further lines are indented


class LogHandler(logging.Handler):
    """Writes records to standard error or a file, without blocking."""

    def __init__(
        self, path: str, formatter: logging.Formatter, *, secrets: Sequence[str], on_drop: Callable[[int], None] | None
    ) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.dropped = 0  # lines lost since the start
        self._path = path
        # Verbatim, and as JSON encodes them.
        self._secrets = {form for text in secrets if text for form in (text, msgspec.json.encode(text).decode()[1:-1])}
        self._on_drop = on_drop
        self._unreported = 0
        self._torn = False  # the last write ended inside a line
        self._fd = _open_file(path) if path else _open_stderr()
        self._is_socket = stat.S_ISSOCK(os.fstat(self._fd).st_mode)

    def fileno(self) -> int:
        """Return the descriptor, for faulthandler; `reopen` keeps its number."""
        return self._fd

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, or drop it."""
        try:
            line = self._hide(self.format(record))
            if self._unreported:
                note = logging.makeLogRecord(
                    {
                        "name": __name__,
                        "levelno": logging.WARNING,
                        "levelname": "WARNING",
                        "msg": "%s dropped: the log could not be written",
                        "args": (counted(self._unreported, "log line was", several="log lines were"),),
                    }
                )
                line = f"{self.format(note)}\n{line}"
        except Exception:
            self.handleError(record)
            return
        if self._write(f"{line}\n".encode(errors="backslashreplace")):
            self._unreported = 0
        else:
            self.dropped += 1
            self._unreported += 1
            if self._on_drop is not None:
                self._on_drop(self.dropped)

    def handleError(self, record: logging.LogRecord) -> None:
        """Log where a record comes from that cannot be formatted, without its traceback."""
        where = f"{record.pathname}:{record.lineno}"
        self._write(f"a log record of {where} cannot be formatted: {record.msg!r}\n".encode(errors="replace"))

    def reopen(self) -> None:
        """Open the file again after it was rotated. Raises OSError; the old file stays in use then."""
        if not self._path:
            return
        old = os.fstat(self._fd)
        fresh = _open_file(self._path)
        # In a background process, standard output and standard error are this file, too.
        for fd in (1, 2):
            if _is(fd, old):
                os.dup2(fresh, fd)
        os.dup2(fresh, self._fd, inheritable=False)
        os.close(fresh)
        self._torn = False

    def let_go(self) -> None:
        """Close the descriptor. `close` does not: an application that configures logging closes every handler."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self.close()

    def _hide(self, line: str) -> str:
        line = _CREDENTIALS.sub(r"\1***@", line)
        for secret in self._secrets:
            line = line.replace(secret, "***")
        return line

    def _write(self, data: bytes) -> bool:
        """Return True if all of it was written; the rest is lost otherwise."""
        if self._torn:
            data = b"\n" + data
        try:
            written = self._write_some(data)
        except OSError:
            return False
        self._torn = written < len(data)
        return not self._torn

    def _write_some(self, data: bytes) -> int:
        if self._is_socket:
            with socket.socket(fileno=os.dup(self._fd)) as sock:
                return sock.send(data, socket.MSG_DONTWAIT)
        if os.get_blocking(self._fd) and not _writable(self._fd):
            raise BlockingIOError
        return os.write(self._fd, data)


class TextFormatter(logging.Formatter):
    """`2026-11-23 20:43:01.250 worker 0 [1234] warning rooms: text`, in UTC.

    What follows in a message of several lines is indented; a traceback stands on its own lines.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Format the record as one line, followed by its traceback, if any."""
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        message = record.getMessage().translate(_CONTROL_IN_MESSAGE)
        line = (
            f"{clock}.{int(record.msecs):03d}Z {self._process} [{os.getpid()}] "
            f"{record.levelname.lower()} {record.name}: {message}"
        )
        if record.exc_info or record.stack_info:
            line += "\n" + _traceback(record).translate(_CONTROL)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, instance, process, pid, logger, message, traceback?."""

    def __init__(self, process: str, instance: str) -> None:
        super().__init__()
        self._process, self._instance = process, instance

    def format(self, record: logging.LogRecord) -> str:
        """Format the record as one line."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "instance": self._instance,
            "process": self._process,
            "pid": os.getpid(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info or record.stack_info:
            fields["traceback"] = _traceback(record)
        return msgspec.json.encode(fields).decode()


class DevFormatter(logging.Formatter):
    """`20:43:01 warning: text` for a developer, in local time; tracebacks have the program's own frames only.

    The name of a logger is shown where the program chose it, the name of the process where it is another than a worker.
    """

    _COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}

    def __init__(self, process: str, *, colour: bool) -> None:
        super().__init__()
        self._process = "" if process.startswith("worker") else f"{process}: "
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Format the record as one line, followed by its traceback, if any."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        message = record.getMessage().translate(_CONTROL_IN_MESSAGE)
        known = record.name.partition(".")[0] in ("workers", "chatmaster", "root", "__main__")
        source = self._process if known else f"{record.name}: "
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        line = f"{clock} {self._painted(f'{level}{source}{message}', record.levelno)}"
        if record.exc_info and record.exc_info[1] is not None:
            line += "\n" + format_program_error(record.exc_info[1]).rstrip("\n").translate(_CONTROL)
        if record.stack_info:
            line += "\n" + record.stack_info.translate(_CONTROL)
        return line

    def _painted(self, text: str, level: int) -> str:
        code = self._COLOURS.get(level) if self._colour else None
        return f"\x1b[{code}m{text}\x1b[0m" if code else text


def configure(
    log: Log,
    process: str,
    *,
    instance: str = "",
    secrets: Sequence[str] = (),
    on_drop: Callable[[int], None] | None = None,
) -> LogHandler:
    """Set up logging for this process, replacing any earlier setup.

    `process` is the name in each line, as "master" or "worker 0", `instance` is `master.name`; `secrets` are never
    written; `on_drop` is called with the number of lines lost so far. Raises OSError where `log.file` cannot be opened.
    """
    formatter = _formatter(log, process, instance)
    handler = LogHandler(log.file, formatter, secrets=secrets, on_drop=on_drop)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.let_go() if isinstance(old, LogHandler) else old.close()
    root.addHandler(handler)
    root.setLevel(LEVELS[log.level])
    for name in TALKATIVE:
        if (logger := logging.getLogger(name)).level == logging.NOTSET:  # else the application has set it
            logger.setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    return handler


def _formatter(log: Log, process: str, instance: str) -> logging.Formatter:
    match log.format:
        case "json":
            return JsonFormatter(process, instance)
        case "dev":
            return DevFormatter(process, colour=not log.file and _is_terminal(2) and "NO_COLOR" not in os.environ)
        case _:
            return TextFormatter(process)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("chatmaster").critical("uncaught exception", exc_info=(kind, error, trace))


def _traceback(record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[1] is not None:
        parts.append("".join(traceback.format_exception(record.exc_info[1])).rstrip("\n"))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


def _open_file(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o640)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def _open_stderr() -> int:
    try:
        mode = os.fstat(2).st_mode
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)  # started without standard error
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        try:
            return os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            pass  # another user's terminal: `_write_some` polls before it writes
    return os.dup(2)


def _is(fd: int, known: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), known)
    except OSError:
        return False
