"""PeerSocket: one end of the pair between two workers. Packets and descriptors, in order, without blocking."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from workers.handover.protocol import MAX_BATCH, MAX_PACKET

_INT = array.array("i").itemsize
_A_TURN = 4  # packets read in one turn of the loop

Then = Callable[[bool], None]


class PeerSocket:
    """A SOCK_SEQPACKET socket on the loop. `on_packet` gets each packet with its descriptors.

    `on_lost` is called once, when the other end is closed. That does not prove that the other worker is dead: only the
    master knows. Packets sent before can still be read then.
    """

    def __init__(
        self, sock: socket.socket, *, on_packet: Callable[[bytes, list[int]], None], on_lost: Callable[[], None]
    ) -> None:
        self._sock = sock
        self._on_packet = on_packet
        self._on_lost = on_lost
        self._waiting: deque[tuple[bytes, Sequence[int], Then | None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._broken = False  # the other end does not read any more
        sock.setblocking(False)
        # The buffer has to hold whole batches; the default (net.core.wmem_default, 208 KiB) would hold one at most.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_PACKET)
        self._loop.add_reader(sock.fileno(), self._readable)

    def send(self, packet: bytes, fds: Sequence[int] = (), *, then: Then | None = None) -> None:
        """Send now, or as soon as the socket's buffer has room; copies of the descriptors wait with the packet.

        `then` gets whether the kernel took the packet: after False, the other side certainly never reads it.
        """
        if not self._open or self._broken:
            _notify(then, sent=False)
        elif self._waiting or not self._try(packet, fds, then):
            if not self._waiting:
                self._loop.add_writer(self._sock.fileno(), self._writable)
            self._waiting.append((packet, [os.dup(fd) for fd in fds], then))

    @property
    def idle(self) -> bool:
        """Whether all packets were sent."""
        return not self._waiting

    def drain(self) -> None:
        """Read all that the pair still holds, once the other side is known to be dead."""
        if self._open:
            self._read(most=None)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._give_up_sending()
            self._sock.close()

    def _try(self, packet: bytes, fds: Sequence[int], then: Then | None) -> bool:
        """Send a packet; False where it has to wait."""
        try:
            if fds:
                socket.send_fds(self._sock, [packet], list(fds))
            else:
                self._sock.send(packet)
        except BlockingIOError:
            return False
        except OSError:
            _notify(then, sent=False)
            self._broke()
            return True
        _notify(then, sent=True)
        return True

    def _writable(self) -> None:
        while self._waiting and not self._broken:
            packet, copies, then = self._waiting[0]
            if not self._try(packet, copies, then):
                return
            if self._waiting and self._waiting[0][1] is copies:
                self._waiting.popleft()
                _close(copies)
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
            except ConnectionResetError:
                # The other side died before it read all packets. Linux reports that once, before what it had sent.
                continue
            except OSError:
                packet, ancillary = b"", []
            if not packet:
                self._broke()
                self.close()
                return
            self._on_packet(packet, _descriptors(ancillary))

    def _broke(self) -> None:
        """The other end is closed; what it sent before may still be read."""
        if self._open and not self._broken:
            self._broken = True
            self._give_up_sending()
            self._on_lost()

    def _give_up_sending(self) -> None:
        self._loop.remove_writer(self._sock.fileno())
        waiting, self._waiting = self._waiting, deque()
        for _, copies, then in waiting:
            _close(copies)
            _notify(then, sent=False)


def _notify(then: Then | None, *, sent: bool) -> None:
    if then is not None:
        then(sent)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    # The kernel cuts off descriptors that do not fit into this process's table; the first ones arrive.
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % _INT])
    return list(found)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
