"""Stopping, restarting, scaling and the signals, with real clients."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
import redis

from chatmaster.contract import ExitCode
from tests.support import processes
from tests.support.server import ROOT, Chatmaster, wait_for_exit
from tests.support.wait import until
from tests.support.ws import RawSocket

OBEDIENT = "tests/integration/programs/obedient.py"


def everyone(server: Chatmaster) -> list[int]:
    return [server.pid, server.store_pid, *server.pids]


def gone(pids: list[int]) -> bool:
    return not any(processes.alive(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_everything_and_tells_the_clients(chatmaster, number):
    server = chatmaster(OBEDIENT, workers=2)
    pids = everyone(server)
    async with await RawSocket.open(server.url) as client:
        os.kill(server.pid, number)
        assert (await client.wait_closed()).code == 1001
    assert wait_for_exit(server.process) == 0
    assert gone(pids)
    assert {path.name for path in server.state_dir.iterdir()} == {"chat.store"}


def test_chatctl_stop_returns_when_it_is_all_gone(chatmaster):
    server = chatmaster(OBEDIENT, workers=2)
    pids = everyone(server)
    assert server.ctl("stop").returncode == 0
    assert wait_for_exit(server.process) == 0 and gone(pids)
    assert server.ctl("stop").returncode == ExitCode.NOT_RUNNING
    assert server.ctl("status").returncode == ExitCode.NOT_RUNNING


async def test_quit_waits_for_the_clients(chatmaster):
    server = chatmaster(OBEDIENT, workers=1, settings={"master.stop_timeout": 1.0})
    async with await RawSocket.open(server.url) as client:
        os.kill(server.pid, signal.SIGQUIT)
        until(lambda: server.states() == ["draining"])
        uptime = server.status()["workers"][0]["uptime"]
        until(lambda: server.status()["workers"][0]["uptime"] > uptime + 1.5)  # well past stop_timeout
        client.send_text("pid")
        assert await client.read_message() == str(server.pids[0])
        await client.close()
    assert wait_for_exit(server.process) == 0


async def test_a_graceful_stop_can_have_a_deadline_after_which_clients_are_sent_away(chatmaster):
    server = chatmaster(OBEDIENT, workers=1)
    async with await RawSocket.open(server.url) as client:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *server.command("stop", "--graceful", "--timeout", "1.5"), env=server.environment
        )
        assert (await client.wait_closed()).code == 1001
        assert 1.5 < time.monotonic() - began < 10
        assert await process.wait() == ExitCode.DONE
    assert wait_for_exit(server.process) == 0


def test_a_worker_that_does_not_go_is_killed_after_stop_timeout(chatmaster):
    server = chatmaster(OBEDIENT, workers=2, settings={"master.stop_timeout": 1.5})
    pids = everyone(server)
    os.kill(server.pids[0], signal.SIGSTOP)
    began = time.monotonic()
    assert server.stop() == 0
    assert 1.4 < time.monotonic() - began < 8 and gone(pids)


def test_a_second_interrupt_does_not_wait(chatmaster):
    server = chatmaster(OBEDIENT, workers=1, settings={"master.stop_timeout": 60.0})
    os.kill(server.pids[0], signal.SIGSTOP)
    os.kill(server.pid, signal.SIGINT)
    until(lambda: server.status()["master"]["state"] == "stopping")
    os.kill(server.pid, signal.SIGINT)
    assert wait_for_exit(server.process) == 0


def test_a_frozen_store_does_not_keep_the_master(chatmaster):
    server = chatmaster(OBEDIENT, workers=1, settings={"store.timeout": 1.0})
    pids = everyone(server)
    os.kill(server.store_pid, signal.SIGSTOP)
    assert server.stop() == 0 and gone(pids)


def test_the_store_is_stopped_last(chatmaster):
    server = chatmaster(OBEDIENT, workers=1, settings={"master.stop_timeout": 2.0})
    store = server.store_pid
    os.kill(server.pids[0], signal.SIGSTOP)
    os.kill(server.pid, signal.SIGTERM)
    until(lambda: server.status()["master"]["state"] == "stopping")
    assert processes.alive(store)
    assert wait_for_exit(server.process) == 0


# ---- restart ---------------------------------------------------------------------------------------


async def test_restart_keeps_pid_and_accept_queue_and_comes_with_new_settings(chatmaster):
    server = chatmaster(OBEDIENT, workers=2)
    before = {"workers": server.pids, "store": server.store_pid, "started": server.status()["master"]["started"]}
    inodes = _sockets_of(server)
    server.config_path.write_text("[limits]\nmessage_size = 1234\n")
    stop, failed, served = asyncio.Event(), [], []

    async def come_again() -> None:
        while not stop.is_set():
            try:
                async with await RawSocket.open(server.url):
                    served.append(1)
            except Exception as error:
                failed.append(repr(error))

    clients = [asyncio.create_task(come_again()) for _ in range(4)]
    process = await asyncio.create_subprocess_exec(*server.command("restart"), env=server.environment)
    assert await process.wait() == 0
    stop.set()
    await asyncio.gather(*clients)
    assert failed == [] and served
    assert server.running and server.status()["master"]["pid"] == server.pid
    assert server.status()["master"]["started"] > before["started"]
    assert gone([*before["workers"], before["store"]])
    assert server.states() == ["ready", "ready"]
    assert _sockets_of(server) >= inodes
    assert (server.state_dir / "chat.pid").read_text() == f"{server.pid}\n"
    assert server.stop() == 0
    assert not (server.state_dir / "chat.pid").exists()


def test_restart_with_a_broken_configuration_changes_nothing(chatmaster):
    server = chatmaster(OBEDIENT, workers=1)
    pids = server.pids
    server.config_path.write_text("[limits]\nmesage_size = 1\n")
    assert server.ctl("restart").returncode == ExitCode.USAGE
    assert server.pids == pids and server.states() == ["ready"]


def test_restart_after_restart(chatmaster):
    server = chatmaster(OBEDIENT, workers=1)
    for _ in range(2):
        assert server.ctl("restart").returncode == 0
    descriptors = processes.descriptors(server.pid)
    assert server.ctl("restart").returncode == 0
    until(lambda: len(processes.descriptors(server.pid)) <= len(descriptors), what="chatctl's own connection is closed")


async def connect_many(server: Chatmaster, count: int) -> None:
    for _ in range(count):
        async with await RawSocket.open(server.url) as client:
            client.send_text("pid")
            assert await client.read_message() == str(server.pids[0])


# ---- scaling and other signals ---------------------------------------------------------------------


def test_scale_ends_when_they_are_ready_or_gone(chatmaster):
    server = chatmaster(OBEDIENT, workers=2)
    assert server.ctl("scale", "4").returncode == 0
    assert server.states() == ["ready"] * 4
    four = server.pids
    assert server.ctl("scale", "-3").returncode == 0
    assert server.pids == four[:1] and gone(four[1:])
    assert server.ctl("scale", "+1").returncode == 0
    assert server.states() == ["ready"] * 2
    for wrong in ("0", "-7", "100000"):
        assert server.ctl("scale", wrong).returncode == ExitCode.USAGE
    assert server.states() == ["ready"] * 2


async def test_the_queue_of_a_slot_that_was_scaled_away_is_served(chatmaster):
    server = chatmaster(OBEDIENT, workers=4)
    assert server.ctl("scale", "1").returncode == 0
    await connect_many(server, 40)  # the kernel spreads them over all four sockets
    os.kill(server.pids[0], signal.SIGKILL)
    await connect_many(server, 40)


def test_ttin_and_ttou_scale_by_one(chatmaster):
    server = chatmaster(OBEDIENT, workers=1)
    os.kill(server.pid, signal.SIGTTIN)
    until(lambda: server.states() == ["ready", "ready"])
    os.kill(server.pid, signal.SIGTTOU)
    until(lambda: server.states() == ["ready"])
    os.kill(server.pid, signal.SIGTTOU)
    until(lambda: "scale failed, as SIGTTOU asked: allowed: 1 to " in server.log())
    assert server.states() == ["ready"]
    assert "scaled, as SIGTTIN asked: 2 workers, after " in server.log()
    assert server.stop() == 0
    lines = server.log().splitlines()
    assert "stopping, as SIGTERM asked" in "".join(lines) and lines[-1].endswith(": stopped")


def test_usr1_opens_the_log_again(chatmaster, tmp_path):
    path = tmp_path / "server.log"
    server = chatmaster(OBEDIENT, workers=1, settings={"log.file": str(path)})
    path.rename(tmp_path / "rotated.log")
    os.kill(server.pid, signal.SIGUSR1)
    until(path.exists)
    os.kill(server.pids[0], signal.SIGKILL)
    until(lambda: "killed by SIGKILL" in path.read_text())
    assert "killed by SIGKILL" not in (tmp_path / "rotated.log").read_text()


def test_usr2_executes_the_program_again_and_replaces_its_workers(chatmaster):
    server = chatmaster(OBEDIENT, workers=1)
    os.kill(server.pid, signal.SIGUSR2)
    until(lambda: "upgraded, as SIGUSR2 asked: chatmaster" in server.log(), 30)
    assert server.states() == ["ready"] and server.status()["master"]["generation"] == 2


# ---- the store -------------------------------------------------------------------------------------


def test_a_killed_store_is_restarted_and_the_workers_stay(chatmaster):
    server = chatmaster(OBEDIENT, workers=2)
    pids, store = server.pids, server.store_pid
    os.kill(store, signal.SIGKILL)
    until(lambda: server.status()["store"].get("pid") not in (None, store))
    until(lambda: server.status()["store"]["state"] == "ready")
    assert server.pids == pids and server.states() == ["ready", "ready"]
    # One line of each worker when it is lost and one when it is back, however many connections each has.
    until(lambda: server.log().count("connected to the store again, after") == 2)
    assert server.log().count("the connection to the store is lost") == 2
    assert "the store was killed by SIGKILL; the store is restarted" in server.log()


def test_a_store_that_lives_but_does_not_answer_is_replaced(chatmaster):
    server = chatmaster(OBEDIENT, workers=1, settings={"master.hang_timeout": 1.5})
    pids, store = server.pids, server.store_pid
    with redis.Redis.from_url(server.status()["store"]["url"], protocol=2) as client:
        client.execute_command("CLIENT", "PAUSE", 3_600_000, "ALL")
    until(lambda: server.status()["store"].get("pid") not in (None, store), 20)
    until(lambda: server.status()["store"]["state"] == "ready")
    assert "the store hangs: no answer for 3 s" in server.log()
    assert server.pids == pids


def test_a_worker_that_starts_without_the_store_serves_all_the_same(chatmaster, redis_server):
    store = redis_server()
    server = chatmaster(OBEDIENT, workers=1, settings={"store.url": store.url})
    store.kill()
    os.kill(server.pids[0], signal.SIGKILL)
    until(lambda: server.status()["workers"][0]["restarts"] == 1 and server.states() == ["ready"], 20)


def _sockets_of(server: Chatmaster) -> set[str]:
    found = processes.descriptors(server.pid).values()
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    listening = {f"socket:[{row[9]}]" for row in rows if row[1] == f"0100007F:{server.port:04X}" and row[3] == "0A"}
    return listening & set(found)


async def test_after_scaling_down_and_a_restart_every_accept_queue_is_served(chatmaster):
    server = chatmaster(str(ROOT / "etc" / "examples" / "echo.py"), workers=2)
    for order in (("scale", "4"), ("scale", "2"), ("restart",)):
        done = server.ctl(*order)
        assert done.returncode == 0, done.stderr
    for _ in range(16):
        async with await RawSocket.open(server.url) as client:
            client.send_text("in")
            assert await client.read_message() == "in"
