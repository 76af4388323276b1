"""A listening socket gives several connections a turn of the loop, and is left as it was."""

import asyncio
import errno
import gc
import logging
import os
import resource
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.workers.transport.serving import until
from workers.transport import acceptor as module
from workers.transport.acceptor import A_TURN, Acceptor, PlainAcceptor, TlsAcceptor
from workers.transport.config import EndpointConfig
from workers.transport.poller import SocketPoller

Make = Callable[[], asyncio.Protocol]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as sock:
        yield sock


async def opened(kind: str, listener: socket.socket, make: Make) -> Acceptor:
    if kind == "plain":
        return PlainAcceptor(listener, lambda address: make(), SocketPoller())
    # Without a certificate no handshake ends well, but that comes after the accept.
    return await TlsAcceptor.open(listener, make, EndpointConfig(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


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


async def test_the_address_of_a_client_that_has_gone_is_known(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname()) as client:
        expected = client.getsockname()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset by `close`
    came: list[object] = []

    def make(address: object) -> asyncio.Protocol:
        came.append(address)
        return asyncio.Protocol()

    acceptor = PlainAcceptor(listener, make, SocketPoller())
    try:
        await until(lambda: came)
    finally:
        acceptor.close()
    assert came == [expected]


@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_a_storm_takes_few_turns(kind: str, listener: socket.socket) -> None:
    count = 4 * A_TURN
    turns = Turns()
    before = sockets()
    with ExitStack() as clients:
        for _ in range(count):
            clients.enter_context(socket.create_connection(listener.getsockname()))
        acceptor = await opened(kind, listener, turns.make)
        await until(lambda: len(turns.came) == count)
        turns.stop()
        acceptor.close()
        # One more than needed: the descriptors of TLS begin to be looked at one after the other.
        assert len(set(turns.came)) <= count // A_TURN + 1
        assert kind == "tls" or max(turns.came.count(turn) for turn in turns.came) <= A_TURN
    await until(lambda: sockets() == before)


async def test_a_held_poller_takes_a_storm_in_at_once(listener: socket.socket) -> None:
    count, poller, came = 4 * A_TURN, SocketPoller(), []

    def make(address: object) -> asyncio.Protocol:
        came.append(address)
        return asyncio.Protocol()

    before = sockets()
    acceptor = PlainAcceptor(listener, make, poller)
    with ExitStack() as clients:
        poller.hold()
        for _ in range(count):
            clients.enter_context(socket.create_connection(listener.getsockname()))
        poller.take()
        assert len(came) == count
        poller.release()
    acceptor.close()
    await until(lambda: sockets() <= before)


@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_a_lone_client_is_taken_once(kind: str, listener: socket.socket) -> None:
    turns = Turns()
    acceptor = await opened(kind, listener, turns.make)
    for _ in range(3):
        turns.came.clear()
        with socket.create_connection(listener.getsockname()):
            await until(lambda: turns.came)
        assert len(turns.came) == 1
    turns.stop()
    acceptor.close()


@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_a_closed_acceptor_leaves_the_listener_to_its_owner(kind: str, listener: socket.socket) -> None:
    turns = Turns()
    before = sockets()
    acceptor = await opened(kind, listener, turns.make)
    acceptor.close()
    await until(lambda: sockets() == before)
    with socket.create_connection(listener.getsockname()):
        for _ in range(5):
            await asyncio.sleep(0)
        turns.stop()
        assert not turns.came
        listener.setblocking(True)
        listener.settimeout(5)
        listener.accept()[0].close()


async def test_an_acceptor_that_is_given_up_while_it_opens_leaves_nothing_open(listener: socket.socket) -> None:
    gc.collect()
    before = sockets()
    opening = asyncio.create_task(opened("tls", listener, asyncio.Protocol))
    await asyncio.sleep(0)
    opening.cancel()
    if not isinstance((await asyncio.gather(opening, return_exceptions=True))[0], asyncio.CancelledError):
        opening.result().close()  # this loop opens acceptors within one turn
    await until(lambda: sockets() == before)


async def test_without_descriptors_it_rests_and_goes_on(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "REST", 0.05)
    turns = Turns()
    acceptor = PlainAcceptor(listener, lambda address: turns.make(), SocketPoller())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(listener.getsockname()):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
        held: list[int] = []

        def rested_twice() -> bool:
            with suppress(OSError):
                while True:  # also what becomes free while the acceptor rests
                    held.append(os.dup(0))
            return len(caplog.records) >= 3

        try:
            with caplog.at_level(logging.ERROR):
                await until(rested_twice)
            assert os.strerror(errno.EMFILE) in caplog.text
            assert not turns.came
        finally:
            for descriptor in held:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(lambda: len(turns.came) == 1)
    turns.stop()
    acceptor.close()
