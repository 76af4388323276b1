"""Under the supervisors of others: systemd's notification and socket activation, supervisord."""

from __future__ import annotations

import configparser
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatmaster.contract import ExitCode
from tests.support import processes
from tests.support.server import ROOT, Chatmaster
from tests.support.wait import until

ECHO = str(ROOT / "etc" / "examples" / "echo.py")


def serves(server: Chatmaster) -> bool:
    """Whether a worker of it answers as ready."""
    try:
        with urllib.request.urlopen(f"{server.http}/ready", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def start_command(server: Chatmaster) -> list[str]:
    listen = f"ws://127.0.0.1:{server.port}"
    return server.command("start", ECHO, "-n", "2", "-b", listen, "--set", "master.drain_timeout=1.0")


class Supervisor:
    """A listener on NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(30)

    def wait_for(self, wanted: str) -> dict[str, str]:
        """The next message with that assignment; those before it are skipped."""
        while True:
            message = dict(line.partition("=")[::2] for line in self.socket.recv(4096).decode().splitlines())
            key, _, value = wanted.partition("=")
            if message.get(key) == value:
                return message


@pytest.fixture
def supervisor(tmp_path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "notify")
    yield made
    made.socket.close()


def test_systemd_hears_ready_reloading_watchdog_and_stopping(supervisor, tmp_path):
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    with Chatmaster(ECHO, workers=1, environment=environment) as server:
        supervisor.wait_for("WATCHDOG=1")  # while the application is imported, too
        ready = supervisor.wait_for("READY=1")
        assert ready["MAINPID"] == str(server.pid)
        assert ready["STATUS"]
        assert serves(server)
        supervisor.wait_for("WATCHDOG=1")
        supervisor.wait_for("WATCHDOG=1")
        processes.send(server.pid, signal.SIGHUP)
        assert int(supervisor.wait_for("RELOADING=1")["MONOTONIC_USEC"]) > 0
        supervisor.wait_for("READY=1")
        assert server.ctl("scale", "2").returncode == ExitCode.DONE
        assert "2 workers ready" in supervisor.wait_for("STATUS=2 workers ready, generation 2")["STATUS"]
        server.config_path.write_text("nothing = 1\n")
        assert server.ctl("--name", "chat", "restart").returncode == ExitCode.USAGE
        supervisor.wait_for("RELOADING=1")
        supervisor.wait_for("READY=1")
        processes.send(server.pid, signal.SIGTERM)
        supervisor.wait_for("STOPPING=1")
        assert server.process is not None and server.process.wait(20) == 0


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is not installed")
def test_the_socket_that_systemd_opened_is_used_and_the_first_client_is_served():
    server = Chatmaster(ECHO, workers=2)
    server.prefix = ("systemd-socket-activate", "-l", f"127.0.0.1:{server.port}", "-E", f"PYTHONPATH={ROOT}")
    try:
        process = server.spawn()
        # It starts the program when somebody connects; that somebody is to be served, too.
        until(lambda: listens(server.port), what="systemd-socket-activate listens")
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as first:
            first.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert first.recv(4096).startswith(b"HTTP/1.1 200")
        until(lambda: server.ctl("status").returncode == 0, what="the master answers")
        assert server.status()["master"]["pid"] == process.pid
        until(lambda: server.states() == ["ready", "ready"], what="both workers are ready")
        assert serves(server)
    finally:
        server.close()


def listens(port: int) -> bool:
    """Asked of /proc, since a connection would already start the program."""
    return any(
        fields[1].endswith(f":{port:04X}") and fields[3] == "0A"
        for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
    )


class Supervisord:
    """A real supervisord that runs the program of etc/supervisord.conf, with this test's command line."""

    def __init__(self, server: Chatmaster, directory: Path, command: list[str] | None = None) -> None:
        conf = configparser.RawConfigParser(inline_comment_prefixes=(";",))
        conf.read(ROOT / "etc" / "supervisord.conf")
        program = conf["program:chatmaster"]
        program["command"] = shlex.join(command or start_command(server)).replace("%", "%%")
        program["directory"] = str(ROOT)
        program["environment"] = f'PYTHONPATH="{ROOT}"'
        program["stdout_logfile"] = str(server.log_path)
        conf["supervisord"] = {"nodaemon": "true", "pidfile": f"{directory}/pid", "logfile": f"{directory}/log"}
        conf["unix_http_server"] = {"file": f"{server.directory}/supervisor.sock"}
        conf["supervisorctl"] = {"serverurl": f"unix://{server.directory}/supervisor.sock"}
        conf["rpcinterface:supervisor"] = {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        }
        self.conf = directory / "supervisord.conf"
        with self.conf.open("w") as file:
            conf.write(file)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self.conf)],
            env=server.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ctl(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.conf), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout

    def pid(self) -> int:
        """The program's, as supervisord knows it; 0: it does not run."""
        answer = self.ctl("pid", "chatmaster").strip()
        return int(answer) if answer.isdigit() else 0

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.mark.timeout(120)
def test_supervisord_starts_restarts_and_stops_it(tmp_path):
    server = Chatmaster(ECHO, workers=2)
    supervisord = Supervisord(server, tmp_path)
    try:
        until(lambda: serves(server), 40, "it serves")
        until(lambda: "RUNNING" in supervisord.ctl("status"), what="supervisord calls it running")
        first = supervisord.pid()
        family = processes.tree(first)
        assert len(family) >= 4  # master, store, two workers

        processes.send(first, signal.SIGKILL)
        until(lambda: supervisord.pid() not in (0, first), 30, "supervisord started another one")
        until(lambda: serves(server), 40, "that one serves")
        assert not any(processes.alive(pid) for pid in family)
        second = supervisord.pid()
        assert server.status()["master"]["pid"] == second

        family = processes.tree(second)
        supervisord.ctl("stop", "chatmaster")
        assert "STOPPED" in supervisord.ctl("status")
        assert not any(processes.alive(pid) for pid in family)
    finally:
        supervisord.close()
        server.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("wrong", "code"),
    [(("--set", "limits.rate=x"), 2), (("/no/such/app.py",), 5)],
    ids=["settings", "program"],
)
def test_supervisord_does_not_try_again_what_cannot_get_better(tmp_path, wrong: tuple[str, ...], code: int):
    server = Chatmaster(ECHO, workers=1)
    supervisord = Supervisord(server, tmp_path, server.command("start", *wrong))
    try:
        until(lambda: "EXITED" in supervisord.ctl("status"), 40, "supervisord gives up")
        log = (tmp_path / "log").read_text()
        assert log.count("spawned: 'chatmaster'") == 1
        assert f"(exit status {code}; expected)" in log
    finally:
        supervisord.close()
        server.close()
