"""Children of a worker: they hold nothing of it, and end with it, however it ends."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.wait import until
from tests.support.ws import RawSocket

Make = Callable[..., Chatmaster]
PARENT = "tests/integration/programs/parent.py"


async def children_of(client: RawSocket) -> list[int]:
    client.send_text("children")
    pids = list(map(int, str(await client.read_message()).split()))
    assert len(set(pids)) >= 5 and all(map(processes.alive, pids))
    return pids


def sockets_shared(pids: list[int], worker: int) -> set[str]:
    """Sockets of the worker that one of its children has, too. What it talks to a child through is no such thing."""
    ours = {where for where in processes.descriptors(worker).values() if where.startswith("socket:")}
    mine = ours & {where for pid in pids for where in processes.descriptors(pid).values()}
    return mine & inet_and_named()


def inet_and_named() -> set[str]:
    """All sockets but pairs without a name, as /proc names them."""
    found = set()
    for table, column in (("tcp", 9), ("tcp6", 9)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            found.add(f"socket:[{line.split()[column]}]")
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 or fields[4] == "0005":  # with a path, or of packets
            found.add(f"socket:[{fields[6]}]")
    return found


async def test_children_hold_no_socket_of_their_worker_and_can_be_terminated(chatmaster: Make) -> None:
    server = chatmaster(PARENT, workers=1)
    async with await RawSocket.open(server.url) as client:
        pids = await children_of(client)
        (worker,) = server.pids
        assert inet_and_named() & set(processes.descriptors(worker).values())  # what the test looks for is there
        assert not sockets_shared(pids, worker)
        # None of them waits for the worker's events.
        epoll = [where for pid in pids[:4] for where in processes.descriptors(pid).values() if "eventpoll" in where]
        assert not epoll
        client.send_text("terminate")
        assert await client.read_message() == "terminated"
        client.send_text("echo")
        assert await client.read_message() == "echo"


async def test_after_a_crash_of_the_worker_clients_hear_of_it_and_the_children_are_gone(chatmaster: Make) -> None:
    server = chatmaster(PARENT, workers=1)
    async with await RawSocket.open(server.url) as client:
        pids = await children_of(client)
        os.kill(server.pids[0], signal.SIGKILL)
        assert (await client.wait_closed(timeout=5)).code == 1006
        until(lambda: not any(map(processes.alive, pids)), what="the children are gone")
    async with await RawSocket.open(server.url) as client:
        await children_of(client)  # as well in the one that has taken its place


async def test_a_reload_and_a_stop_end_the_children_and_free_the_port(chatmaster: Make) -> None:
    server = chatmaster(PARENT, workers=1)
    async with await RawSocket.open(server.url) as client:
        first = await children_of(client)
        assert server.ctl("reload").returncode == 0
        until(lambda: not any(map(processes.alive, first)), what="the old worker's children are gone")
        client.send_text("echo")
        assert await client.read_message() == "echo"  # it moved
        second = await children_of(client)
        assert server.stop() == 0
        assert not any(map(processes.alive, second))
    with socket.create_server(("127.0.0.1", server.port)):
        """Nobody is there any more."""


async def test_with_the_master_killed_the_pool_ends_and_nobody_keeps_the_port(chatmaster: Make) -> None:
    server = chatmaster(PARENT, workers=1)
    async with await RawSocket.open(server.url) as client:
        pids = await children_of(client)
        below = processes.tree(server.pid)
        try:
            server.kill()
            assert (await client.wait_closed(timeout=5)).code == 1006
            until(lambda: not any(map(processes.alive, pids[:3])), what="the pool is gone")
            until(lambda: can_listen(server.port), what="the port is free")
        finally:
            processes.end(pid for pid in {*below, *pids} if processes.alive(pid))


def can_listen(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
