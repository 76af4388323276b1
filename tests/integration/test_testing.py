"""`chatmaster.testing` and `chatctl logs`, as the author of a program uses them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chatmaster.cli.logs import last_lines
from chatmaster.errors import ApplicationError, ChatmasterError
from chatmaster.testing import LocalServer, wait_for
from tests.support.server import ROOT, Chatmaster
from tests.support.wait import until


def test_the_documents_test_passes_as_a_reader_would_run_it(tmp_path: Path) -> None:
    text = (ROOT / "etc" / "doc" / "development.md").read_text()
    conftest, test = re.findall(r"```python\n(.*?)```", text, re.S)[:2]
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_program.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=55,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_a_server_can_be_started_where_pytest_is_not_installed() -> None:
    program = "import sys; sys.modules['pytest'] = None; from chatmaster.testing import LocalServer; LocalServer"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("raise ValueError('no database')")
    server = LocalServer(tmp_path / "app.py")
    with pytest.raises(ApplicationError, match="no database"):
        server.start()
    assert not server.directory.exists()


def test_a_setting_that_is_wrong_is_named() -> None:
    with pytest.raises(ApplicationError, match=r"auth\.mode is \"token\"; tokens need"):
        LocalServer(settings={"auth.mode": "token"}).start()


def test_the_server_ends_with_the_block_and_a_failing_command_raises() -> None:
    with LocalServer(ROOT / "etc" / "examples" / "echo.py") as server:
        with server.connect() as client:
            client.send(b"x")
            assert client.recv(timeout=10) == b"x"
        with pytest.raises(ChatmasterError, match="exit code 2"):
            server.chatctl("nonsense")
        pid = int(re.search(r"pid (\d+)", server.chatctl("status"))[1])  # type: ignore[index]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_condition_that_does_not_come_true_is_named() -> None:
    with pytest.raises(AssertionError, match=r"still not true: .the moon is green. \(last seen: \[\]\)"):
        wait_for(list, timeout=0.05, what="the moon is green")


@pytest.mark.parametrize("count", [0, 1, 3, 5000])
def test_the_last_lines_of_a_large_file(tmp_path: Path, count: int) -> None:
    lines = [f"{number} {'ä' * (number % 90)}\n" for number in range(4000)]
    (tmp_path / "log").write_text("".join(lines))
    found, position = last_lines(tmp_path / "log", count)
    assert found.decode() == "".join(lines[len(lines) - min(count, 4000) :])
    assert position == (tmp_path / "log").stat().st_size


def test_logs_shows_the_file_and_follows_it_over_a_rotation(chatmaster: Callable[..., Chatmaster]) -> None:
    server = chatmaster(start=False)
    assert "no log file" in server.ctl("logs").stderr
    try:
        started = server.ctl("start", "-d", "-n", "1", "-b", f"ws://127.0.0.1:{server.port}")
        assert started.returncode == 0, started.stderr
        assert "chat runs" in server.ctl("logs").stdout
        out = server.directory / "shown"
        with out.open("wb") as file:
            following = subprocess.Popen(server.command("logs", "-f", "-n", "1"), env=server.environment, stdout=file)
        try:
            until(lambda: out.read_text().count("\n") == 1, what="the last line is shown")
            log = server.state_dir / "chat.log"
            os.replace(log, server.state_dir / "chat.log.1")
            os.kill(server.status()["master"]["pid"], signal.SIGUSR1)
            until(log.exists, what="the log was opened again")
            assert server.ctl("reload").returncode == 0
            until(lambda: "reloaded" in out.read_text(), what="the new file is followed")
        finally:
            following.send_signal(signal.SIGINT)
            following.wait(10)
    finally:
        server.ctl("stop", "--timeout", "0")
