"""`chatctl doctor` beside a running server: it is the server that is looked at, not the shell of the caller."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from typing import Any

from tests.support.server import Chatmaster
from tests.support.wait import until


def doctor(server: Chatmaster, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = server.ctl("doctor", "--json", *arguments)
    return done.returncode, {row["what"]: row for row in json.loads(done.stdout)}


def test_the_servers_own_limit_counts_and_not_that_of_the_shell(chatmaster):
    server = chatmaster(workers=1, prefix=("prlimit", "--nofile=256:256"))
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 256
    code, found = doctor(server)
    assert code == 0
    assert found["file limit"]["found"].startswith("256 open files for each process")
    assert (found["file limit"]["where"], found["file limit"]["level"]) == ("the running server", "warning")


def test_the_store_that_the_server_uses_is_the_one_that_is_asked(chatmaster, redis_server):
    store = redis_server(options=("--appendonly", "no", "--save", ""))
    server = chatmaster(workers=1, settings={"store.url": store.url})
    code, found = doctor(server)  # whose own configuration says: embedded
    assert code == 0
    assert "embedded" not in found["store"]["found"] and found["store"]["where"] == "the store"
    assert (found["durability"]["level"], found["durability"]["found"]) == ("warning", "memory only")
    store.kill()
    until(lambda: doctor(server)[0] == 1, 20.0, "doctor sees it")
    assert doctor(server)[1]["store"]["level"] == "wrong"


def test_a_setting_that_a_running_server_does_not_take_is_named(chatmaster):
    server = chatmaster(workers=1)
    assert "--set" not in doctor(server)[1]
    code, found = doctor(server, "--set", "limits.connections=5", "--set", "auth.secret=0123456789abcdef-hunter2")
    assert (code, found["--set"]["level"], found["--set"]["where"]) == (0, "warning", "this shell")
    assert found["--set"]["found"].startswith("limits.connections, auth.secret not applied")
    assert "--set" not in doctor(server, "--set", "master.name=chat")[1]  # which names the server
    assert "--set" not in doctor(server, "--name", "other", "--set", "limits.connections=5")[1]  # which does not run


def test_a_store_that_does_not_answer_is_wrong_and_exit_1(chatmaster):
    server = chatmaster(workers=1)
    assert doctor(server)[1]["store"]["level"] == "good"
    pid = server.store_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: server.status()["store"]["state"] == "away", 20.0, "the master knows")
        code, found = doctor(server)
        assert code == 1
        assert "it was stopped by a signal" in found["store"]["found"]
        assert found["fault"]["found"].startswith("the store is away for ")
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: doctor(server)[0] == 0, 20.0, "it is well again")


def test_advice_is_no_tick_and_every_line_says_what_was_looked_at(chatmaster):
    server = chatmaster(workers=1)
    for found in (doctor(server)[1], doctor(server, "--name", "another")[1]):
        for row in found.values():
            assert row["where"] in ("the running server", "the store", "this machine", "this shell"), row
            assert not (row["advice"] and row["level"] == "good"), row
    assert {row["where"] for row in found.values()} <= {"this shell", "this machine", "the store"}
    assert "the running server" in server.ctl("doctor").stdout


def test_cores_are_those_of_affinity_and_control_group(chatmaster):
    server = chatmaster(workers=1, prefix=("taskset", "-c", "0"))
    assert "1 worker, 1 core to use (1 by affinity" in doctor(server)[1]["cores"]["found"]
    alone = subprocess.run(
        ["taskset", "-c", "0", *server.command("check", "--json", "--set", "server.workers=0")],
        env=server.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(alone.stdout)[0]["count"] == 1
