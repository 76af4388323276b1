"""The worker's end of the channel to the master: packets in, packets out, never waiting.

Losing the master's end means that the master is gone: the worker ends, as the kernel's own signal would have it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections import deque
from collections.abc import Callable

from chatmaster import contract

logger = logging.getLogger(__name__)

MAX_DESCRIPTORS = 8
MAX_WAITING = 4096  # packets; if so many wait, the master is stopped, and answers may be dropped
MOST_REASON = 4_000  # characters of up to four bytes each
MOST_TRACEBACK = 10_000
_MASTER_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EBADF)

Receive = Callable[[contract.ToWorker, list[int]], None]


class MasterChannel:
    """Both directions of one SOCK_SEQPACKET socket on the loop."""

    def __init__(self, sock: socket.socket, *, receive: Receive, lost: Callable[[], None]) -> None:
        self._sock = sock
        self._receive = receive
        self._lost = lost
        self._waiting: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    def send(self, message: contract.FromWorker) -> None:
        """Send a packet now, or as soon as the master reads."""
        packet = _encoded(message)
        if len(packet) > contract.MAX_PACKET:
            # A bug of the sender: the kernel refuses the packet, or the master would receive a truncated one.
            logger.error("%s has %d bytes, more than a packet holds: dropped", type(message).__name__, len(packet))
            return
        if self._waiting or not self._try(packet):
            if len(self._waiting) >= MAX_WAITING:
                logger.error("the master takes no packets: %s dropped", type(message).__name__)
                return
            if not self._waiting:
                self._loop.add_writer(self._sock.fileno(), self._writable)
            self._waiting.append(packet)

    def takes(self, packets: int) -> bool:
        """Return whether `packets` more packets can be sent or queued without being dropped."""
        return len(self._waiting) + packets <= MAX_WAITING // 2  # the other half is kept for more important packets

    def close(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())

    def _try(self, packet: bytes) -> bool:
        try:
            self._sock.send(packet)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _MASTER_GONE:
                self._gone()
            else:
                logger.error("a packet for the master is lost: %s", error.strerror)
        return True

    def _writable(self) -> None:
        while self._waiting and self._try(self._waiting[0]):
            self._waiting.popleft()
        if not self._waiting:
            self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        while True:
            try:
                packet, fds, _, _ = socket.recv_fds(self._sock, contract.MAX_PACKET, MAX_DESCRIPTORS)
            except BlockingIOError:
                return
            except OSError:
                packet, fds = b"", []
            if not packet:
                self._gone()
                return
            for fd in fds:  # `recv_fds` makes descriptors inheritable whatever its flags
                os.set_inheritable(fd, False)
            self._receive(contract.decode_to_worker(packet), fds)

    def _gone(self) -> None:
        self.close()
        self._lost()


def send_blocking(sock: socket.socket, message: contract.FromWorker) -> None:
    """Send one packet from a process that has no loop (a probe, or a worker that cannot start)."""
    sock.setblocking(True)
    sock.settimeout(5.0)
    sock.send(_encoded(message))


def _encoded(message: contract.FromWorker) -> bytes:
    """Encode a packet; a very long traceback keeps its end only."""
    packet = contract.encode(message)
    if len(packet) > contract.MAX_PACKET and isinstance(message, contract.Failed):
        reason, trace = message.reason[:MOST_REASON], message.traceback[-MOST_TRACEBACK:]
        packet = contract.encode(contract.Failed(message.exit_code, reason, trace))
    return packet
