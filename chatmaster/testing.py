"""Tests of a program against a real server: in a temporary folder, on a free port, with a store of its own.

In `conftest.py`: ``pytest_plugins = ["chatmaster.testing"]``. Then::

    def test_the_echo(serve):
        server = serve("app.py")
        with server.connect("/?name=ada") as client:
            client.send("hello")
            assert client.recv(timeout=5) == "hello"

Without pytest: ``with LocalServer("app.py") as server: ...``. The server ends with the test, whatever happens.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from chatmaster.cli.start import READY_FD
from chatmaster.errors import ApplicationError, ChatmasterError

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

T = TypeVar("T")

START_TIMEOUT: Final = 60.0  # seconds
STOP_TIMEOUT: Final = 30.0
END_TIMEOUT: Final = 5.0  # of a process that has closed its report already
_ROOT: Final = Path(__file__).resolve().parents[1]
_DEFAULTS: Final[Mapping[str, Any]] = {"master.drain_timeout": 1.0}
_FOREIGN: Final = ("CHATMASTER_", "_CHATMASTER_", "NOTIFY_", "WATCHDOG_", "LISTEN_", "STATE_DIRECTORY")


class LocalServer:
    """One server with its master, workers and store."""

    def __init__(
        self,
        app: str | Path = "",
        *,
        workers: int = 1,
        settings: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`app` is a file, or `module:attribute` ("": the chat); `settings` are values by key, as {"limits.rate": 5}.

        `environment` is added to this process's own, of which the variables for chatmaster are left out.
        """
        self.port = _free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="cm-"))  # short: a unix socket's path ends at 107 bytes
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
        path = os.pathsep.join([str(_ROOT), *filter(None, [kept.get("PYTHONPATH")])])
        self._environment = {**kept, "PYTHONPATH": path, **(environment or {})}
        values = {**_DEFAULTS, **(settings or {})}
        self._words = [*([str(app)] if app else []), "-n", str(workers), "-b", f"ws://127.0.0.1:{self.port}"]
        self._words += [word for key, value in values.items() for word in ("--set", f"{key}={json.dumps(value)}")]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """`ws://127.0.0.1:PORT`, without a slash at the end."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        """`http://127.0.0.1:PORT`, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> LocalServer:
        """Start, and return when every worker answers. Raises ApplicationError with the log where it does not start."""
        reader, writer = os.pipe()
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("start", *self._words),
                env={**self._environment, READY_FD: str(writer)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[writer],
            )
        os.close(writer)
        try:
            report = _read_line(reader, START_TIMEOUT)
        finally:
            os.close(reader)
        if not report.get("ok"):
            reason = report.get("error") or self._why_not_ready()
            self.close()
            raise ApplicationError(str(reason))
        return self

    def _why_not_ready(self) -> str:
        """What is known where the master has reported nothing: it ended, as for a wrong setting, or takes too long."""
        try:
            if self._process is not None:
                self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            return f"it is not ready after {START_TIMEOUT:g} s"
        return self.log().strip() or "it ended without a word"

    def connect(self, path: str = "/", **options: Any) -> AbstractContextManager[ClientConnection]:
        """A WebSocket client, as a context manager: websockets' own, with its `send` and `recv(timeout=…)`.

        `options` are those of `websockets.sync.client.connect`, as `additional_headers`.
        """
        from websockets.sync.client import connect

        client: AbstractContextManager[ClientConnection] = connect(f"{self.url}{path}", proxy=None, **options)
        return client

    def chatctl(self, *words: str) -> str:
        """Run a command of chatctl for this server and return what it prints. Raises ChatmasterError where it fails."""
        done = subprocess.run(
            self._command(*words), env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            raise ChatmasterError(f"chatctl {' '.join(words)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def log(self) -> str:
        """All that the server has logged and the program has printed."""
        return (self.directory / "log").read_text(errors="replace")

    def close(self) -> None:
        """Stop the server, by force where it does not stop, and remove its folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()  # workers and store end with their master
                self._process.wait()
            self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-P", "-m", "chatmaster", "--state-dir", str(self.directory / "state"), *words]

    def __enter__(self) -> LocalServer:
        return self if self._process is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def wait_for(condition: Callable[[], T], timeout: float = 10.0, what: str = "") -> T:
    """Wait until `condition()` is true, `timeout` seconds at most, and return what it gave. Raises AssertionError.

    `what` says in the error what was waited for.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout:g} s still not true: {what or condition!r} (last seen: {value!r})")
        time.sleep(0.02)
    return value


def _serve() -> Iterator[Callable[..., LocalServer]]:
    """The fixture `serve`."""
    servers: list[LocalServer] = []

    def start(app: str | Path = "", **options: Any) -> LocalServer:
        servers.append(LocalServer(app, **options))
        return servers[-1].start()

    try:
        yield start
    finally:
        for server in servers:
            if server.directory.exists():
                print(server.log())  # noqa: T201  # pytest shows it where the test failed
            server.close()


if find_spec("pytest") is not None:  # who tests without pytest need not install it
    import pytest

    serve = pytest.fixture(_serve, name="serve")
    """Starts servers by `serve(app, workers=…, settings=…)`; they end with the test, whose report has their logs."""


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _read_line(fd: int, timeout: float) -> dict[str, Any]:
    """The line that a master writes when it is ready or gives up; empty where it has ended without, or is too late."""
    deadline = time.monotonic() + timeout
    received = b""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while not received.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return {}
        part = os.read(fd, 65_536)
        if not part:
            return {}
        received += part
    report: dict[str, Any] = json.loads(received)
    return report
