"""A program that ends with `Worker.run_all()`, without a guard, as every Workerman program does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support import processes
from tests.support.server import ROOT, Chatmaster
from tests.support.ws import RawSocket

Make = Callable[..., Chatmaster]
PROGRAM = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from workers import Worker

worker = Worker("websocket://127.0.0.1:1", name="unguarded")
pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def double(number):
    return 2 * number


@worker.on_message
async def message(connection, data):
    import asyncio

    connection.send(str(await asyncio.get_running_loop().run_in_executor(pool, double, int(data))))


Worker.run_all()
"""


def test_check_looks_at_it_and_ends(chatmaster: Make, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PROGRAM)
    server = chatmaster(start=False)
    done = server.ctl("check", str(tmp_path / "app.py"), timeout=40)
    assert done.returncode == 0, done.stderr
    assert "unguarded" in done.stdout


async def test_it_starts_serves_and_may_have_a_pool_that_imports_it_again(chatmaster: Make, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PROGRAM)
    server = chatmaster(str(tmp_path / "app.py"), workers=1)
    async with await RawSocket.open(server.url) as client:
        client.send_text("21")
        assert await client.read_message(30) == "42"
        assert len(processes.tree(server.pid)) < 10
    assert server.ctl("reload").returncode == 0


def test_as_a_script_it_is_the_server(chatmaster: Make, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PROGRAM)
    server = chatmaster(start=False)
    environment = {**server.environment, "CHATMASTER_MASTER_STATE_DIR": str(server.state_dir)}

    def run(*words: str) -> int:
        command = [sys.executable, str(tmp_path / "app.py"), *words]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60).returncode

    try:
        assert run("start", "-d", "-n", "1", "-b", f"ws://127.0.0.1:{processes.free_port()}") == 0
        assert run("status") == 0
    finally:
        assert run("stop") == 0
