"""Reload: new before old, and nothing lost when the new is no good."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path

import pytest

from chatmaster.contract import ExitCode
from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.wait import until
from tests.support.ws import RawSocket

GREETING = """
from workers import Worker

worker = Worker(name="greeter")

@worker.on_message
def greet(connection, data):
    connection.send({text!r})
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "greeter.py"
    path.write_text(GREETING.format(text="one"))
    return path


async def greeting(server: Chatmaster) -> str | bytes:
    async with await RawSocket.open(server.url) as client:
        client.send_text("hello")
        return await client.read_message()


def generations(server: Chatmaster) -> list[int]:
    return [row["generation"] for row in server.status()["workers"]]


async def test_reload_brings_new_code_in_new_processes_of_the_same_master(chatmaster, app):
    server = chatmaster(str(app), workers=2)
    old = server.pids
    assert await greeting(server) == "one"
    app.write_text(GREETING.format(text="two"))
    done = server.ctl("reload")
    assert done.returncode == 0 and "generation 2" in done.stderr
    assert not any(processes.alive(pid) for pid in old)
    assert generations(server) == [2, 2] and server.states() == ["ready", "ready"]
    assert await greeting(server) == "two"
    assert [row["restarts"] for row in server.status()["workers"]] == [0, 0]


async def test_a_client_of_an_old_worker_stays_connected_and_is_served_by_the_new_one(chatmaster, app):
    server = chatmaster(str(app), workers=1)
    async with await RawSocket.open(server.url) as client:
        app.write_text(GREETING.format(text="two"))
        process = await asyncio.create_subprocess_exec(*server.command("reload"), env=server.environment)
        assert await process.wait() == 0
        client.send_text("still here")
        assert await client.read_message() == "two"


async def test_a_client_of_a_frozen_old_worker_is_cut_when_its_time_is_over(chatmaster, app):
    server = chatmaster(str(app), workers=1, settings={"master.stop_timeout": 1.5})
    async with await RawSocket.open(server.url) as client:
        processes.send(server.pids[0], signal.SIGSTOP)
        until(lambda: server.states() == ["stopped"])
        process = await asyncio.create_subprocess_exec(*server.command("reload"), env=server.environment)
        assert (await client.wait_closed()).code == 1006
        assert await process.wait() == 0
    assert server.states() == ["ready"]


# Only a worker notices the last two: the probe imports, but starts nothing.
_AT_START = GREETING.format(text="x") + "\n@worker.on_worker_start\ndef start(worker):\n    "
BROKEN = {
    "SyntaxError": "this is no Python",
    "nothing_of_that_name": "import nothing_of_that_name",
    "bad day": f"{_AT_START}raise ValueError('bad day')",
    "exit code 9": f"{_AT_START}import os; os._exit(9)",
}


async def test_a_broken_application_is_5_and_the_old_workers_stay(chatmaster, app):
    server = chatmaster(str(app), workers=2)
    old = server.pids
    for said, broken in BROKEN.items():
        app.write_text(broken)
        done = server.ctl("reload")
        assert done.returncode == ExitCode.NOT_READY and said in done.stderr
        assert server.pids == old and generations(server) == [1, 1]
        assert await greeting(server) == "one"
    # Nobody who served has died: that a new one did not get ready is told, and counted as no restart.
    status = server.status()
    assert [row["restarts"] for row in status["workers"]] == [0, 0] and status["totals"]["restarts"] == 0
    assert status["workers"][0]["last_exit"].startswith("generation 3 did not get ready: exit code 9")
    assert 0 <= status["workers"][0]["last_exit_age"] < 60
    assert status["master"]["last_crash"] is None and "last crash" not in server.ctl("status").stdout
    assert server.log().count("reload failed, as chatctl asked: ") == len(BROKEN)
    app.write_text(GREETING.format(text="two"))
    assert server.ctl("reload").returncode == 0
    assert await greeting(server) == "two"


def test_a_new_worker_that_is_not_ready_in_time_is_ended_and_the_old_one_stays(chatmaster, app):
    server = chatmaster(str(app), workers=2, settings={"master.ready_timeout": 2.0})
    old = server.pids
    late = "\n@worker.on_worker_start\nasync def start(worker):\n    import asyncio; await asyncio.sleep(3600)"
    app.write_text(GREETING.format(text="x") + late)
    reload = subprocess.Popen(server.command("reload"), env=server.environment, stderr=subprocess.PIPE, text=True)
    until(lambda: server.status()["master"]["state"] == "reloading")
    waited = server.ctl("scale", "2")
    assert waited.returncode == ExitCode.DONE and "waiting for reload to end" in waited.stderr
    _, said = reload.communicate(timeout=10)
    assert reload.returncode == ExitCode.NOT_READY and "not ready within 2 s" in said
    assert server.pids == old and server.states() == ["ready", "ready"]


def test_a_broken_configuration_is_2_and_named(chatmaster, app):
    server = chatmaster(str(app), workers=1)
    old = server.pids
    server.config_path.write_text("[limits]\nmesage_size = 1\n")
    done = server.ctl("reload")
    assert done.returncode == ExitCode.USAGE and "limits.mesage_size" in done.stderr and ":2" in done.stderr
    assert server.pids == old


def test_what_needs_a_restart_is_named_and_stays(chatmaster, app):
    server = chatmaster(str(app), workers=1)
    server.config_path.write_text('[store]\nurl = "redis://127.0.0.1:1/0"\n[master]\nuser = "nobody"\n')
    done = server.ctl("reload")
    assert done.returncode == 0
    assert "store.url needs a restart" in done.stderr and "master.user needs a restart" in done.stderr
    assert server.status()["store"]["pid"]


def test_other_workers_in_the_program_need_a_restart(chatmaster, app):
    server = chatmaster(str(app), workers=1)
    app.write_text(GREETING.format(text="x") + "\nother = Worker(name='other')\n")
    done = server.ctl("reload")
    assert done.returncode == ExitCode.FAILED and "other" in done.stderr and "restart" in done.stderr
    assert generations(server) == [1]


def test_hangup_reloads_and_a_storm_of_it_ends_well(chatmaster, app):
    server = chatmaster(str(app), workers=2)
    for _ in range(20):
        processes.send(server.pid, signal.SIGHUP)
    until(
        lambda: (
            server.log().count("reloaded, as SIGHUP asked: 2 workers of generation ") and generations(server) >= [2, 2]
        ),
        20,
    )
    assert until(lambda: server.status()["master"]["state"] == "ready", 20)
    assert server.status()["master"]["generation"] <= 4  # reloads that wait are one
    assert server.states() == ["ready", "ready"]


def test_the_configured_count_follows_a_reload_unless_it_was_scaled(chatmaster, app):
    server = chatmaster(str(app), start=False, config="[server]\nworkers = 1\n")
    server._start_arguments = lambda: [str(app), "-b", f"ws://127.0.0.1:{server.port}"]
    server.start()
    server.config_path.write_text("[server]\nworkers = 3\n")
    assert server.ctl("reload").returncode == 0
    assert server.states() == ["ready"] * 3
    assert server.ctl("scale", "2").returncode == 0
    assert server.ctl("reload").returncode == 0
    assert server.states() == ["ready"] * 2


async def test_no_connect_is_refused_or_reset_during_reloads_and_scalings(chatmaster, app):
    """Each client shakes hands, is answered, and may then be sent away: but never cut while it comes."""
    server = chatmaster(str(app), workers=2, settings={"master.drain_timeout": 0.2})
    stop, served, failed = asyncio.Event(), [], []

    async def come_again() -> None:
        while not stop.is_set():
            try:
                async with await RawSocket.open(server.url):
                    served.append(1)
            except Exception as error:
                failed.append(repr(error))

    clients = [asyncio.create_task(come_again()) for _ in range(8)]
    for command in (["reload"], ["scale", "+2"], ["reload"], ["scale", "1"], ["scale", "3"], ["reload"]):
        process = await asyncio.create_subprocess_exec(*server.command(*command), env=server.environment)
        assert await process.wait() == 0, command
    stop.set()
    await asyncio.gather(*clients)
    assert failed == []
    assert len(served) > 100
