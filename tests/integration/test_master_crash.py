"""Deaths, hangs and stops of workers, and the death of the master: what is replaced, what is left alone, what goes."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any

import pytest

from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.wait import until
from tests.support.ws import Closed, RawSocket

OBEDIENT = "tests/integration/programs/obedient.py"
HANG_TIMEOUT = 2.0


def worker(server: Chatmaster, slot: int) -> dict[str, Any]:
    """The row of the slot's one process."""
    rows: list[dict[str, Any]] = [row for row in server.status()["workers"] if row["slot"] == slot]
    return rows[-1]


def wait_for_restarts(server: Chatmaster, count: int) -> None:
    until(lambda: worker(server, 0)["restarts"] == count)


async def connection_to(server: Chatmaster, pid: int) -> RawSocket:
    """A connection that this worker serves."""
    for _ in range(100):
        client = await RawSocket.open(server.url)
        client.send_text("pid")
        if await client.read_message() == str(pid):
            return client
        client.abort()
    raise AssertionError(f"no connection came to worker {pid}")


def test_a_killed_worker_is_replaced_at_once(chatmaster):
    server = chatmaster(OBEDIENT, workers=2)
    first, second = server.pids
    began = time.monotonic()
    os.kill(first, signal.SIGKILL)
    until(lambda: worker(server, 0)["pid"] not in (first, None) and worker(server, 0)["state"] == "ready")
    assert time.monotonic() - began < 5
    row = worker(server, 0)
    assert (row["restarts"], row["last_exit"], row["generation"]) == (1, "killed by SIGKILL", 1)
    assert server.pids[1] == second


async def test_nobody_is_refused_while_a_worker_is_replaced(chatmaster):
    server = chatmaster(OBEDIENT, workers=1)
    os.kill(server.pids[0], signal.SIGKILL)
    async with await RawSocket.open(server.url) as client:  # it waits in the accept queue, which is the master's
        client.send_text("pid")
        assert int(await client.read_message()) != 0


@pytest.mark.parametrize(("order", "words"), [("exit", "exit code 3"), ("crash", "killed by SIGSEGV")])
async def test_a_worker_that_ends_by_itself_is_replaced(chatmaster, order, words):
    server = chatmaster(OBEDIENT, workers=1)
    async with await RawSocket.open(server.url) as client:
        client.send_text(order)
        with pytest.raises(Closed):
            await client.read_message()
    until(lambda: worker(server, 0)["restarts"] == 1 and worker(server, 0)["state"] == "ready")
    assert worker(server, 0)["last_exit"] == words
    crash = server.status()["master"]["last_crash"]
    assert (crash["slot"], crash["generation"], crash["how"]) == (0, 1, words) and 0 <= crash["age"] < 60
    shown = server.ctl("status").stdout
    assert re.search(rf"^last crash: \d+s ago, worker 0 \(generation 1\): {words}$", shown, re.MULTILINE)
    assert re.search(rf"{words}, \d+s ago$", shown, re.MULTILINE)


def test_the_third_quick_death_waits(chatmaster):
    server = chatmaster(OBEDIENT, workers=1)
    for deaths in (1, 2, 3):
        until(lambda: worker(server, 0)["state"] == "ready" and worker(server, 0)["pid"])
        os.kill(server.pids[0], signal.SIGKILL)
        wait_for_restarts(server, deaths)
    assert worker(server, 0)["pid"] is None
    assert "its replacement starts in 1 s" in server.log()
    until(lambda: worker(server, 0)["state"] == "ready" and worker(server, 0)["pid"])


async def test_a_hung_worker_is_found_shows_its_stack_and_is_replaced(chatmaster):
    server = chatmaster(OBEDIENT, workers=2, settings={"master.hang_timeout": HANG_TIMEOUT})
    hung, other = server.pids
    async with await connection_to(server, hung) as client:
        began = time.monotonic()
        client.send_text("hang")
        await client.drain()
        until(lambda: worker(server, 0)["restarts"] == 1 and worker(server, 0)["state"] == "ready", 20)
    assert HANG_TIMEOUT - 0.6 < time.monotonic() - began < HANG_TIMEOUT + 6
    assert worker(server, 0)["last_exit"] == "hung: killed by SIGABRT"
    log = server.log()
    assert "hangs: no sign of life" in log and "in hang_here" in log
    assert server.pids[1] == other


def test_a_stopped_worker_stays_and_goes_on(chatmaster):
    server = chatmaster(OBEDIENT, workers=2, settings={"master.hang_timeout": 1.0})
    stopped, other = server.pids
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: worker(server, 0)["state"] == "stopped")
    uptime = worker(server, 1)["uptime"]
    until(lambda: worker(server, 1)["uptime"] > uptime + 2.5)  # well past hang_timeout: it was never judged
    assert worker(server, 0)["state"] == "stopped" and server.pids == [stopped, other]
    os.kill(stopped, signal.SIGCONT)
    until(lambda: worker(server, 0)["state"] == "ready")
    assert server.pids == [stopped, other] and worker(server, 0)["restarts"] == 0


def test_a_stopped_worker_that_is_killed_is_replaced(chatmaster):
    server = chatmaster(OBEDIENT, workers=1)
    stopped = server.pids[0]
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: worker(server, 0)["state"] == "stopped")
    os.kill(stopped, signal.SIGKILL)
    until(lambda: worker(server, 0)["pid"] not in (stopped, None) and worker(server, 0)["state"] == "ready")


def test_signals_of_a_terminal_or_supervisor_do_not_end_workers(chatmaster):
    server = chatmaster(OBEDIENT, workers=1)
    (pid,) = server.pids
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    assert os.getpgid(pid) == pid != os.getpgid(server.pid)
    row = worker(server, 0)
    until(lambda: worker(server, 0)["uptime"] > row["uptime"] + 1)
    assert server.pids == [pid]


def test_when_the_master_is_killed_all_are_gone_and_the_next_start_works(chatmaster):
    server = chatmaster(OBEDIENT, workers=3)
    everyone = [*server.pids, server.store_pid]
    # A frozen store ignores everything but SIGKILL.
    os.kill(server.store_pid, signal.SIGSTOP)
    os.kill(everyone[0], signal.SIGSTOP)
    server.kill()
    until(lambda: not any(processes.alive(pid) for pid in everyone), 2.0)
    assert (server.state_dir / "chat.pid").exists() and (server.state_dir / "chat.sock").exists()
    killed = server.pid
    server.start()
    assert server.states() == ["ready"] * 3
    assert f"the last master (pid {killed}) did not end properly: it was killed" in server.log()
    # At once, too, while the old workers may still hold the port.
    server.kill()
    server.start()
    assert server.states() == ["ready"] * 3
    told = server.log().count("did not end properly")
    server.stop()
    server.start()
    assert server.log().count("did not end properly") == told == 2  # an orderly end is not one of these


def test_a_worker_above_its_memory_is_replaced_new_before_old(chatmaster):
    server = chatmaster(OBEDIENT, workers=1, settings={"server.max_memory": 1_000_000})
    old = server.pids[0]
    until(lambda: "is replaced: it has" in server.log() and "has ended as ordered: replaced" in server.log(), 20)
    assert not processes.alive(old) and worker(server, 0)["restarts"] == 0
