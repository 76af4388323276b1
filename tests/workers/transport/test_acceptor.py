"""A listening socket gives several connections a turn of the loop, and is left as it was."""

import asyncio
import gc
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.workers.transport.serving import until
from workers.transport.acceptor import A_TURN, Acceptor
from workers.transport.config import EndpointConfig


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as sock:
        sock.setblocking(False)
        yield sock


def sockets() -> int:
    """Sockets that this process has open."""
    links = []
    for one in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the directory's own, which is closed by now
            links.append(os.readlink(f"/proc/self/fd/{one}"))
    return sum(link.startswith("socket:") for link in links)


class Turns:
    """Counts the loop's turns, and in which of them connections came."""

    def __init__(self) -> None:
        self.now = 0
        self.came: list[int] = []
        self._loop = asyncio.get_running_loop()
        self._turn()

    def _turn(self) -> None:
        self.now += 1
        self._handle = self._loop.call_soon(self._turn)

    def make(self) -> asyncio.Protocol:
        self.came.append(self.now)
        return asyncio.Protocol()

    def stop(self) -> None:
        self._handle.cancel()


async def test_a_storm_takes_few_turns(listener: socket.socket) -> None:
    count = 4 * A_TURN
    turns = Turns()
    with ExitStack() as clients:
        for _ in range(count):
            clients.enter_context(socket.create_connection(listener.getsockname()))
        acceptor = await Acceptor.open(listener, turns.make, EndpointConfig())
        await until(lambda: len(turns.came) == count)
        turns.stop()
        acceptor.close()
        # One more than needed: the descriptors begin to be looked at one after the other.
        assert len(set(turns.came)) <= count // A_TURN + 1
    await asyncio.sleep(0)


async def test_a_lone_client_is_taken_once(listener: socket.socket) -> None:
    turns = Turns()
    acceptor = await Acceptor.open(listener, turns.make, EndpointConfig())
    for _ in range(3):
        turns.came.clear()
        with socket.create_connection(listener.getsockname()):
            await until(lambda: turns.came)
        assert len(turns.came) == 1
    turns.stop()
    acceptor.close()


async def test_an_acceptor_that_is_given_up_while_it_opens_leaves_nothing_open(listener: socket.socket) -> None:
    gc.collect()
    before = sockets()
    opening = asyncio.create_task(Acceptor.open(listener, asyncio.Protocol, EndpointConfig()))
    await asyncio.sleep(0)
    opening.cancel()
    if not isinstance((await asyncio.gather(opening, return_exceptions=True))[0], asyncio.CancelledError):
        opening.result().close()  # this loop opens acceptors within one turn
    await until(lambda: sockets() == before)
    with socket.create_connection(listener.getsockname()):
        listener.setblocking(True)
        listener.settimeout(5)
        listener.accept()[0].close()  # it is still its owner's
