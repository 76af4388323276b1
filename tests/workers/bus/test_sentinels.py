"""Real sentinels that disagree about the master."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from chatmaster.runtime.fork import die_with_parent
from chatmaster.store.binary import find_program
from tests.support import processes
from tests.support.store import RedisServer
from tests.support.wait import until
from workers.bus.connection import StoreConnection
from workers.bus.port import Unavailable
from workers.bus.store_url import Opener

# Makes a sentinel for a master, which has heard of so many failovers; returns its port.
MakeSentinel = Callable[[RedisServer, int], int]


@pytest.fixture
def make_sentinel(tmp_path: Path) -> Iterator[MakeSentinel]:
    started: list[subprocess.Popen[bytes]] = []

    def make(store: RedisServer, epoch: int) -> int:
        port = processes.free_port()
        file = tmp_path / f"sentinel{port}.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nprotected-mode no\n"
            f"sentinel monitor chat 127.0.0.1 {store.port} 1\nsentinel down-after-milliseconds chat 500\n"
            f"sentinel failover-timeout chat 600000\nsentinel config-epoch chat {epoch}\n"
        )
        parent = os.getpid()
        started.append(
            subprocess.Popen(
                [str(find_program().path), str(file), "--sentinel"],
                stdout=subprocess.DEVNULL,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent),
            )
        )
        until(partial(_knows, port), 20.0, "the sentinel has heard of its master")
        return port

    yield make
    for process in started:
        process.kill()
        process.wait(10)


def _knows(port: int) -> bool:
    with contextlib.suppress(redis.RedisError), redis.Redis(port=port, protocol=2) as client:
        return "num-other-sentinels" in client.sentinel_master("chat")
    return False


def _far_port(link: StoreConnection) -> int:
    return int(link.transport.get_extra_info("peername")[1])


async def _opened(ports: list[int]) -> int:
    """The port of the store that a worker connects to. Raises Unavailable."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    opener = Opener(f"redis+sentinel://{hosts}/chat", timeout=5.0, name="chat")
    try:
        link = await opener.open()
        try:
            return _far_port(link)
        finally:
            link.abort()
            await link.closed
    finally:
        await opener.close()


async def test_of_sentinels_that_disagree_the_one_that_knows_the_latest_failover_is_believed(
    redis_server, make_sentinel
):
    old, new = redis_server(tcp=True), redis_server(tcp=True)
    behind, ahead, gone = make_sentinel(old, 3), make_sentinel(new, 4), processes.free_port()
    for ports in ([behind, ahead], [ahead, behind], [gone, behind, ahead]):
        assert await _opened(ports) == new.port
    assert await _opened([gone, behind]) == old.port  # better than nothing: it may be alone for good


async def test_a_master_that_the_latest_failover_replaced_is_not_taken_for_want_of_the_new_one(
    redis_server, make_sentinel
):
    old, new = redis_server(tcp=True), redis_server(tcp=True)
    behind, ahead = make_sentinel(old, 3), make_sentinel(new, 4)
    new.kill()

    def down() -> bool:
        with redis.Redis(port=ahead, protocol=2) as client:
            return bool(client.sentinel_master("chat")["is_sdown"])

    until(down, 20.0, "the sentinel takes the new master for dead")
    with pytest.raises(Unavailable, match="No master found"):
        await _opened([behind, ahead])
