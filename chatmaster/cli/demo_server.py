"""The server of `chatctl demo`: a chat in a temporary folder, which ends with the demonstration."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Final

from chatmaster import addresses
from chatmaster.cli import control_client
from chatmaster.cli.start import READY_FD, wait_for_report
from chatmaster.contract import ExitCode
from chatmaster.errors import RefusedByMaster
from chatmaster.runtime.fork import die_with_parent

NAME: Final = "demo"
START_TIMEOUT: Final = 60.0  # seconds
STOP_TIMEOUT: Final = 20.0
STATUS_TIMEOUT: Final = 5.0
_PORT: Final = 8000  # where it is free
_FOREIGN: Final = ("CHATMASTER_", "_CHATMASTER_", "NOTIFY_", "WATCHDOG_", "LISTEN_", "STATE_DIRECTORY")
_SETTINGS: Final = ("master.drain_timeout=1", "log.level=warning")


class DemoServer:
    """One master with its workers and store; a context manager."""

    def __init__(self, *, workers: int) -> None:
        self.address = addresses.parse(f"ws://127.0.0.1:{_free_port()}")
        self.folder = Path(tempfile.mkdtemp(prefix="cm-"))  # short: the path of a unix socket ends at 107 bytes
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DemoServer:
        """Start, and return when every worker answers. Raises RefusedByMaster, TimedOut."""
        reader, writer = os.pipe()
        log = self.folder / "log"
        try:
            try:
                self._process = self._spawn(log, writer)
            finally:
                os.close(writer)
            report = wait_for_report(self._process, reader, START_TIMEOUT, log)
            if not report.get("ok"):
                raise RefusedByMaster(int(report.get("exit", ExitCode.FAILED)), str(report.get("error", log)))
        except BaseException:
            self.__exit__()
            raise
        finally:
            os.close(reader)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server, by force where it does not stop, and remove its folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()  # workers and store end with their master
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def status(self) -> dict[str, Any]:
        """The answer of `chatctl status`. Raises TimedOut, NotRunning."""
        return control_client.call(self._socket, "status", timeout=STATUS_TIMEOUT)

    def reload(self) -> int:
        """Replace all workers; returns the new generation. Raises RefusedByMaster, NotRunning."""
        return int(control_client.call(self._socket, "reload").get("generation", 0))

    def _spawn(self, log: Path, report: int) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(
                self._command(),
                env=_environment() | {READY_FD: str(report)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for the demonstration, which stops the server
                pass_fds=[report],
                preexec_fn=partial(die_with_parent, signal.SIGTERM, os.getpid()),
            )

    @property
    def _socket(self) -> Path:
        return self.folder / "state" / f"{NAME}.sock"

    def _command(self) -> list[str]:
        configuration = self.folder / "chatmaster.toml"  # not that of the folder in which the command runs
        configuration.touch()
        words = [sys.executable, "-P", "-m", "chatmaster", "--config", str(configuration), "--name", NAME]
        words += ["--state-dir", str(self.folder / "state"), "start", "-n", str(self._workers)]
        words += ["-b", self.address.text, *(word for text in _SETTINGS for word in ("--set", text))]
        return words


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}


def _free_port() -> int:
    for port in (_PORT, 0):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = sock.getsockname()[1]
            return found
    raise OSError("no port of 127.0.0.1 is free")
