"""The real thing for a test: `python -m chatmaster start` in a private state directory, on a port of its own.

`start` returns when every worker answers, or raises `DidNotStart` with the exit code and the log. Whatever happens,
`close` leaves no process and no directory behind.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from chatmaster.cli import control_client
from chatmaster.cli.start import READY_FD
from chatmaster.runtime.fork import die_with_parent
from tests.support import cluster, processes, wait

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 40.0  # seconds
STOP_TIMEOUT = 25.0
# A test does not wait longer than it must for clients that it does not have.
_open: set[int] = set()  # numbers of the servers of this test process
_numbers = itertools.count(1)
DEFAULTS: Mapping[str, Any] = {"master.drain_timeout": 1.0, "master.ready_timeout": 20.0}


class DidNotStart(Exception):
    """The master ended, or said no, before it was ready."""

    def __init__(self, exit_code: int | None, reason: str, log: str) -> None:
        super().__init__(f"exit code {exit_code}: {reason}\n{log}")
        self.exit_code = exit_code
        self.reason = reason


class Chatmaster:
    """One instance: its master, its workers, its store."""

    def __init__(
        self,
        app: str = "",
        *,
        workers: int = 2,
        settings: Mapping[str, Any] | None = None,
        config: str = "",
        arguments: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> None:
        """`settings`: values by key path, handed over by --set. `config`: text of a configuration file.

        `arguments` are further ones of `start`; `prefix` is put before the command, as ("taskset", "-c", "0").
        """
        self.app = app
        self.workers = workers
        elsewhere, config = _elsewhere(settings or {}, config)
        self.settings = {**DEFAULTS, **elsewhere, **(settings or {})}
        self.arguments = arguments
        self.prefix = prefix
        self.port = processes.free_port()
        # Not pytest's tmp_path: a unix socket's path ends at 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="cm-"))
        self.state_dir = self.directory / "state"
        self.log_path = self.directory / "log"
        self.config_path = self.directory / "chatmaster.toml"
        self.config_path.write_text(config)
        self.environment = _environment(environment or {})
        self.process: subprocess.Popen[bytes] | None = None
        self._number = next(_numbers)
        _open.add(self._number)

    # ---- where it is -------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    @property
    def http(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The master's."""
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def pids(self) -> list[int]:
        """The workers' pids, by slot, as the master tells them."""
        rows = sorted(self.status()["workers"], key=lambda row: row["slot"])
        return [row["pid"] for row in rows if row["pid"]]

    @property
    def store_pid(self) -> int:
        """The embedded store's."""
        return int(self.status()["store"]["pid"])

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    # ---- running -----------------------------------------------------------------------------------

    def start(self, timeout: float = START_TIMEOUT) -> Chatmaster:
        """Start it and wait until every worker answers. Raises DidNotStart."""
        reader, writer = os.pipe()
        try:
            self.process = self.spawn({READY_FD: str(writer)}, pass_fds=[writer])
        finally:
            os.close(writer)
        try:
            report = self._report(reader, timeout)
        finally:
            os.close(reader)
        if not report.get("ok"):
            raise DidNotStart(self._exit_code(), str(report.get("error", "it ended without a word")), self.log())
        return self

    def spawn(self, environment: Mapping[str, str] | None = None, **popen: Any) -> subprocess.Popen[bytes]:
        """The process of `start` in the foreground, without waiting for anything; its output goes to the log."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *self.command("start", *self._start_arguments())],
                cwd=ROOT,
                env={**self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_the_test() if "preexec_fn" not in popen else popen.pop("preexec_fn"),
                **popen,
            )
        return self.process

    def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        """SIGTERM to the master; its exit code."""
        assert self.process is not None
        processes.send(self.process.pid, signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL to the master alone, as a crash; its children should end by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def close(self) -> None:
        """End everything that is left: in order first, then by force; remove the directory."""
        _open.discard(self._number)
        if self.process is not None:
            below = processes.tree(self.process.pid) if self.running else []
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                below = processes.tree(self.process.pid)
                self.process.kill()
                self.process.wait(10)
            processes.end(pid for pid in below if pid != self.process.pid and processes.alive(pid))
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---- asking it ---------------------------------------------------------------------------------

    def command(self, *arguments: str) -> list[str]:
        """The argv of a chatctl for this instance."""
        where = ["--config", str(self.config_path), "--state-dir", str(self.state_dir)]
        return [sys.executable, "-P", "-m", "chatmaster", *where, *arguments]

    def ctl(self, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a chatctl command to its end; look at `returncode`, `stdout` and `stderr`."""
        return subprocess.run(
            self.command(*arguments),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def ask(self, *arguments: str) -> Any:
        """The output of a command with --json. Fails with the command's stderr if the command failed."""
        done = self.ctl(*arguments, "--json")
        assert done.returncode == 0, f"chatctl {' '.join(arguments)}: exit {done.returncode}: {done.stderr}"
        return json.loads(done.stdout)

    def status(self) -> dict[str, Any]:
        # As chatctl asks, without the start of another process: tests look often.
        return control_client.call(self.state_dir / "chat.sock", "status", timeout=10.0)

    def states(self) -> list[str]:
        """The states of the workers, by slot."""
        return [row["state"] for row in sorted(self.status()["workers"], key=lambda row: row["slot"])]

    # ---- inside ------------------------------------------------------------------------------------

    def _start_arguments(self) -> list[str]:
        arguments = [self.app] if self.app else []
        arguments += ["-n", str(self.workers), "-b", f"ws://127.0.0.1:{self.port}"]
        for key, value in self.settings.items():
            arguments += ["--set", f"{key}={toml(value)}"]
        return [*arguments, *self.arguments]

    def _report(self, reader: int, timeout: float) -> dict[str, Any]:
        """The line that the master writes when it is ready or gives up; empty where it died without one."""
        deadline = time.monotonic() + timeout
        received = b""
        readable = select.poll()  # a herd of clients may have taken every descriptor that `select` knows
        readable.register(reader, select.POLLIN)
        while not received.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not readable.poll(left * 1000):
                raise DidNotStart(None, f"not ready after {timeout:g} s", self.log())
            part = os.read(reader, 65_536)
            if not part:
                return {}
            received += part
        report: dict[str, Any] = json.loads(received)
        return report

    def _exit_code(self) -> int | None:
        assert self.process is not None
        try:
            return self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            return None

    def __enter__(self) -> Chatmaster:
        try:
            return self if self.running else self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _elsewhere(settings: Mapping[str, Any], config: str) -> tuple[Mapping[str, Any], str]:
    """Settings and configuration of a server without a store of its own, where TEST_STORE=cluster is set."""
    if not cluster.is_wanted() or "store.url" in settings or "[store]" in config:
        return {}, config
    if not _open:
        cluster.shared().empty()
    elif "[master]" not in config:
        config += f'\n[master]\nname = "chat-{max(_open)}"\n'
    return {"store.url": cluster.shared().url}, config


def toml(value: Any) -> str:
    """A value of a setting as TOML, whose scalars and arrays are written like JSON's."""
    return json.dumps(value)


def wait_for_exit(process: subprocess.Popen[bytes], timeout: float = STOP_TIMEOUT) -> int:
    """The exit code of a process that is about to end."""
    code = wait.until(lambda: (process.poll(),) if process.poll() is not None else None, timeout, "the process ends")
    assert code is not None and code[0] is not None
    return code[0]


def _end_with_the_test() -> Callable[[], None] | None:
    """A test run that is killed must leave no server behind.

    The signal comes when the *thread* that forked ends, so it is only asked for where that is the main one.
    """
    parent = os.getpid()
    if threading.current_thread() is not threading.main_thread():
        return None
    return lambda: die_with_parent(signal.SIGKILL, parent)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without the variables that configure the server."""
    foreign = ("CHATMASTER_", "_CHATMASTER_", "NOTIFY_", "WATCHDOG_", "LISTEN_", "STATE_DIRECTORY")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return {**kept, "PYTHONPATH": str(ROOT), **more}
