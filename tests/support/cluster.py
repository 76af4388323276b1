"""A real Redis Cluster for a test: server processes on loopback, which die with the test.

Nodes can be killed, frozen, thawed and started again, have replicas, and give slots to each other.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from chatmaster.runtime.fork import die_with_parent
from chatmaster.store.binary import ask_version, find_program
from tests.support import processes, wait

SLOTS = 16384
NODE_TIMEOUT = 1500  # ms, after which a node counts as gone


class ClusterNodeProcess:
    """One server of a cluster. `login` has the arguments of redis-py for the test's own client, beside the port."""

    def __init__(
        self, directory: Path, program: str, options: tuple[str, ...], *, host: str, login: Mapping[str, Any]
    ) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self.port, self._bus_port = processes.free_port(), processes.free_port()
        self._program, self._options = program, (*options, "--cluster-port", str(self._bus_port))
        version = ask_version(Path(program))
        if version is not None and version.kind == "redis" and version.version < (7,):
            self._options = options
            self.port, self._bus_port = _pair_of_ports()
        self._host, self._encrypted = host, bool(login.get("ssl"))
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(
            host=host, port=self.port, protocol=2, socket_timeout=5, decode_responses=True, **login
        )

    @property
    def address(self) -> tuple[str, int]:
        return self._host, self.port

    @property
    def id(self) -> str:
        """The name under which the other nodes know this one."""
        return str(self.client.execute_command("CLUSTER", "MYID"))

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        parent = os.getpid()
        ports = ["--port", "0", "--tls-port"] if self._encrypted else ["--port"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program, *ports, str(self.port), "--bind", self._host, "--dir", str(self.directory),
                    "--save", "", "--appendonly", "yes", "--protected-mode", "no", "--cluster-enabled", "yes",
                    "--cluster-node-timeout", str(NODE_TIMEOUT),
                    "--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0", *self._options,
                ],
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent),
            )  # fmt: skip
        wait.until(self.answers, 30, f"the node answers; its log: {self.directory / 'log'}")

    def answers(self) -> bool:
        assert self.running, (self.directory / "log").read_text(errors="replace")[-2000:]
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """SIGKILL, and wait."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
        self.client.close()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        wait.until(lambda: processes.state(self.pid) == "T", what="the node stands still")

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def meet(self, other: ClusterNodeProcess) -> None:
        self.client.execute_command("CLUSTER", "MEET", other._host, other.port, other._bus_port)

    def info(self, field: str) -> str:
        """One field of CLUSTER INFO."""
        answer: Any = self.client.execute_command("CLUSTER", "INFO")
        found = answer if isinstance(answer, dict) else dict(line.split(":") for line in answer.split())
        return str(found[field])

    def owns(self, slot: int) -> bool:
        """Whether this node says that it has a slot."""
        ranges: Any = self.client.execute_command("CLUSTER", "SLOTS")
        return any(
            int(start) <= slot <= int(stop) and int(servers[0][1]) == self.port for start, stop, *servers in ranges
        )


class ClusterServer:
    """Some masters with equal parts of the slots, each with so many replicas."""

    def __init__(
        self,
        directory: Path,
        *,
        masters: int = 3,
        replicas: int = 0,
        program: str = "",
        options: tuple[str, ...] = (),
        host: str = "127.0.0.1",
        login: Mapping[str, Any] | None = None,
    ) -> None:
        program = program or str(find_program().path)
        self.directory = directory
        count = masters * (1 + replicas)
        self.nodes = [
            ClusterNodeProcess(directory / f"n{number}", program, options, host=host, login=login or {})
            for number in range(count)
        ]
        self.masters = self.nodes[:masters]

    @property
    def url(self) -> str:
        return "redis+cluster://" + self.hosts

    @property
    def hosts(self) -> str:
        """The nodes in the form of a URL."""
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self._addresses)

    @property
    def _addresses(self) -> list[tuple[str, int]]:
        return [node.address for node in self.nodes]

    @property
    def clients(self) -> list[redis.Redis]:
        """Of the masters that run; a client that follows redirections would hide what is tested."""
        return [node.client for node in self.nodes if node.running]

    def start(self) -> ClusterServer:
        for node in self.nodes:
            node.start()
        for number, node in enumerate(self.masters):
            first, last = (SLOTS * at // len(self.masters) for at in (number, number + 1))
            node.client.execute_command("CLUSTER", "ADDSLOTS", *range(first, last))  # before 7 there are no ranges
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            self.nodes[0].meet(node)
        self.settle()
        for number, node in enumerate(self.nodes[len(self.masters) :]):
            node.client.execute_command("CLUSTER", "REPLICATE", self.masters[number % len(self.masters)].id)
        for node in self.nodes[len(self.masters) :]:
            wait.until(partial(_follows, node), 20, "the replica follows its master")
        return self

    def empty(self) -> None:
        """Forget all data."""
        for node in self.masters:
            node.client.flushall()

    def settle(self, nodes: Iterable[ClusterNodeProcess] | None = None) -> None:
        """Wait until all nodes know each other and every slot is served."""
        for node in nodes or self.nodes:
            wait.until(partial(self._is_settled, node), 20, "the cluster is complete")

    def _is_settled(self, node: ClusterNodeProcess) -> bool:
        known = int(node.info("cluster_known_nodes"))
        return node.info("cluster_state") == "ok" and known >= len(self.nodes)

    def master_of(self, slot: int) -> ClusterNodeProcess:
        """The node that has a slot, by its own account."""
        return next(node for node in self.nodes if node.running and node.owns(slot))

    def move(self, slot: int, target: ClusterNodeProcess, *, during: Callable[[], None] = lambda: None) -> None:
        """Move a slot with its keys to another master, as redis-cli does; `during` runs half-way."""
        source = self.master_of(slot)
        target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        keys: Any = source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100_000)
        for at, key in enumerate(sorted(keys)):
            source.client.execute_command("MIGRATE", *target.address, key, 0, 5000)
            if at == len(keys) // 2:
                during()
        if not keys:
            during()
        while left := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000):
            for key in left:
                source.client.execute_command("MIGRATE", *target.address, key, 0, 5000)
        for node in (target, source, *(one for one in self.masters if one not in (target, source))):
            if node.running:
                node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def close(self) -> None:
        for node in self.nodes:
            if node.running:
                os.kill(node.pid, signal.SIGCONT)
            node.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> ClusterServer:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pair_of_ports() -> tuple[int, int]:
    """Two free ports that are 10,000 apart, as servers before 7 take them, both below those that the kernel gives."""
    while True:
        port = processes.free_port()
        if port < 22_000 and processes.is_free(port + 10_000):
            return port, port + 10_000


def is_wanted() -> bool:
    """Whether the servers of tests are to have a cluster in place of their embedded stores."""
    return os.environ.get("TEST_STORE", "") == "cluster"


@lru_cache
def shared() -> ClusterServer:
    """A cluster for all servers of this test process, in place of their embedded stores; it dies with the process."""
    made = ClusterServer(Path(tempfile.mkdtemp(prefix="cluster-")) / "c")
    atexit.register(shutil.rmtree, made.directory.parent, ignore_errors=True)
    atexit.register(made.close)
    return made.__enter__()


def _follows(node: ClusterNodeProcess) -> bool:
    info: Any = node.client.info("replication")
    return bool(info.get("master_link_status") == "up")
