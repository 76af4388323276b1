"""The client of the control socket: sends a command to the running master and reads the replies.

The wire: one JSON object a line, one request a connection. Request: ``{"command": NAME, "args": {…}}``. Replies:
any number of ``{"progress": TEXT}`` and ``{"row": {…}}``, then ``{"ok": true, "result": {…}}`` or
``{"ok": false, "exit": N, "error": TEXT}``. `master/control_server.py` is the server.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from chatmaster.contract import ExitCode
from chatmaster.errors import NotRunning, RefusedByMaster, TimedOut

__all__ = ["NotRunning", "RefusedByMaster", "TimedOut", "call", "stream"]

Reply = dict[str, Any]

_CHUNK: Final = 262_144
_RETRY: Final = 0.02  # seconds


def call(
    path: str | Path,
    command: str,
    args: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Reply:
    """Send a command and wait at most `timeout` seconds (None: no limit) for the result; rows become "rows" in it.

    Raises RefusedByMaster with the exit code and the sentence of the master, NotRunning, TimedOut.
    """
    rows: list[Reply] = []
    for reply in _replies(path, command, args or {}, timeout):
        if "progress" in reply:
            if on_progress is not None:
                on_progress(reply["progress"])
        elif "row" in reply:
            rows.append(reply["row"])
        else:
            result = dict(_result(reply) or {})
            return {**result, "rows": rows} if rows else result
    raise NotRunning("the master ended before it answered")


def stream(path: str | Path, command: str, args: Mapping[str, Any] | None = None) -> Iterator[Reply]:
    """Yield rows as they arrive, without a deadline, until the master ends the answer. Raises like `call`."""
    for reply in _replies(path, command, args or {}, None):
        if "row" in reply:
            yield reply["row"]
        elif "progress" not in reply:
            _result(reply)
            return
    raise NotRunning("the master ended")


def _result(reply: Reply) -> Reply | None:
    if not reply.get("ok"):
        raise RefusedByMaster(int(reply.get("exit", ExitCode.FAILED)), str(reply.get("error", "the command failed")))
    result: Reply | None = reply.get("result")
    return result


def _replies(path: str | Path, command: str, args: Mapping[str, Any], timeout: float | None) -> Iterator[Reply]:
    deadline = None if timeout is None else time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.settimeout(timeout)
            _connect(sock, str(path), deadline)
            sock.sendall(msgspec.json.encode({"command": command, "args": args}) + b"\n")
            yield from _lines(sock, deadline)
        except TimeoutError:
            raise TimedOut(f"the master did not answer within {timeout:g} s") from None
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(f"no master at {path}") from None
        except (ConnectionResetError, BrokenPipeError):
            raise NotRunning("the master ended before it answered") from None
        except PermissionError:
            raise RefusedByMaster(ExitCode.FAILED, f"{path}: only the owner of the socket may use it") from None


def _connect(sock: socket.socket, path: str, deadline: float | None) -> None:
    while True:
        try:
            sock.connect(path)
            return
        except BlockingIOError:  # the accept queue is full; on a unix socket connect does not wait for space
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError from None
            time.sleep(_RETRY)


def _lines(sock: socket.socket, deadline: float | None) -> Iterator[Reply]:
    received = bytearray()
    while True:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
        part = sock.recv(_CHUNK)
        if not part:
            return
        received += part
        if b"\n" in part:
            *lines, rest = received.split(b"\n")
            received = rest
            for line in lines:
                reply: Reply = msgspec.json.decode(line)
                yield reply
