"""chatctl against a running server: what each command prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tomllib
from collections.abc import Iterator

import pytest

from chatmaster.contract import ExitCode
from tests.support import processes
from tests.support.server import ROOT, Chatmaster
from tests.support.wait import until

ECHO = str(ROOT / "etc" / "examples" / "echo.py")


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    with Chatmaster(ECHO, workers=2) as running:
        yield running


@pytest.fixture
def instance() -> Iterator[Chatmaster]:
    """One that was not started; a detached master that a test started there is ended."""
    made = Chatmaster(ECHO)
    yield made
    assert made.ctl("stop", "--timeout", "0").returncode in (ExitCode.DONE, ExitCode.NOT_RUNNING)
    made.close()


def start_detached(instance: Chatmaster, *arguments: str) -> subprocess.CompletedProcess[str]:
    listen = f"ws://127.0.0.1:{instance.port}"
    return instance.ctl("start", "-d", "-n", "1", "-b", listen, "--set", "master.drain_timeout=1.0", *arguments)


# ---- against one that runs -------------------------------------------------------------------------


def test_status_is_for_people_and_as_json_for_programs(server):
    shown = server.ctl("status").stdout
    assert re.search(rf"^master  chat  pid {server.pid}  up \d", shown)
    assert re.search(r"^store   ready  unix:///", shown, re.MULTILINE)
    assert re.search(rf"^ +0 +{server.pids[0]} +ready +\d", shown, re.MULTILINE)
    status = server.status()
    assert set(status) == {"master", "store", "workers", "totals", "faults"}
    assert set(status["master"]) >= {"pid", "name", "version", "generation", "started", "uptime"}
    assert set(status["store"]) >= {"url", "state", "pid", "probe_ms"}
    assert set(status["workers"][0]) >= {
        "slot", "pid", "state", "generation", "uptime", "connections", "rooms", "messages_in", "messages_out",
        "deliveries", "in_rate", "out_rate", "dropped", "loop_lag_ms", "memory", "restarts", "last_exit",
    }  # fmt: skip


@pytest.mark.parametrize(("how", "begin"), [((), "master  chat"), (("--json",), '{"master": {')])
def test_watch_shows_it_again_until_it_is_interrupted(server, how, begin):
    watching = subprocess.Popen(
        server.command("status", "--watch", *how), cwd=ROOT, env=server.environment, stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    seen = 0
    while seen < 2:
        seen += watching.stdout.readline().startswith(begin)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(10) == 130
    watching.stdout.close()


@pytest.mark.parametrize(("command", "empty"), [("connections", "no connections\n"), ("rooms", "no rooms\n")])
def test_lists_that_are_empty_say_so(server, command, empty):
    assert server.ctl(command).stdout == empty
    assert server.ask(command) == []


def test_scale_by_number_and_by_sign(server):
    for count, workers in (("3", 3), ("-1", 2), ("+1", 3), ("2", 2)):
        assert server.ctl("scale", count).returncode == ExitCode.DONE
        assert server.states() == ["ready"] * workers


def test_more_workers_than_the_cores_can_run_are_warned_of(chatmaster):
    server = chatmaster(workers=1, prefix=("taskset", "-c", "0"))
    assert "warning" not in server.ctl("scale", "2").stderr
    done = server.ctl("scale", "3")
    assert done.returncode == ExitCode.DONE
    assert done.stderr.startswith("3 workers\nchatctl: warning: 3 workers on 1 core (1 by affinity")


def test_reload_says_which_generation_runs_and_what_needs_a_restart(server):
    before = server.status()["master"]["generation"]
    server.config_path.write_text('[master]\nname = "other"\n')
    done = server.ctl("--name", "chat", "reload")
    server.config_path.write_text("")
    assert done.returncode == ExitCode.DONE
    assert f"generation {before + 1}" in done.stderr
    assert "master.name needs a restart" in done.stderr


def test_a_broken_configuration_is_2_and_leaves_everything_running(server):
    before = server.pids
    server.config_path.write_text("[limits]\nburst = 0\n")
    done = server.ctl("reload")
    server.config_path.write_text("")
    assert done.returncode == ExitCode.USAGE
    assert f"{server.config_path}:2: limits.burst is 0; allowed: a whole number, 1 or more" in done.stderr
    assert server.pids == before


def test_config_says_that_it_is_not_what_runs_and_where_that_differs(chatmaster):
    settings = {"limits.rate": 7.0, "auth.secret": "0123456789abcdef0123456789abcdef", "http.origins": ["*"]}
    server = chatmaster(workers=1, settings=settings, config="[store]\ntimeout = 4.0\n")
    as_it_runs = [part for key, value in server.settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    as_it_runs += ["--set", f'server.listen=["ws://127.0.0.1:{server.port}"]', "--set", "server.workers=1"]
    assert [row["key"] for row in server.ask("config", *as_it_runs) if "running" in row] == []
    assert "runs with" not in server.ctl("config", *as_it_runs).stdout
    server.config_path.write_text("[store]\ntimeout = 3.0\n")
    rows = {row["key"]: row for row in server.ask("config", *as_it_runs[:-2], "--set", "limits.rate=8")}
    assert {key: (row["value"], row["running"]) for key, row in rows.items() if "running" in row} == {
        "store.timeout": (3.0, 4.0), "limits.rate": (8.0, 7.0), "server.workers": (0, 1),
    }  # fmt: skip
    other = server.ctl("config", *as_it_runs, "--set", "auth.secret=fedcba9876543210fedcba9876543210").stdout
    assert "fedcba" not in other and other.count("\n# runs with ") == 2  # the secret, and what the file has changed
    done = server.ctl("config")
    assert done.stdout.startswith("# The settings that a start from here would use")
    assert re.search(r'^secret = "" .*\n# runs with secret = "\*\*\*"$', done.stdout, re.MULTILINE)
    assert re.search(r"^timeout = 3.0 .*\n# runs with timeout = 4.0$", done.stdout, re.MULTILINE)
    assert settings["auth.secret"] not in done.stdout
    assert tomllib.loads(done.stdout)["store"]["timeout"] == 3.0
    assert server.ctl("scale", "2").returncode == ExitCode.DONE
    assert "# runs with workers = 2" in server.ctl("config", *as_it_runs).stdout
    assert server.ctl("reload").returncode == ExitCode.DONE
    assert "timeout = 4.0" not in server.ctl("config").stdout


def test_a_second_start_is_4_and_names_the_first(server):
    for how in ([], ["-d"]):
        done = server.ctl("start", ECHO, *how)
        assert done.returncode == ExitCode.ALREADY_RUNNING
        assert str(server.pid) in done.stderr


# ---- starting --------------------------------------------------------------------------------------


def test_start_in_the_background_returns_when_it_serves_and_says_where(instance):
    done = start_detached(instance, ECHO)
    assert done.returncode == ExitCode.DONE
    pid = instance.status()["master"]["pid"]
    assert done.stdout == ""
    assert f"chat is running: ws://127.0.0.1:{instance.port}/  (pid {pid})" in done.stderr  # the echo has no page
    assert f"--state-dir {instance.state_dir} stop" in done.stderr
    assert os.getsid(pid) == pid
    assert instance.states() == ["ready"]
    log = (instance.state_dir / "chat.log").read_text()
    assert "ready, generation 1" in log
    assert instance.ctl("stop").returncode == ExitCode.DONE
    until(lambda: not processes.alive(pid), what="the master, whose parent is init, was waited for")


def test_restart_keeps_the_pid_and_stays_in_the_background(instance):
    start_detached(instance, ECHO)
    before = instance.status()
    done = instance.ctl("restart")
    assert done.returncode == ExitCode.DONE, done.stderr
    assert "chat is running" in done.stderr
    after = instance.status()
    assert after["master"]["pid"] == before["master"]["pid"]
    assert after["workers"][0]["pid"] != before["workers"][0]["pid"]
    assert after["master"]["started"] > before["master"]["started"]


def test_an_application_that_cannot_be_loaded_is_5_with_its_traceback(instance):
    (instance.directory / "broken.py").write_text("import nothing_of_that_name\n")
    app = f"{instance.directory}/broken.py"
    for how in (start_detached(instance, app), instance.ctl("check", app)):
        assert how.returncode == ExitCode.NOT_READY
        assert "No module named 'nothing_of_that_name'" in how.stderr


def test_a_port_in_use_is_1_with_the_port(instance, server):
    done = start_detached(instance, ECHO, "-b", f"ws://127.0.0.1:{server.port}")
    assert done.returncode == ExitCode.FAILED
    assert str(server.port) in done.stderr


def test_a_store_that_cannot_be_reached_is_6_in_one_sentence(instance):
    done = start_detached(instance, ECHO, "--set", "store.url=redis://:hunter2@127.0.0.1:1/0")
    assert done.returncode == ExitCode.STORE_UNREACHABLE
    (line,) = done.stderr.splitlines()
    assert "Connection refused" in line
    assert "hunter2" not in line


def test_a_master_that_dies_before_it_is_ready_is_told_with_the_end_of_its_log(instance):
    (instance.directory / "slow.py").write_text("import time\ntime.sleep(60)\n")
    starting = subprocess.Popen(
        instance.command("start", "-d", f"{instance.directory}/slow.py"),
        cwd=ROOT, env=instance.environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    pid_file = instance.state_dir / "chat.pid"
    pid = int(until(lambda: pid_file.exists() and pid_file.read_text().strip(), what="the master has its pid file"))
    processes.send(pid, signal.SIGKILL)
    _, err = starting.communicate(timeout=30)
    assert starting.returncode == ExitCode.FAILED
    assert "was killed by SIGKILL before it was ready" in err


def test_the_chat_is_announced_by_the_url_of_its_page_and_a_program_by_that_of_its_websocket(tmp_path):
    for page, url in (("true", "http"), ("false", "ws")):
        instance = Chatmaster()
        try:
            done = start_detached(instance, "--set", f"http.page={page}")
            assert f"chat is running: {url}://127.0.0.1:{instance.port}/ " in done.stderr
            assert instance.ctl("stop", "--timeout", "0").returncode == ExitCode.DONE
        finally:
            instance.close()


def test_check_tries_the_store_where_that_is_wanted(instance, redis_server):
    done = instance.ctl("check", ECHO)
    assert "store: not tried; --store tries it" in done.stderr
    assert "store: good (embedded, " in instance.ctl("check", "--store", ECHO).stderr
    there = redis_server()
    done = instance.ctl("check", "--store", ECHO, "--set", f"store.url={there.url}")
    assert (done.returncode, "store: good (" in done.stderr) == (ExitCode.DONE, True)
    done = instance.ctl("check", "--store", ECHO, "--set", "store.url=redis://u:hunter2@127.0.0.1:1/0")
    assert done.returncode == ExitCode.STORE_UNREACHABLE
    assert "redis://127.0.0.1:1/0: Connection refused" in done.stderr and "hunter2" not in done.stderr


def test_check_says_what_would_run(instance):
    done = instance.ctl("check", ECHO)
    assert done.returncode == ExitCode.DONE
    assert f"configuration: good ({instance.config_path})" in done.stderr
    assert instance.ask("check", ECHO, "--set", "server.workers=3") == [
        {"worker": "echo", "listen": ["ws://127.0.0.1:8000"], "count": 3}
    ]


def test_the_foreground_says_where_it_is_on_stderr_and_ends_with_ctrl_c(instance):
    listen = f"ws://127.0.0.1:{instance.port}"
    master = subprocess.Popen(
        instance.command("start", ECHO, "-n", "1", "-b", listen),
        cwd=ROOT, env=instance.environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert master.stderr is not None
    while "is running: ws://127.0.0.1" not in (line := master.stderr.readline()):
        assert line, "it ended"
    master.send_signal(signal.SIGINT)
    assert master.wait(20) == ExitCode.DONE
    master.stderr.close()


def test_logs_as_json_are_json_only(instance):
    done = start_detached(instance, ECHO, "--set", "log.format=json")
    assert done.returncode == 0
    for line in (instance.state_dir / "chat.log").read_text().splitlines():
        assert json.loads(line)["process"]


def test_a_stop_that_runs_out_of_time_is_7_and_is_carried_out_all_the_same(instance):
    start_detached(instance, ECHO)
    pid = instance.status()["master"]["pid"]
    processes.send(pid, signal.SIGSTOP)
    try:
        assert instance.ctl("stop", "--timeout", "0.3").returncode == ExitCode.TIMED_OUT
    finally:
        processes.send(pid, signal.SIGCONT)
    until(lambda: not processes.alive(pid), what="the master is gone")
