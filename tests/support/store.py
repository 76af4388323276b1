"""A real Valkey or Redis server for a test: on a unix socket in a directory of its own, on TCP where asked for.

It can be killed, frozen, thawed and started again, with its data or without. It belongs to the test alone and dies
with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType

import redis

from chatmaster.runtime.fork import die_with_parent
from chatmaster.store.binary import find_program
from tests.support import processes, wait

STATED = ("--save", "", "--maxmemory-policy", "noeviction", "--protected-mode", "no")


class RedisServer:
    """One server. `start` returns when it answers."""

    def __init__(
        self,
        directory: Path,
        *,
        tcp: bool = False,
        fsync: str = "",
        options: tuple[str, ...] = (),
        program: str = "",
        prefix: tuple[str, ...] = (),
    ) -> None:
        """`fsync`: "always", "everysec" or "no" keep an append-only file; "": what is killed is lost.

        `options` are further arguments of the server, as ("--maxmemory", "20mb"); `program` is another than ours;
        `prefix` is put before the command.
        """
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = processes.free_port() if tcp else 0
        self.fsync = fsync
        self.options = options
        self.prefix = prefix
        self.program = program or str(find_program().path)
        self.socket_path = directory / "s"  # short: a unix socket's path ends at 107 bytes
        self.log_path = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: redis.Redis | None = None

    @property
    def url(self) -> str:
        """The unix socket, as redis-py and `store.url` understand it."""
        return f"unix://{self.socket_path}"

    @property
    def tcp_url(self) -> str:
        """The same over TCP, where asked for."""
        assert self.port, "made without tcp=True"
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def client(self) -> redis.Redis:
        """A plain client to look behind the server's back; answers are bytes."""
        if self._client is None:
            self._client = redis.Redis(unix_socket_path=str(self.socket_path), protocol=2, socket_timeout=10)
        return self._client

    def start(self) -> RedisServer:
        assert not self.running, "already started"
        parent = os.getpid()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.prefix, self.program, *self._arguments()],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent),
            )
        wait.until(self.answers, what=f"the store answers; its log: {self.log_path}")
        return self

    def answers(self) -> bool:
        """Whether the store carries out commands; False while it loads its data."""
        assert self.running, f"the store has ended:\n{self.log_path.read_text(errors='replace')[-2000:]}"
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def stop(self) -> None:
        """End it in order: what it was told to keep is on the disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)
        wait.until(lambda: processes.state(self.pid) == "T", what="the store stands still")

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def restart(self, *, wipe: bool = False) -> RedisServer:
        """Kill the store and start it again with the contents of its append-only file, or empty."""
        if self.running:
            self.kill()
        if wipe:
            self.wipe()
        return self.start()

    def wipe(self) -> None:
        """Remove the data of a server that does not run."""
        assert not self.running
        shutil.rmtree(self.directory / "appendonlydir", ignore_errors=True)

    def save_copy(self, name: str = "copy") -> Path:
        """A copy of the append-only file as it is on the disk now, for `restore`."""
        copy = self.directory / name
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.directory / "appendonlydir", copy)
        return copy

    def restore(self, copy: Path) -> None:
        """Put an older append-only file in place of a stopped server's own."""
        self.wipe()
        shutil.copytree(copy, self.directory / "appendonlydir")

    def _arguments(self) -> list[str]:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket_path), *STATED]
        arguments += ["--dir", str(self.directory)]
        if self.fsync:
            arguments += ["--appendonly", "yes", "--appendfsync", self.fsync]
        return [*arguments, *self.options]

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._client is not None:
            self._client.close()
            self._client = None
        self._process.send_signal(number)
        if number == signal.SIGTERM:
            self._process.send_signal(signal.SIGCONT)  # a frozen one would not hear the first
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def __enter__(self) -> RedisServer:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
