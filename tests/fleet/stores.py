"""The stores of a fleet: a Redis with a replica, and where asked for three sentinels that replace it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path
from typing import Any

import redis

from chatmaster.runtime.fork import die_with_parent
from chatmaster.store.binary import find_program
from tests.chaos import archive
from tests.chaos.archive import Archive
from tests.fleet.network import STORE, inside
from tests.support import processes
from tests.support.store import RedisServer
from tests.support.wait import until

SERVICE = "fleet"
ROOM = "hall"  # the crowd's
SENTINEL = """
port {port}
bind {address}
dir {directory}
sentinel resolve-hostnames no
sentinel monitor {service} {address} {store} 2
sentinel down-after-milliseconds {service} 1500
sentinel failover-timeout {service} 6000
"""


class Stores:
    """The store that has the role of the master, its replica, and the sentinels."""

    def __init__(self, folder: Path, namespace: str, *, sentinels: int) -> None:
        self._folder = folder
        self._namespace = namespace
        self._wanted = sentinels
        self._servers = [self._server(name) for name in ("a", "b")]
        self._sentinels: list[subprocess.Popen[bytes]] = []
        self._readers = 0
        self._ports: list[int] = []

    def _server(self, name: str) -> RedisServer:
        options: tuple[str, ...] = ("--bind", STORE, "--repl-diskless-sync-delay", "0", "--repl-timeout", "10")
        if self._wanted:
            # A master that comes back before the sentinels have told it of the other must acknowledge nothing.
            options += ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "10")
        return RedisServer(
            self._folder / name, tcp=True, fsync="always", options=options, prefix=inside(self._namespace)
        )

    @property
    def url(self) -> str:
        """What the hosts have as `store.url`."""
        if not self._wanted:
            return f"redis://{STORE}:{self._servers[0].port}/0"
        return f"redis+sentinel://{','.join(f'{STORE}:{port}' for port in self._ports)}/{SERVICE}"

    def start(self) -> None:
        """Start all; returns when the replica follows and the sentinels know it."""
        first, second = self._servers
        first.start()
        second.start()
        second.client.execute_command("REPLICAOF", STORE, str(first.port))
        until(lambda: _role(second) == ("slave", "up"), 30.0, "the replica follows")
        for number in range(self._wanted):
            self._start_sentinel(number)

    def _start_sentinel(self, number: int) -> None:
        port = processes.free_port()
        self._ports.append(port)
        directory = self._folder / f"sentinel{number}"
        directory.mkdir()
        file = directory / "sentinel.conf"
        file.write_text(
            SENTINEL.format(port=port, address=STORE, directory=directory, service=SERVICE, store=self._servers[0].port)
        )
        parent = os.getpid()
        with (directory / "log").open("wb") as log:
            command = [*inside(self._namespace), str(find_program().path), str(file), "--sentinel"]
            self._sentinels.append(
                subprocess.Popen(
                    command, stdout=log, stderr=log, preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent)
                )
            )

    def close(self) -> None:
        """End all."""
        for process in self._sentinels:
            process.kill()
            process.wait(10)
        for server in self._servers:
            server.kill()

    @property
    def master(self) -> RedisServer:
        """The server that takes writes."""
        return next(server for server in self._servers if server.running and _role(server)[0] == "master")

    # ---- faults ------------------------------------------------------------------------------------------

    def kill_master(self, chance: random.Random) -> Archive:
        """Kill the master. With sentinels another takes over, and the killed one follows that; else it comes back.

        Returns what it had when it died, of which the replica may lack the last moment.
        """
        old = self.master
        old.kill()
        had = self._last_words(old)
        if not self._wanted:
            old.start()
            return had
        until(lambda: any(_role(one)[0] == "master" for one in self._servers if one.running), 60.0, "a failover")
        old.start()
        until(lambda: _role(old) == ("slave", "up"), 60.0, "the killed store follows the new master")
        return had

    def _last_words(self, dead: RedisServer) -> Archive:
        self._readers += 1
        return last_words(dead, self._folder / f"x{self._readers}")


def last_words(dead: RedisServer, folder: Path) -> Archive:
    """What a server that was killed had of the crowd's room, read by another in a folder of its own."""
    with RedisServer(folder, fsync="always") as reader:
        reader.stop()
        reader.restore(dead.save_copy("last"))
        return archive.read(reader.start().client, ROOM)


def _role(server: RedisServer) -> tuple[str, str]:
    """The role of a server, and whether a replica has its link up; "" where it does not answer."""
    try:
        found: Any = server.client.info("replication")
    except redis.RedisError:
        return "", ""
    return str(found["role"]), str(found.get("master_link_status", ""))
