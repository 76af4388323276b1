"""chatctl as far as it goes without a master: its options, its exit codes, what it prints."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import jwt
import pytest

from chatmaster import __version__
from chatmaster.cli import check, instance, main
from chatmaster.config.formatting import without_password
from chatmaster.contract import ExitCode

ROOT = Path(__file__).parents[3]
SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path


def test_version(capsys):
    assert main.run(["version"]) == ExitCode.DONE
    told = capsys.readouterr().out
    assert told.startswith(f"chatmaster {__version__} ")
    assert main.run(["--version"]) == ExitCode.DONE
    assert capsys.readouterr().out == told
    assert main.run(["version", "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["chatmaster"] == __version__


def test_one_worker_is_no_workers(capsys, home):
    assert main.run(["check", "--set", "server.workers=1"]) == 0
    assert capsys.readouterr().out.endswith(", 1 worker\n")


def test_a_hint_names_chatctl_as_it_was_called(capsys, monkeypatch):
    monkeypatch.setenv("_CHATMASTER_COMMAND", "bin/chatctl")
    assert instance.command() == "bin/chatctl"


@pytest.mark.parametrize(
    "command",
    [
        ["status"], ["stop"], ["restart"], ["reload"], ["scale", "-1"], ["connections"], ["rooms"], ["who", "lobby"],
        ["tail", "lobby"], ["say", "lobby", "hi"], ["kick", "ann"], ["audit"],
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_without_a_master_every_command_that_needs_one_says_so(command, capsys):
    assert main.run(command) == ExitCode.NOT_RUNNING
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("chatctl: chat is not running")


@pytest.mark.parametrize(
    "command",
    [
        ["fly"], [], ["start", "--fly"], ["scale", "many"], ["scale"], ["token", "ann"],
        ["start", "--set", "server.workers=four"], ["check", "--set", "nonsense"], ["config", "--config", "none.toml"],
        ["--config", "none.toml", "status"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_and_configuration_is_2_with_the_reason_on_stderr(command, capsys):
    assert main.run(command) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert (out, bool(err)) == ("", True)


def test_the_instance_may_be_named_before_and_after_the_command(capsys, tmp_path):
    for command in (["--name", "two", "status"], ["status", "--name", "two", "--state-dir", str(tmp_path)]):
        assert main.run(command) == ExitCode.NOT_RUNNING
        assert capsys.readouterr().err.startswith("chatctl: two is not running")


def test_a_fault_in_another_section_does_not_hinder_asking_the_master(capsys, home):
    (home / "chatmaster.toml").write_text("[limits]\nburst = 'x'\n")
    assert main.run(["stop"]) == ExitCode.NOT_RUNNING
    (home / "chatmaster.toml").write_text("[master]\nname = 'x y'\n")
    assert main.run(["stop"]) == ExitCode.USAGE


def test_config_prints_toml_that_says_the_same_and_where_it_came_from(capsys, home):
    (home / "chatmaster.toml").write_text('[limits]\nburst = 7\n[[rooms]]\nmatch = "a*"\nslow_mode = 1.5\n')
    assert main.run(["config", "--set", "log.level=debug"]) == 0
    printed = capsys.readouterr().out
    values = tomllib.loads(printed)
    assert values["limits"]["burst"] == 7
    assert values["log"]["level"] == "debug"
    assert f"# {home}/chatmaster.toml:2\n" in printed
    assert "# flag --set\n" in printed
    (home / "again.toml").write_text(printed)
    assert main.run(["config", "--config", "again.toml"]) == 0
    assert tomllib.loads(capsys.readouterr().out) == values


def test_a_token_without_a_secret_says_how_to_set_one(capsys):
    assert main.run(["token", "ada"]) == ExitCode.USAGE
    assert "export CHATMASTER_AUTH_SECRET=$(openssl rand -hex 32)" in capsys.readouterr().err


def test_config_counts_what_the_running_server_has_otherwise():
    rows = [{"key": f"limits.{name}", "value": 1, "origin": "default", "running": 2} for name in ("rate", "burst")]
    assert "The running server uses 1 value that differs: see" in check.render(rows[:1])
    assert "The running server uses 2 values that differ: see" in check.render(rows)


def test_config_shows_no_secret(capsys):
    secrets = ["--set", f"auth.secret={SECRET}", "--set", "store.url=redis://me:hunter2@h/1?password=hunter3"]
    for form in ([], ["--json"]):
        assert main.run(["config", *secrets, *form]) == 0
        printed = capsys.readouterr().out
        assert SECRET not in printed
        assert "hunter" not in printed
        assert "redis://me:***@h/1" in printed


@pytest.mark.parametrize("command", [["check"], ["config"], ["doctor"], ["token", "ann"]], ids=lambda one: one[0])
def test_a_variable_that_is_no_setting_is_warned_of_and_changes_no_exit_code(command, capfd, monkeypatch):
    monkeypatch.setenv("CHATMASTER_AUTH_SECRET", SECRET)
    code = main.run(command)
    assert "warning" not in capfd.readouterr().err
    monkeypatch.setenv("CHATMASTER_STORE_PORT", "tcp://10.0.0.1:6379")
    assert main.run(command) == code != ExitCode.USAGE
    assert "chatctl: warning: environment CHATMASTER_STORE_PORT: not a setting" in capfd.readouterr().err


SEVERAL = "from workers import Worker\none = Worker('ws://127.0.0.1:8001', name='one')\n"


def test_check_refuses_what_start_would_refuse(capsys, home):
    (home / "app.py").write_text("from workers import Worker\nworker = Worker('wss://127.0.0.1:8001')\n")
    assert main.run(["check", "app.py"]) == ExitCode.USAGE
    assert "program app.py: server.listen[0]" in capsys.readouterr().err
    (home / "app.py").write_text(SEVERAL + "two = Worker('ws://localhost', name='two')\n")
    assert main.run(["check", "app.py"]) == ExitCode.USAGE
    assert "Worker 'two': \"ws://localhost\": allowed" in capsys.readouterr().err


def test_config_shows_what_the_program_says(capfd, home):
    says = "import os\nfrom workers import Worker\nos.write(1, b'hello')\nworker = Worker()\nworker.count = 3\n"
    (home / "app.py").write_text(says)
    assert main.run(["config", "--set", "server.app=app.py", "--json"]) == 0
    out, err = capfd.readouterr()
    assert {"key": "server.workers", "value": 3, "origin": "program app.py"} in json.loads(out)
    assert "hello" in err
    assert main.run(["config", "--set", "server.app=none.py"]) == 0
    out, err = capfd.readouterr()
    assert "workers = 0" in out and "no such file" in err


@pytest.mark.parametrize("url", ["embedded", "unix:///run/r.sock?db=1", "redis://h:1/2", "redis+sentinel://a:1,b/main"])
def test_a_store_without_a_password_is_shown_as_it_is(url):
    assert without_password(url) == url
    assert without_password("unix:///run/r.sock?password=x") == "unix:///run/r.sock?***"


def test_config_as_json_is_an_array_of_objects(capsys):
    assert main.run(["config", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"key": "server.backlog", "value": 4096, "origin": "default"} in rows


def test_a_token_says_what_it_should(capsys, monkeypatch):
    monkeypatch.setenv("CHATMASTER_AUTH_SECRET", SECRET)
    monkeypatch.setenv("CHATMASTER_AUTH_AUDIENCE", "chat")
    assert main.run(["token", "ann", "--ttl", "60", "--moderator", "--set", "auth.issuer=us"]) == 0
    claims = jwt.decode(capsys.readouterr().out.strip(), SECRET, algorithms=["HS256"], audience="chat", issuer="us")
    assert (claims["sub"], claims["role"], claims["exp"] - claims["iat"]) == ("ann", "moderator", 60)


def test_what_is_heavy_is_only_imported_by_the_command_that_needs_it():
    """So that chatctl answers at once: most of the time is Python's own."""
    heavy = "{'redis', 'asyncio', 'uvloop', 'websockets', 'jwt', 'workers', 'ssl', 'subprocess'}"
    program = "from chatmaster.cli import main; main.run(['version'])"
    code = f"import sys; {program}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["[]"]


def test_a_socket_that_a_killed_master_left_is_no_master(home, capsys):
    (home / "chatmaster").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(home / "chatmaster" / "chat.sock"))
    assert main.run(["status"]) == ExitCode.NOT_RUNNING


def test_a_master_that_starts_and_does_not_listen_yet_is_waited_for(home, capsys):
    (home / "chatmaster").mkdir()
    hold = "import sys; from pathlib import Path; from chatmaster.runtime.pidfile import PidFile;" \
        "held = PidFile.acquire(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"  # fmt: skip
    starting = subprocess.Popen(
        [sys.executable, "-c", hold, home / "chatmaster" / "chat.pid"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert starting.stdout is not None and starting.stdout.readline() == "held\n"
    assert main.run(["stop", "--timeout", "0.2"]) == ExitCode.TIMED_OUT
    assert f"pid {starting.pid}" in capsys.readouterr().err
    starting.communicate("")


def test_a_second_server_on_the_machine_is_told_that_it_needs_a_name_of_its_own(home, capsys):
    hold = "import sys; from pathlib import Path; from chatmaster.runtime.pidfile import PidFile;" \
        "held = PidFile.acquire(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"  # fmt: skip
    (home / "chatmaster").mkdir(mode=0o700)
    running = subprocess.Popen(
        [sys.executable, "-c", hold, home / "chatmaster" / "chat.pid"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None and running.stdout.readline() == "held\n"
    assert main.run(["start", "-d"]) == ExitCode.ALREADY_RUNNING
    told = capsys.readouterr().err
    assert f"chat is already running as pid {running.pid}; " in told
    assert "--name NAME -b websocket://HOST:PORT" in told
    assert main.run(["--name", "two", "status"]) == ExitCode.NOT_RUNNING
    assert capsys.readouterr().err.endswith("two.sock); running here: --name chat\n")
    running.communicate("")
    assert main.run(["--help"]) == ExitCode.DONE
    assert "a second server on a machine needs a name of its own" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e300"])
@pytest.mark.parametrize(
    "command",
    [
        ["ban", "bob", "--seconds"],
        ["mute", "bob", "--seconds"],
        ["stop", "--timeout"],
        ["bench", "--seconds"],
        ["token", "bob", "--ttl"],
    ],
    ids=lambda command: command[0],
)
def test_what_is_no_number_of_seconds_is_wrong_usage(command, number, capsys):
    """`nan` and `inf` went through click, and ended in a traceback."""
    assert main.run([*command, number]) == ExitCode.USAGE
    assert "Traceback" not in capsys.readouterr().err


def test_no_time_is_no_ban_for_ever(capsys):
    assert main.run(["ban", "bob", "--seconds", "0"]) == ExitCode.USAGE


@pytest.mark.parametrize("key", ["master.drain_timeout", "limits.rate", "auth.leeway"])
def test_a_setting_is_a_finite_number(key, capsys):
    assert main.run(["check", "--set", f"{key}=inf"]) == ExitCode.USAGE
    assert "allowed: a finite number" in capsys.readouterr().err


def test_a_state_directory_that_is_a_file_has_no_master(home, capsys):
    (home / "file").touch()
    assert main.run(["--state-dir", str(home / "file"), "status"]) == ExitCode.NOT_RUNNING
    assert f"no master at {home}/file/chat.sock" in capsys.readouterr().err
