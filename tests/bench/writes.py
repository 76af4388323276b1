"""`python -m tests.bench.writes`: what one write to each member of a room costs, by whose transport.

One process writes the same 200 bytes to every connection, in turns by uvloop's transport, by the server's own
(`workers/transport/socket_transport.py`) and by `send` alone; another process on another core reads. Told is the
writer's CPU for each write: the median of the rounds, and the lowest.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from socket import SocketType
from typing import cast

import click
import uvloop

from tests.bench import run
from workers.transport.poller import SocketPoller
from workers.transport.socket_transport import SocketTransport, write_to_all

DATA = b"x" * 200
PAUSE = 0.004  # seconds between two rounds, in which the reader catches up


class Connections(asyncio.Protocol):
    """Collects the transports that uvloop makes."""

    def __init__(self, found: list[asyncio.Transport]) -> None:
        self._found = found

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._found.append(cast(asyncio.Transport, transport))


def read(port: int, count: int) -> None:
    """Be the other end: connect so often, and read until the writer closes."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    by_descriptor = {sock.fileno(): sock for sock in sockets}
    with select.epoll() as epoll:
        for descriptor in by_descriptor:
            epoll.register(descriptor, select.EPOLLIN)
        while True:
            for descriptor, _ in epoll.poll():
                if not by_descriptor[descriptor].recv(65536):
                    return


@asynccontextmanager
async def connected(members: int) -> AsyncIterator[list[asyncio.Transport]]:
    """So many connections to a reader in another process, as uvloop's transports."""
    found: list[asyncio.Transport] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connections(found), "127.0.0.1", 0, backlog=4096)
    port = str(server.sockets[0].getsockname()[1])
    with subprocess.Popen([sys.executable, "-m", "tests.bench.writes", "--read", port, str(members)]) as reader:
        try:
            while len(found) < members:
                if reader.poll() is not None:
                    raise RuntimeError("the reader could not connect")
                await asyncio.sleep(0.01)
            yield found
        finally:
            reader.kill()
            server.close()
            for transport in found:
                transport.abort()
            await asyncio.sleep(0)


def by(transports: Sequence[asyncio.Transport]) -> Callable[[], None]:
    """Write once to each of the transports."""

    def write() -> None:
        for transport in transports:
            transport.write(DATA)

    return write


def alone(sockets: Sequence[SocketType]) -> Callable[[], None]:
    """Write once to each of the sockets, by nobody's transport."""
    sends = [sock.send for sock in sockets]

    def write() -> None:
        for send in sends:
            send(DATA)

    return write


async def measure(members: int, rounds: int) -> dict[str, list[float]]:
    """The writer's CPU, in µs a write, of every round."""
    async with connected(members) as theirs:
        sockets = [SocketType(-1, -1, -1, one.get_extra_info("socket").fileno()) for one in theirs]
        poller = SocketPoller()
        ours = [SocketTransport(poller, sock.fileno(), asyncio.Protocol()) for sock in sockets]
        ways = {
            "uvloop": by(theirs),
            "chatmaster": lambda: write_to_all(ours, DATA),
            "send alone": alone(sockets),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        try:
            for _ in range(rounds):
                for name, write in ways.items():
                    await asyncio.sleep(PAUSE)
                    began = time.process_time()
                    write()
                    for _ in range(2):  # uvloop writes at the end of the turn
                        await asyncio.sleep(0)
                    found[name].append((time.process_time() - began) * 1e6 / members)
        finally:
            for sock in [*sockets, *ours]:
                sock.detach()  # the descriptors are uvloop's
    return found


@click.command()
@click.option("--members", default=1000, show_default=True)
@click.option("--rounds", default=300, show_default=True, help="Of one write to each member by each way.")
@click.option("--read", "reading", type=int, nargs=2, hidden=True)
def main(members: int, rounds: int, reading: tuple[int, int] | None) -> None:
    """Compare what a write costs by uvloop's transport, by the server's own, and by `send` alone."""
    on, beside = run.cores()
    os.sched_setaffinity(0, beside if reading else on)
    if reading:
        read(*reading)
        return
    for name, values in uvloop.run(measure(members, rounds)).items():
        click.echo(f"{name:12} {statistics.median(values):6.2f} µs a write   lowest {min(values):6.2f}")


if __name__ == "__main__":
    main()
