"""One end of the pair between two workers: packets and descriptors, in order, never waiting."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from workers.handover.protocol import MAX_BATCH, MAX_PACKET

_INT = array.array("i").itemsize
_A_TURN = 4  # packets read before others get their turn


class PeerLink:
    """A SOCK_SEQPACKET socket on the loop. `received` gets each packet with its descriptors, `lost` the end."""

    def __init__(
        self, sock: socket.socket, *, received: Callable[[bytes, list[int]], None], lost: Callable[[], None]
    ) -> None:
        self._sock = sock
        self._received = received
        self._lost = lost
        self._waiting: deque[tuple[bytes, Sequence[int]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._open = True
        sock.setblocking(False)
        # A batch has to fit whole; the default buffer (net.core.wmem_default, 208 KiB) would hold one at most.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_PACKET)
        self._loop.add_reader(sock.fileno(), self._readable)

    def send(self, packet: bytes, fds: Sequence[int] = ()) -> None:
        """Send now, or as soon as the other side takes it; copies of the descriptors wait with it."""
        if not self._open:
            return
        if self._waiting or not self._try(packet, fds):
            if not self._waiting:
                self._loop.add_writer(self._sock.fileno(), self._writable)
            self._waiting.append((packet, [os.dup(fd) for fd in fds]))

    @property
    def idle(self) -> bool:
        """Whether everything was sent."""
        return not self._waiting

    def drain(self) -> None:
        """Read all that the pair still holds; for when the other side is known to be dead."""
        if self._open:
            self._read(most=None)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
            for _, copies in self._waiting:
                _close(copies)
            self._waiting.clear()

    def _try(self, packet: bytes, fds: Sequence[int]) -> bool:
        try:
            if fds:
                socket.send_fds(self._sock, [packet], list(fds))
            else:
                self._sock.send(packet)
        except BlockingIOError:
            return False
        except OSError:
            self._gone()
        return True

    def _writable(self) -> None:
        while self._waiting and self._try(*self._waiting[0]):
            if self._waiting:
                _close(self._waiting.popleft()[1])
        if self._open and not self._waiting:
            self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        self._read(most=_A_TURN)

    def _read(self, most: int | None) -> None:
        done = 0
        while self._open and done != most:
            done += 1
            try:
                packet, ancillary, _, _ = self._sock.recvmsg(
                    MAX_PACKET, socket.CMSG_SPACE(MAX_BATCH * _INT), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError:
                packet, ancillary = b"", []
            if not packet:
                self._gone()
                return
            self._received(packet, _descriptors(ancillary))

    def _gone(self) -> None:
        """The other end is closed. That is no proof of a death: only the master's word is."""
        if self._open:
            self.close()
            self._lost()


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    # What did not fit into our table of descriptors was cut off by the kernel; those that came are the first.
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % _INT])
    return list(found)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
