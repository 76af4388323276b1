"""The servers that are measured, each pinned to the server's core: chatmaster, the baseline with a store, the floor.

Those that have to be built first are in `peers.py`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.bench.dialects import CHAT, Dialect
from tests.support import processes, wait
from tests.support.server import ROOT, Chatmaster
from tests.support.store import RedisServer

# The load says far more than a person: its limits are looked at for each message, but never reached.
LIFTED: Mapping[str, Any] = {
    "limits.rate": 1e9,
    "limits.burst": 1_000_000_000,
    "limits.guest_bytes": 1 << 40,
    "limits.guest_rooms": 1 << 20,  # all guests of a load have one address
    "log.level": "warning",
}


class Server(Struct, frozen=True):
    """Something that listens."""

    port: int
    pid: int
    without: tuple[int, ...] = ()  # pids below `pid` that are not the server's cost
    workers: Callable[[], list[dict[str, Any]]] = list  # what its status says of each
    dialect: Dialect = CHAT


@contextmanager
def chatmaster(workers: int, cores: Collection[int], settings: Mapping[str, Any] | None = None) -> Iterator[Server]:
    """Ours: master, workers and the embedded store, which is left out of the figures."""
    with pinned(cores), Chatmaster(workers=workers, settings={**LIFTED, **(settings or {})}) as server:
        yield Server(server.port, server.pid, (server.store_pid,), lambda: list(server.status()["workers"]))


@contextmanager
def baseline(workers: int, cores: Collection[int], settings: Mapping[str, Any] | None = None) -> Iterator[Server]:
    """Plain websockets and redis-py, with a store that keeps nothing."""
    port = processes.free_port()
    with (
        pinned(cores),
        tempfile.TemporaryDirectory(prefix="cm-bench-") as directory,
        RedisServer(Path(directory)) as store,
    ):
        command = [sys.executable, "-m", "tests.bench.baseline", str(port), store.url, str(workers)]
        process = subprocess.Popen(command, cwd=ROOT)
        try:
            wait.until(lambda: len(processes.children(process.pid)) == workers and _listens(port), 20)
            yield Server(port, process.pid)
        finally:
            _end(process)


@contextmanager
def floor(workers: int, cores: Collection[int], settings: Mapping[str, Any] | None = None) -> Iterator[Server]:
    """One process, whatever the workers, that only writes what comes to the room: what this machine takes for it."""
    port = processes.free_port()
    with pinned(cores), started([sys.executable, "-m", "chatmaster.cli.bench_floor", str(port)], port) as server:
        yield server


@contextmanager
def started(
    command: Sequence[str], port: int, *, environment: Mapping[str, str] | None = None, dialect: Dialect = CHAT
) -> Iterator[Server]:
    """A process that listens on the port when this is entered, and ends with it."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        wait.until(lambda: _listens(port), 20)
        yield Server(port, process.pid, dialect=dialect)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        processes.end(processes.tree(process.pid))
        process.wait(10)


@contextmanager
def pinned(cores: Collection[int]) -> Iterator[None]:
    """What is started inside runs on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
