"""The master's side of the control socket: reads requests, answers them, and limits the cost of a peer.

`chatmaster/cli/control_client.py` describes the wire format. The socket has mode 0600 in a directory of 0700: a peer
that can connect is the owner or root. Nothing waits for a peer: what a peer does not read is kept up to a limit in
bytes, then the connection is closed.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from chatmaster.addresses import MAX_UNIX_PATH
from chatmaster.contract import ExitCode
from chatmaster.errors import ChatmasterError
from chatmaster.runtime.event_loop import READ, WRITE, EventLoop

log = logging.getLogger(__name__)

MOST_PEERS: Final = 64
BACKLOG: Final = 1024  # further peers wait in the accept queue
MOST_REQUEST: Final = 262_144  # bytes
MOST_WAITING: Final = 16_777_216  # bytes of answers that a peer does not read
PATIENCE: Final = 10.0  # seconds for a peer to write its request


class ControlRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The request of a peer."""

    command: str
    args: dict[str, Any] = {}


_decode = msgspec.json.Decoder(ControlRequest).decode

CommandHandler = Callable[["ControlPeer", Mapping[str, Any]], None]


class ControlPeer:
    """One connection of a peer, with its one request."""

    def __init__(self, server: ControlServer, sock: socket.socket, *, asked: bool = False) -> None:
        """`asked`: the previous image has read the request."""
        self._server = server
        self._sock = sock
        self._received = bytearray()
        self._waiting = bytearray()
        self._asked = asked
        self._answered = False
        self._on_gone: list[Callable[[], None]] = []
        self._patience = server.loop.call_later(PATIENCE, self._too_slow)
        if asked:
            self._patience.cancel()
        server.loop.watch(sock.fileno(), READ, self._readable)

    # ---- answering ---------------------------------------------------------------------------------

    def progress(self, text: str) -> None:
        """Send a line for people about the progress."""
        self._send({"progress": text})

    def row(self, row: Mapping[str, Any]) -> None:
        """Send one row of a long answer."""
        self._send({"row": row})

    def done(self, result: Mapping[str, Any] | None = None) -> None:
        """Answer that the request succeeded, and close."""
        self._finish({"ok": True, "result": result or {}})

    def fail(self, exit_code: int, error: str) -> None:
        """Answer that the request failed, and why, and close."""
        self._finish({"ok": False, "exit": int(exit_code), "error": error})

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Call back if the peer closes before it is answered."""
        self._on_gone.append(callback)

    @property
    def open(self) -> bool:
        """True until the connection is closed."""
        return self._sock.fileno() >= 0

    def give_away(self) -> int | None:
        """Return a descriptor of the connection that survives an exec, for the next image to answer on."""
        if not self.open or self._waiting:
            return None
        fd = os.dup(self._sock.fileno())
        os.set_inheritable(fd, True)
        return fd

    @property
    def silent(self) -> bool:
        """True if no byte of a request has arrived."""
        return not self._asked and not self._received

    def fileno(self) -> int:
        """The connection's descriptor."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the connection."""
        if not self.open:
            return
        self._patience.cancel()
        self._server.loop.forget(self._sock.fileno())
        self._server.remove(self)
        self._sock.close()
        if not self._answered:
            for callback in self._on_gone:
                callback()

    # ---- reading and writing -----------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            part = self._sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if not part:
            self.close()
            return
        if self._asked:
            return  # one request a connection: the rest is not looked at
        self._received += part
        if len(self._received) > MOST_REQUEST:
            self.fail(ExitCode.USAGE, f"a request may have {MOST_REQUEST} bytes")
        elif b"\n" in part:
            self._asked = True
            self._patience.cancel()
            self._ask(bytes(self._received).split(b"\n", 1)[0])

    def _ask(self, line: bytes) -> None:
        try:
            request = _decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self.fail(ExitCode.USAGE, f"no request: {error}")
            return
        command = self._server.commands.get(request.command)
        if command is None:
            self.fail(ExitCode.USAGE, f"the master does not know the command {request.command!r}")
            return
        try:
            command(self, request.args)
        except ChatmasterError as error:
            self.fail(error.exit_code, str(error))
        except Exception as error:
            log.exception("a bug in the command %s", request.command)
            self.fail(ExitCode.FAILED, f"a bug in the master: {error!r}")

    def _too_slow(self) -> None:
        self.fail(ExitCode.TIMED_OUT, f"no request within {PATIENCE:g} s")

    def _finish(self, reply: Mapping[str, Any]) -> None:
        if self._answered:
            return
        self._answered = True
        self._send(reply)
        if self.open and not self._waiting:
            self.close()

    def _send(self, reply: Mapping[str, Any]) -> None:
        if not self.open:
            return
        data = msgspec.json.encode(reply) + b"\n"
        if len(self._waiting) + len(data) > MOST_WAITING:
            log.warning("a chatctl does not read its answer: its connection is closed")
            self.close()
            return
        self._waiting += data
        self._flush()

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._waiting)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._waiting[:sent]
        if self._waiting:
            self._server.loop.watch(self._sock.fileno(), READ | WRITE, self._ready)
        elif self._answered:
            self.close()
        else:
            self._server.loop.watch(self._sock.fileno(), READ, self._readable)

    def _ready(self) -> None:
        self._flush()
        if self.open:
            self._readable()


class ControlServer:
    """Listens on the control socket."""

    def __init__(
        self, loop: EventLoop, path: Path, commands: Mapping[str, CommandHandler], sock: socket.socket | None = None
    ) -> None:
        """Replaces a socket that is left over: only the holder of the pid file comes here. Raises ChatmasterError.

        `sock` listens there already: the previous image has left it.
        """
        self.loop = loop
        self.commands = commands
        self._path = path
        self._peers: set[ControlPeer] = set()
        self._sock = sock or _bind(path)
        self._listen()

    def fileno(self) -> int:
        """Return the listening descriptor."""
        return self._sock.fileno()

    def visitors(self) -> tuple[int, ...]:
        """Return the descriptors of peers that have not asked yet."""
        return tuple(peer.fileno() for peer in self._peers if peer.silent)

    def restore(self, visitors: Iterable[int]) -> None:
        """Go on with the previous image's connections that have not asked yet."""
        for fd in visitors:
            self.welcome(fd, asked=False)

    def welcome(self, fd: int, *, asked: bool) -> ControlPeer:
        """Go on with a connection of the previous image."""
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        peer = ControlPeer(self, sock, asked=asked)
        self._peers.add(peer)
        return peer

    def remove(self, peer: ControlPeer) -> None:
        """Forget a connection that was closed."""
        self._peers.discard(peer)
        self._listen()

    def close(self) -> None:
        """Close all connections and remove the socket."""
        for peer in list(self._peers):
            peer.close()
        self.loop.forget(self._sock.fileno())
        self._sock.close()
        self._path.unlink(missing_ok=True)

    def _listen(self) -> None:
        if self._sock.fileno() >= 0:
            self.loop.watch(self._sock.fileno(), READ, self._accept)

    def _accept(self) -> None:
        if len(self._peers) >= MOST_PEERS:
            self.loop.forget(self._sock.fileno())  # the rest waits in the accept queue
            return
        try:
            sock, _ = self._sock.accept()
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                log.warning("a connection of chatctl cannot be accepted yet: %s", error.strerror)
                self.loop.forget(self._sock.fileno())
                self.loop.call_later(1.0, self._listen)
            return
        sock.setblocking(False)
        self._peers.add(ControlPeer(self, sock))


def _bind(path: Path) -> socket.socket:
    length = len(os.fsencode(path))
    if length > MAX_UNIX_PATH:
        raise ChatmasterError(f"the control socket's path {path} has {length} bytes, allowed are {MAX_UNIX_PATH}")
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ChatmasterError(f"the control socket {path} cannot be made: {error.strerror}") from None
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock
