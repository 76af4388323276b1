"""`chatctl status` of a server with something wrong: it says what, why and for how long; `--check` ends with 1."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.wait import until


def faults(server: Chatmaster) -> dict[str, dict[str, Any]]:
    return {row["what"]: row for row in server.status()["faults"]}


def test_a_good_server_has_no_faults_and_says_what_it_is(chatmaster):
    server = chatmaster(workers=2)
    told = server.status()
    assert server.ctl("status", "--check").returncode == 0
    assert told["faults"] == []
    assert all(row["memory"] > 1_000_000 for row in told["workers"]), "memory is known at once"
    master = told["master"]
    assert (master["application"], master["config_file"]) == ("workers.chat:worker", str(server.config_path))
    assert master["state_dir"] == str(server.state_dir) and os.path.isdir(master["program"])
    assert told["store"]["restarts"] == 0 and told["store"]["memory"] > 0 and told["store"]["disk_free"] > 0
    shown = server.ctl("status").stdout
    for word in ("application workers.chat:worker", f"configuration {server.config_path}", "log standard error"):
        assert word in shown


def test_a_store_that_is_stopped_is_a_fault_with_cause_and_duration(chatmaster):
    server = chatmaster(workers=1)
    store = server.store_pid
    os.kill(store, signal.SIGSTOP)
    try:
        until(lambda: "the store is away" in faults(server), 20.0, "it is seen")
        first = faults(server)["the store is away"]
        assert first["why"] == "it was stopped by a signal and waits for SIGCONT"
        until(lambda: faults(server)["the store is away"]["seconds"] > first["seconds"] + 1, 20.0, "the time goes on")
        done = server.ctl("status", "--check")
        assert done.returncode == 1
        assert "✗ the store is away for " in done.stdout and "stopped by a signal" in done.stdout
        assert json.loads(server.ctl("status", "--check", "--json").stdout)["faults"]
    finally:
        os.kill(store, signal.SIGCONT)
    until(lambda: not faults(server), 20.0, "it is over")


def test_a_store_that_cannot_start_again_says_why_and_since_when(chatmaster):
    server = chatmaster(workers=1)
    log = server.state_dir / "chat.store" / "appendonlydir"
    aside = log.rename(log.parent / "aside")
    log.write_text("no directory")
    began = time.monotonic()
    processes.send(server.store_pid, signal.SIGKILL)

    def told() -> dict[str, Any]:
        status = server.status()
        return status["store"] if status["store"]["restarts"] >= 2 and status["store"]["state"] != "ready" else {}

    store = until(told, 30.0, "it has died twice") or {}
    assert "append" in store["reason"].lower(), store
    assert 0 < store["state_age"] <= time.monotonic() - began + 1
    assert server.ctl("status", "--check").returncode == 1
    log.unlink()
    aside.rename(log)
    until(lambda: not faults(server), 60.0, "it is over")
    assert server.status()["store"]["restarts"] >= 2


def test_a_reload_that_failed_is_a_fault_until_one_succeeds(chatmaster):
    server = chatmaster(workers=1)
    server.config_path.write_text("[limits]\nburst = 'many'\n")
    assert server.ctl("reload").returncode == 2
    (row,) = server.status()["faults"]
    assert row["what"] == "the last reload failed: the server runs as before" and "limits.burst" in row["why"]
    server.config_path.write_text("")
    assert server.ctl("reload").returncode == 0
    assert server.status()["faults"] == []


def test_a_worker_that_paused_accepting_is_a_fault(chatmaster):
    server = chatmaster(workers=1, prefix=("prlimit", "--nofile=96:96"))
    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(96)]
    try:
        until(lambda: "worker 0 has paused accepting" in faults(server), 20.0, "it is seen")
        row = faults(server)["worker 0 has paused accepting"]
        assert " of 96 descriptors are in use" in row["why"] and row["seconds"] is not None
        assert "paused" in server.ctl("status").stdout
    finally:
        for sock in sockets:
            sock.close()
    until(lambda: not faults(server), 30.0, "it goes on")


def test_uptime_does_not_follow_the_wall_clock(chatmaster, redis_server, tmp_path):
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("libfaketime is not installed")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    settings = {"store.url": redis_server().url}  # libfaketime breaks the wheel's server
    server = chatmaster(workers=1, environment=environment, settings=settings)
    began = time.monotonic() - 60  # it has not run for longer
    clock.write_text("+2h")
    until(lambda: server.status()["workers"][0]["pid"], 10.0, "it answers")
    for hours in ("+2h", "-2h"):
        clock.write_text(hours)
        told = server.status()
        for uptime in (told["master"]["uptime"], told["workers"][0]["uptime"]):
            assert 0 < uptime < time.monotonic() - began
