"""`chatctl start --dev`: reloads, breakpoints, and what the developer and the browser are told."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatmaster.contract import ExitCode
from tests.support.server import Chatmaster
from tests.support.wait import until
from tests.support.ws import ChatSocket, RawSocket

PROGRAM = """
from workers import Worker
import rules

worker = Worker("websocket://127.0.0.1:8000")
worker.count = 3
admin = Worker(name="admin", count=2)


@worker.on_message
async def message(connection, data):
    connection.send(f"{rules.WORD} {rules.check(data)}")


Worker.run_all()
"""
RULES = """
import pdb, time

WORD = "one"


def check(data):
    if data == "debug":
        breakpoint()
    if data == "old":
        pdb.set_trace()
    if data == "slow":
        time.sleep(0.25)
    if data == "fail":
        raise ValueError("not this")
    return data
"""


class Terminal:
    """A server in development mode in the foreground of a terminal of its own."""

    def __init__(self, server: Chatmaster, program: Path, *words: str) -> None:
        where = ["--config", str(server.config_path), "--state-dir", str(server.state_dir)]
        listen = ["-b", f"ws://127.0.0.1:{server.port}", "--set", "master.drain_timeout=1.0"]
        command = [sys.executable, str(program), "start", "--dev", *where, *listen, *words]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, command, server.environment)
        self.shown = ""

    def wait(self, text: str, after: int = 0) -> None:
        """Read until a text is shown behind a position."""

        def seen() -> bool:
            while select.select([self.fd], [], [], 0)[0]:
                try:
                    self.shown += os.read(self.fd, 65_536).decode(errors="replace")
                except OSError:
                    break
            return text in self.shown[after:]

        try:
            until(seen, 40, f"{text!r} is shown")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.shown}") from None

    def type(self, line: str) -> None:
        os.write(self.fd, line.encode())

    def close(self) -> int:
        self.type("\x03")
        try:
            self.wait("stopped")
        finally:
            until(lambda: os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT), 20, "it ends")
            _, status = os.waitpid(self.pid, 0)
            os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(PROGRAM)
    (tmp_path / "rules.py").write_text(RULES)
    return tmp_path


@pytest.fixture
def terminal(folder: Path) -> Iterator[tuple[Terminal, Chatmaster]]:
    server = Chatmaster()
    made = Terminal(server, folder / "app.py")
    try:
        made.wait("is running")
        yield made, server
    finally:
        try:
            assert made.close() == ExitCode.DONE
        finally:
            server.close()


@pytest.mark.timeout(180)
async def test_a_change_reloads_and_a_breakpoint_holds_the_terminal_and_the_reload(
    terminal: tuple[Terminal, Chatmaster], folder: Path
) -> None:
    shell, server = terminal
    assert sorted(row["slot"] for row in server.status()["workers"]) == [0, 1], "one process for each Worker"
    async with await RawSocket.open(server.url) as socket:
        socket.send_text("a")
        assert await socket.read_message() == "one a"
        for word, line in (("debug", 9), ("old", 11)):
            before = len(shell.shown)
            socket.send_text(word)
            shell.wait(f"rules.py({line + 1})check()", before)
            shell.type("p data * 2\n")
            shell.wait(f"'{word}{word}'", before)
            time.sleep(0.4)  # long enough to be called blocked
            shell.type("c\n")
            assert await socket.read_message() == f"one {word}"
        assert "blocked" not in shell.shown
        before = len(shell.shown)
        socket.send_text("debug")
        shell.wait("rules.py(10)check()", before)
        (folder / "new.py").write_text(RULES.replace("one", "two"))
        os.replace(folder / "new.py", folder / "rules.py")  # as editors save
        shell.wait("the reload waits until the debugger goes on", before)
        shell.type("c\n")
        assert await socket.read_message() == "one debug"
        shell.wait("reloaded, as SIGHUP asked", before)
        socket.send_text("b")
        assert await socket.read_message(20) == "two b"


@pytest.mark.timeout(180)
async def test_the_developer_sees_what_is_wrong_and_where(terminal: tuple[Terminal, Chatmaster], folder: Path) -> None:
    shell, server = terminal
    async with await RawSocket.open(server.url) as socket:
        socket.send_text("slow")
        assert await socket.read_message() == "one slow"
        shell.wait("rules.py:13 in check: time.sleep(0.25)")
        socket.send_text("fail")
        closed = await socket.wait_closed()
        assert (closed.code, closed.reason) == (1011, "rules.py:15: ValueError: not this")
    shell.wait("ValueError: not this")
    assert f'{folder / "app.py"}", line 12, in message' in shell.shown
    assert "callbacks/application.py" not in shell.shown
    before = len(shell.shown)
    (folder / "rules.py").write_text("WORD =\n")
    shell.wait("SyntaxError", before)
    assert "rules.py" in shell.shown[before:]
    async with await RawSocket.open(server.url) as socket:
        socket.send_text("a")
        assert await socket.read_message() == "one a", "the last program that could be loaded goes on"
    (folder / "rules.py").write_text(RULES.replace("one", "three"))
    shell.wait("reloaded, as SIGHUP asked", before)


@pytest.mark.timeout(120)
def test_a_program_that_cannot_be_loaded_starts_when_it_was_mended(folder: Path) -> None:
    (folder / "app.py").write_text("x ==\n")
    server = Chatmaster()
    with server.log_path.open("wb") as log:
        process = subprocess.Popen(
            server.command("start", "--dev", str(folder / "app.py"), "-b", f"ws://127.0.0.1:{server.port}"),
            env=server.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        until(lambda: "waiting for a change" in server.log(), 40, "the start has failed")
        assert "SyntaxError" in server.log()
        (folder / "app.py").write_text(PROGRAM)
        until(lambda: "is running" in server.log(), 40, "it runs")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == ExitCode.DONE
    finally:
        process.kill()
        process.wait()
        server.close()


async def test_without_a_terminal_a_breakpoint_is_passed_over(chatmaster, folder: Path) -> None:
    server = chatmaster(str(folder / "app.py"), arguments=("--dev",), workers=1)
    async with await RawSocket.open(server.url) as socket:
        socket.send_text("debug")
        assert await socket.read_message() == "one debug"
    until(lambda: "rules.py:9 is passed over" in server.log(), what="the log says so")


async def test_the_chat_says_which_line_of_a_hook_failed(chatmaster, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from workers.chat import Chat\nchat = Chat()\n@chat.on_say\ndef say(request):\n    raise KeyError('x')\n"
        "worker = chat.worker\n"
    )
    server = chatmaster(str(tmp_path / "app.py"), arguments=("--dev",), workers=1)
    async with await ChatSocket.enter(server.url, "lobby") as client:
        answer = await client.ask(type="say", room="lobby", text="x")
        assert (answer["code"], answer["message"]) == ("internal", "the application failed: app.py:5: KeyError: 'x'")


@pytest.mark.timeout(120)
async def test_ctrl_c_at_a_breakpoint_stops_the_server(folder: Path) -> None:
    server = Chatmaster()
    shell = Terminal(server, folder / "app.py")
    try:
        shell.wait("is running")
        async with await RawSocket.open(server.url) as socket:
            socket.send_text("debug")
            shell.wait("(Pdb)")
            assert shell.close() == ExitCode.DONE
    finally:
        server.close()


def test_development_mode_is_no_daemon() -> None:
    server = Chatmaster()
    try:
        refused = server.ctl("start", "--dev", "-d")
        assert refused.returncode == ExitCode.USAGE
        assert "foreground" in refused.stderr
    finally:
        server.close()
