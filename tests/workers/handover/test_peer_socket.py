"""The pair between two workers at its end: what was said before a death is read, and what cannot arrive is known."""

from __future__ import annotations

import asyncio
import os
import socket

from tests.support.wait import until_async
from workers.handover.peer_socket import PeerSocket


class End:
    """One end, and what it heard."""

    def __init__(self, sock: socket.socket) -> None:
        self.heard: list[bytes] = []
        self.fds: list[int] = []
        self.losses = 0
        self.link = PeerSocket(sock, on_packet=self._received, on_lost=self._lost)

    def _received(self, packet: bytes, fds: list[int]) -> None:
        self.heard.append(packet)
        self.fds += fds
        self.link.send(b"answer")  # to somebody who is dead by now

    def _lost(self) -> None:
        self.losses += 1


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


async def test_all_that_the_dead_had_said_is_read_though_it_had_not_read_everything() -> None:
    ours, theirs = pair()
    end = End(ours)
    ours.send(b"never read")  # so the kernel says "connection reset" first
    reader, writer = os.pipe()
    for number in range(10):
        socket.send_fds(theirs, [b"%d" % number], [reader])
    theirs.close()
    end.link.drain()
    assert end.heard == [b"%d" % number for number in range(10)]
    assert len(end.fds) == 10
    assert end.losses == 1
    for fd in [reader, writer, *end.fds]:
        os.close(fd)


async def test_what_the_other_side_cannot_get_any_more_is_known_and_what_the_kernel_took_is_too() -> None:
    ours, theirs = pair()
    end = End(ours)
    told: list[tuple[int, bool]] = []
    number = 0
    while end.link.idle:
        number += 1
        end.link.send(bytes(100_000), then=lambda sent, number=number: told.append((number, sent)))  # type: ignore[misc]
    assert told == [(one, True) for one in range(1, number)]
    theirs.close()
    await until_async(lambda: end.losses == 1, what="the loss is noticed")
    assert told[-1] == (number, False)
    end.link.send(b"too late", then=lambda sent: told.append((0, sent)))
    assert told[-1] == (0, False)
    end.link.close()
    await asyncio.sleep(0)
    assert end.losses == 1
