"""SocketTransport: a client's socket, written to at once and read when the endpoint's poller says so.

It is an `asyncio.Transport` for every protocol of the endpoint, by what it does; like uvloop's, it does not derive from
that class. TLS is left to the event loop's own transport. Two things are cheaper than in uvloop's: a write is one
`send`, without a queue that is worked off at the end of the turn (`python -m tests.bench.writes`), and an idle
connection takes 0.7 KiB less (`python -m tests.bench idle`).

The transport is the socket itself, an object of the C type with a few slots more. A fan-out touches each member's
objects once, after the kernel has emptied the caches: a second object takes 3 % of a write.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from select import EPOLLIN, EPOLLOUT
from socket import SHUT_WR, SocketType
from typing import Any, Final, Protocol

from workers.transport.poller import SocketPoller

log = logging.getLogger(__name__)

READ_SIZE: Final = 64 * 1024  # bytes that one read takes at most
HIGH_WATER: Final = 64 * 1024  # bytes that may wait before the protocol is told; asyncio's own default
PARTS: Final = 64  # waiting writes that one system call takes along; the kernel takes 1,024 at most

_ASK: Final = (-1, -1, -1)  # the kernel what kind of socket a descriptor is

_OPEN: Final = 0
_CLOSING: Final = 1  # what waits is still sent
_LOST: Final = 2  # the protocol is told, in the next turn at the latest

Data = bytes | bytearray | memoryview


class Writable(Protocol):
    """The part of asyncio's transport that writes."""

    def write(self, data: bytes) -> None: ...


class _Unsent:
    """What the kernel has not taken yet."""

    __slots__ = ("parts", "paused", "size")

    def __init__(self) -> None:
        self.parts: deque[bytes | memoryview] = deque()
        self.size = 0
        self.paused = False  # the protocol was told to pause

    def add(self, data: Data, begin: int) -> None:
        """Keep what comes after `begin`; the bytes of one message to many readers are kept once."""
        part = bytes(data)
        if len(part) == begin:
            return  # a system call that takes only empty parts takes nothing, again and again
        self.parts.append(memoryview(part)[begin:] if begin else part)
        self.size += len(part) - begin

    def take(self, sent: int) -> None:
        """Forget what the kernel has taken."""
        self.size -= sent
        parts = self.parts
        while sent:
            first = parts[0]
            if sent < len(first):
                parts[0] = memoryview(first)[sent:]
                return
            sent -= len(first)
            parts.popleft()


class SocketTransport(SocketType):
    """One connected socket, which closes as a transport does. `resume_reading` begins to read."""

    __slots__ = (
        "_events",
        "_high",
        "_low",
        "_phase",
        "_poller",
        "_protocol",
        "_shut",
        "_waiting",
        "free",
    )

    def __init__(
        self,
        poller: SocketPoller,
        descriptor: int,
        protocol: asyncio.BaseProtocol | None = None,
        kind: tuple[int, int, int] = _ASK,
    ) -> None:
        """`descriptor` is the caller's until the transport is made. `kind`: family, type and protocol of the socket.

        Raises OSError where the descriptor is not that of a socket.
        """
        super().__init__(*kind, descriptor)
        self.setblocking(False)
        self._poller = poller
        self._protocol: Any = protocol  # asyncio calls it a BaseProtocol, which has nothing to receive
        self._phase = _OPEN
        self._events = 0  # that the poller watches for: while the transport reads, EPOLLIN is among them
        self._shut = False  # nothing more is written; the peer is told when what waits is sent
        self._waiting: _Unsent | None = None  # nearly always None
        self._high = HIGH_WATER
        self._low = HIGH_WATER // 4
        self.free = True  # what is written now can go to the kernel at once: open, not shut, and nothing waits

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The "socket", its "peername" or "sockname"; `default` for anything else, and where the socket is dead."""
        if name == "socket":
            return self
        try:
            if name == "peername":
                return self.getpeername()
            if name == "sockname":
                return self.getsockname()
        except OSError:
            return default
        return default

    def get_protocol(self) -> asyncio.BaseProtocol:
        """What is told of the connection."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol go on with the connection."""
        self._protocol = protocol

    def on_ready(self, events: int) -> None:
        """Read, write, or both; an error of the socket is found by doing so."""
        if self._events & EPOLLIN and events != EPOLLOUT:
            self._read()
        if self._waiting is not None and events != EPOLLIN:
            self._write_waiting()

    def _watch(self, *, reading: bool) -> None:
        """Have the poller watch for what is wanted now."""
        events = EPOLLIN if reading else 0
        if self._waiting is not None:
            events |= EPOLLOUT
        if events == self._events:
            return
        if not self._events:
            self._poller.watch(self.fileno(), events, self)
        elif events:
            self._poller.change(self.fileno(), events)
        else:
            self._poller.forget(self.fileno())
        self._events = events

    # ---- reading -----------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether what comes is given to the protocol."""
        return bool(self._events & EPOLLIN)

    def pause_reading(self) -> None:
        """Leave what comes in the socket."""
        self._watch(reading=False)

    def resume_reading(self) -> None:
        """Give what comes to the protocol, from the next turn on; nothing after `close`.

        Where the system watches no more sockets (`fs.epoll.max_user_watches`) the connection is over.
        """
        try:
            self.begin_reading()
        except OSError as error:
            self._lose(error)

    def begin_reading(self) -> None:
        """As `resume_reading`, for who accepts. Raises OSError where the system watches no more sockets."""
        if self._phase == _OPEN:
            self._watch(reading=True)

    def _read(self) -> None:
        try:
            data = self.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        try:
            if data:
                self._protocol.data_received(data)
            elif self._protocol.eof_received():
                self.pause_reading()  # the protocol keeps its side open
            else:
                self.close()
        except Exception as error:
            self._fail(error, "a protocol failed on what came")

    # ---- writing -----------------------------------------------------------------------------------

    def write(self, data: Data) -> None:
        """Send now what the kernel takes, and the rest when it takes more.

        Nothing is sent after `close`, `write_eof` or an error; a writer learns of that as its protocol does.
        """
        if not self.free:
            if self._waiting is not None and not self._shut and self._phase == _OPEN:
                self._keep(data, 0)
            return
        try:
            sent = self.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._lose(error)
            return
        if sent < len(data):
            self.wait(data, sent)

    def writelines(self, parts: Iterable[Data]) -> None:
        """Write the parts as one."""
        self.write(b"".join(parts))

    def wait(self, data: Data, begin: int) -> None:
        """Send what comes after `begin`, which the kernel has not taken, when it takes more."""
        self.free = False
        self._waiting = _Unsent()
        self._keep(data, begin)

    def _keep(self, data: Data, begin: int) -> None:
        waiting = self._waiting
        assert waiting is not None
        waiting.add(data, begin)
        try:
            self._watch(reading=self.is_reading())
        except OSError as error:  # the system watches no more sockets
            self._lose(error)
            return
        if waiting.size > self._high and not waiting.paused:
            waiting.paused = True
            self._tell(self._protocol.pause_writing)

    def _write_waiting(self) -> None:
        waiting = self._waiting
        assert waiting is not None
        parts = list(waiting.parts) if len(waiting.parts) <= PARTS else [waiting.parts[at] for at in range(PARTS)]
        try:
            sent = self.sendmsg(parts)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        waiting.take(sent)
        if not waiting.size:
            self._drained()
        if waiting.paused and waiting.size <= self._low and self._phase != _LOST:
            waiting.paused = False
            self._tell(self._protocol.resume_writing)

    def _drained(self) -> None:
        """Everything is sent."""
        self._waiting = None
        self.free = self._phase == _OPEN and not self._shut
        self._watch(reading=self.is_reading())
        if self._phase == _CLOSING:
            self._lose(None)
        elif self._shut:
            self._shut_down()

    def _tell(self, callback: Any) -> None:
        try:
            callback()
        except Exception as error:
            self._fail(error, "a protocol failed when its buffer filled or emptied")

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._waiting.size if self._waiting is not None else 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The low-water and the high-water mark, in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the protocol is told that its peer takes too little, and takes it again. See asyncio."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high}) must be at least low ({low}), and low at least 0")
        self._high, self._low = high, low

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Shut this side once everything is sent; the other side can still be read."""
        if self._phase == _OPEN and not self._shut:
            self._shut = True
            self.free = False
            if self._waiting is None:
                self._shut_down()

    def _shut_down(self) -> None:
        try:
            self.shutdown(SHUT_WR)
        except OSError as error:
            self._lose(error)

    # ---- the end -----------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether `close`, `abort` or an error has ended the connection."""
        return self._phase != _OPEN

    def close(self) -> None:
        """Read no more, send what waits, and close the socket."""
        if self._phase == _OPEN:
            self._phase = _CLOSING
            self.free = False
            if self._waiting is None:
                self._lose(None)
            else:
                self._watch(reading=False)

    def abort(self) -> None:
        """Close the socket at once, whatever waits."""
        self._lose(None)

    def _fail(self, error: Exception, what: str) -> None:
        context = {"message": what, "exception": error, "transport": self, "protocol": self._protocol}
        self._poller.loop.call_exception_handler(context)
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        """The connection is over; the protocol is told in the next turn, once."""
        if self._phase == _LOST:
            return
        self._phase = _LOST
        self.free = False
        self._waiting = None
        self._watch(reading=False)
        self._poller.loop.call_soon(self._end, error)

    def _end(self, error: Exception | None) -> None:
        protocol, self._protocol = self._protocol, None
        try:
            protocol.connection_lost(error)
        finally:
            SocketType.close(self)


def write_to_all(transports: Iterable[Writable], data: bytes) -> None:
    """Write the same bytes to each transport, of whatever class. One that is closed gets nothing.

    This is `SocketTransport.write` without a call for each of them, which takes 3 % of a write.
    """
    size = len(data)
    for transport in transports:
        try:
            if type(transport) is SocketTransport and transport.free:
                sent = transport.send(data)
                if sent < size:
                    transport.wait(data, sent)
                continue
        except OSError:
            pass  # `write` finds the same error, and handles it
        try:
            transport.write(data)
        except RuntimeError:
            log.debug("the transport of a member was closed between two writes")
