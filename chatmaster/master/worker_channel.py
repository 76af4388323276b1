"""The master's end of the channel to one worker: packets in both directions, non-blocking, bounded in bytes."""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from chatmaster import contract
from chatmaster.runtime.event_loop import READ, WRITE, EventLoop

log = logging.getLogger(__name__)

MOST_WAITING: Final = 1_048_576  # bytes; a worker that reads none of them is stopped or hung
PACKETS_A_TURN: Final = 64  # so that one worker with many messages leaves time for the others

Receive = Callable[[contract.FromWorker], None]


class Channel:
    """Sends messages to one worker and passes on the messages of the worker."""

    def __init__(self, loop: EventLoop, sock: socket.socket, receive: Receive) -> None:
        """`sock` is the master's end of a SOCK_SEQPACKET pair; the channel owns it."""
        self._loop = loop
        self._sock = sock
        self._receive = receive
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self._bytes = 0
        sock.setblocking(False)
        loop.watch(sock.fileno(), READ, self._readable)

    def send(self, message: contract.ToWorker, descriptors: Sequence[int] = ()) -> bool:
        """Send now or when the worker reads; False: the queue is full, the message too large, or the worker gone.

        Descriptors are duplicated while they wait.
        """
        packet = contract.encode(message)
        if self._sock.fileno() < 0 or self._bytes + len(packet) > MOST_WAITING or len(packet) > contract.MAX_PACKET:
            return False
        if not self._waiting and self._try(packet, descriptors):
            return True
        self._waiting.append((packet, [os.dup(fd) for fd in descriptors]))
        self._bytes += len(packet)
        self._loop.watch(self._sock.fileno(), READ | WRITE, self._ready)
        return True

    def snapshot(self) -> tuple[int, list[tuple[bytes, list[int]]]]:
        """Return the socket and the packets that wait, each with its descriptors."""
        return self._sock.fileno(), list(self._waiting)

    def restore(self, packets: Sequence[tuple[bytes, list[int]]]) -> None:
        """Send the packets that waited in the previous image."""
        self._waiting.extend(packets)
        self._bytes += sum(len(packet) for packet, _ in packets)
        if self._waiting:
            self._loop.watch(self._sock.fileno(), READ | WRITE, self._ready)

    def read_rest(self) -> None:
        """Pass on all messages that the worker sent before it died."""
        while self._sock.fileno() >= 0 and self._read_one():
            pass

    def close(self) -> None:
        """Close the socket and drop the packets that wait."""
        if self._sock.fileno() >= 0:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
        while self._waiting:
            self._close_all(self._waiting.popleft()[1])

    def _ready(self) -> None:
        self._readable()
        if self._sock.fileno() >= 0:
            self._writable()

    def _readable(self) -> None:
        for _ in range(PACKETS_A_TURN):
            if self._sock.fileno() < 0 or not self._read_one():
                return

    def _read_one(self) -> bool:
        """Read one packet; return True if there may be more."""
        try:
            packet, _, flags, _ = self._sock.recvmsg(contract.MAX_PACKET)
        except BlockingIOError:
            return False
        except OSError:
            packet, flags = b"", 0
        if not packet:
            # The other end is closed: the process is dying, and SIGCHLD follows.
            self._loop.forget(self._sock.fileno())
            return False
        if flags & socket.MSG_TRUNC:
            log.error("a worker's packet has more than %d bytes and is lost", contract.MAX_PACKET)
            return True
        try:
            message = contract.decode_from_worker(packet)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            log.error("a message of a worker cannot be decoded: %s", error)
            return True
        self._receive(message)
        return True

    def _writable(self) -> None:
        while self._waiting:
            packet, descriptors = self._waiting[0]
            if not self._try(packet, descriptors):
                return
            self._waiting.popleft()
            self._bytes -= len(packet)
            self._close_all(descriptors)
        self._loop.watch(self._sock.fileno(), READ, self._readable)

    def _try(self, packet: bytes, descriptors: Sequence[int]) -> bool:
        try:
            if descriptors:
                socket.send_fds(self._sock, [packet], list(descriptors))
            else:
                self._sock.send(packet)
        except BlockingIOError:
            return False
        except OSError:
            pass  # it is dying, and SIGCHLD follows
        return True

    @staticmethod
    def _close_all(descriptors: Sequence[int]) -> None:
        for fd in descriptors:
            os.close(fd)
