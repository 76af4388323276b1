"""chatctl started in odd places: whatever they are, it does its work or says a sentence, and never a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chatmaster.contract import ExitCode
from tests.support.server import ROOT, Chatmaster
from tests.support.wait import until

CHATCTL = (sys.executable, "-P", "-m", "chatmaster")
SECRET = "0123456789abcdef0123456789abcdef"
COMMANDS = (
    ("version",), ("--help",), ("config",), ("config", "--json"), ("check",), ("doctor",), ("status",), ("stop",),
    ("who", "lobby"), ("tail", "lobby"), ("say", "lobby", "hi"), ("token", "ann"), ("fly",),
)  # fmt: skip


@dataclass
class Place:
    """The surroundings of one start."""

    environ: dict[str, str]
    cwd: Path
    before: Callable[[], None] | None = None
    streams: dict[str, Any] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    options: tuple[bytes | str, ...] = ()
    without: frozenset[str] = frozenset()  # commands that cannot be tried there

    def chatctl(self, *arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **self.streams}
        command = [*self.prefix, *CHATCTL, *self.options, *arguments]
        return subprocess.run(
            command, env=self.environ, cwd=self.cwd, preexec_fn=self.before, timeout=60, check=False, **streams
        )


def closing(*fds: int) -> Callable[[], None]:
    def close() -> None:
        for fd in fds:
            os.close(fd)

    return close


def removed(place: Place, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    place.cwd = gone
    place.before = lambda: gone.rmdir()
    place.environ["PWD"] = str(gone)


def without_home(place: Place, tmp_path: Path) -> None:
    if shutil.which("setpriv") is None or os.geteuid() != 0:
        pytest.skip("needs root and setpriv to run as a user without an entry")
    place.environ = {key: value for key, value in place.environ.items() if key not in ("HOME", "XDG_STATE_HOME")}
    place.prefix = ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups")
    libraries = [*place.prefix, sys.executable, "-c", "import redis.asyncio"]
    if subprocess.run(libraries, env=place.environ, cwd="/", capture_output=True).returncode:
        place.without = frozenset({"config", "check"})  # this Python is another user's, who keeps it to himself


def unreadable_directory(place: Place, tmp_path: Path) -> None:
    without_home(place, tmp_path)
    place.environ["HOME"] = "/"
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    place.cwd = closed


def state_dir_that_is_a_file(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place.options = ("--state-dir", str(tmp_path / "file"))


def few_descriptors(place: Place, tmp_path: Path) -> None:
    place.prefix = ("prlimit", "--nofile=12:12")


def full_output(place: Place, tmp_path: Path) -> None:
    place.streams["stdout"] = os.open("/dev/full", os.O_WRONLY)


def full_everything(place: Place, tmp_path: Path) -> None:
    place.streams["stdout"] = place.streams["stderr"] = os.open("/dev/full", os.O_WRONLY)


def broken_pipe(place: Place, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    place.streams["stdout"] = writer


def broken_pipes(place: Place, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    place.streams["stdout"] = place.streams["stderr"] = writer


def real_latin_1(place: Place, tmp_path: Path) -> None:
    """The locale itself, made for the test: arguments and output are of that character set."""
    made = tmp_path / "locales" / "en_US.ISO-8859-1"
    made.parent.mkdir()
    if shutil.which("localedef") is None:
        pytest.skip("localedef is not installed")
    subprocess.run(["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(made)], capture_output=True)
    if not made.exists():
        pytest.skip("there are no sources of locales")
    place.environ |= {"LOCPATH": str(made.parent), "LC_ALL": made.name}


def closed(*fds: int) -> Callable[[Place, Path], None]:
    def arrange(place: Place, tmp_path: Path) -> None:
        place.before = closing(*fds)

    arrange.__name__ = "closed_" + "_".join(map(str, fds))
    return arrange


def with_environment(name: str, **more: str) -> Callable[[Place, Path], None]:
    def arrange(place: Place, tmp_path: Path) -> None:
        place.environ |= more

    arrange.__name__ = name
    return arrange


def with_options(name: str, *options: str | bytes) -> Callable[[Place, Path], None]:
    def arrange(place: Place, tmp_path: Path) -> None:
        place.options = options

    arrange.__name__ = name
    return arrange


PLACES = (
    closed(0), closed(1), closed(2), closed(0, 1), closed(1, 2), closed(0, 2), closed(0, 1, 2), removed, without_home,
    unreadable_directory, state_dir_that_is_a_file, full_output, full_everything, broken_pipe, broken_pipes,
    real_latin_1, few_descriptors,
    with_environment("latin_1", LC_ALL="en_US.ISO-8859-1", PYTHONUTF8="0", PYTHONIOENCODING="latin-1"),
    with_environment("c_locale", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
    with_environment("ascii", PYTHONIOENCODING="ascii"),
    with_environment("locale_that_is_not_there", LC_ALL="xx_YY.UTF-8", LANG="nonsense"),
    with_environment("home_is_root", HOME="/", XDG_STATE_HOME=""),
    with_environment("home_is_nowhere", HOME="/nonexistent/home", XDG_STATE_HOME=""),
    with_environment("home_in_proc", HOME="/proc/1", XDG_STATE_HOME=""),
    with_environment("home_is_no_text", HOME=os.fsdecode(b"/tmp/caf\xe9"), XDG_STATE_HOME=""),
    with_environment("config_is_a_directory", CHATMASTER_CONFIG="/"),
    with_environment("config_is_not_there", CHATMASTER_CONFIG="/nonexistent"),
    with_environment("services_beside_it", CHATMASTER_STORE_PORT="tcp://10.0.0.1:6379", CHATMASTER_SERVER_PORT="x"),
    with_environment("no_terminal", TERM="", COLUMNS="0", LINES="-1"),
    with_options("state_dir_in_proc", "--state-dir", "/proc/self/x"),
    with_options("state_dir_with_a_long_name", "--state-dir", "/tmp/" + "x" * 300),
    with_options("state_dir_that_is_no_text", "--state-dir", b"/tmp/caf\xe9"),
    with_options("name_that_is_no_text", "--name", b"caf\xe9"),
    with_options("config_that_is_no_text", "--config", b"caf\xe9.toml"),
)  # fmt: skip


@pytest.fixture
def place(tmp_path) -> Iterator[Place]:
    foreign = ("CHATMASTER_", "_CHATMASTER_", "NOTIFY_", "LISTEN_", "STATE_DIRECTORY", "LC_", "LANG", "PYTHON")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    home = Path(tempfile.mkdtemp(prefix="cm-"))  # not below tmp_path: a unix socket's path ends at 107 bytes
    environ = {**kept, "PYTHONPATH": str(ROOT), "HOME": str(home), "CHATMASTER_AUTH_SECRET": SECRET}
    made = Place(environ, tmp_path)
    yield made
    shutil.rmtree(home)
    for fd in set(made.streams.values()):
        os.close(fd)


@pytest.mark.parametrize("arrange", PLACES, ids=lambda arrange: arrange.__name__)
def test_no_command_ends_with_a_traceback(arrange, place, tmp_path):
    arrange(place, tmp_path)
    for command in (one for one in COMMANDS if one[0] not in place.without):
        if not place.cwd.exists():
            place.cwd.mkdir()
        done = place.chatctl(*command)
        said = (done.stdout or b"") + (done.stderr or b"")
        assert done.returncode in set(ExitCode), (command, done)
        assert b"Traceback" not in said and b"Exception" not in said, (command, done)
        if done.returncode and done.stderr is not None and place.before is None:
            assert said.strip(), (command, done)


def test_what_cannot_be_written_is_told_and_is_exit_1(place):
    full_output(place, place.cwd)
    for command in (("config",), ("config", "--json"), ("version",), ("check",)):
        done = place.chatctl(*command)
        assert done.returncode == 1, command
        assert done.stderr.endswith(b"chatctl: the output cannot be written: No space left on device\n"), done.stderr


@pytest.mark.parametrize("home", ["/", "/proc/1", "/nonexistent"])
def test_a_start_without_a_usable_home_names_the_option(place, tmp_path, home):
    without_home(place, tmp_path)
    place.environ["HOME"] = home
    done = place.chatctl("start", "-d")
    assert done.returncode == ExitCode.FAILED
    assert b"cannot be made" in done.stderr and b"--state-dir" in done.stderr


def test_an_argument_that_is_no_text_is_wrong_usage(place):
    done = place.chatctl("say", "lobby", b"caf\xe9")
    assert done.returncode == ExitCode.USAGE
    assert rb"the argument caf\udce9 is not text" in done.stderr


def test_a_latin_1_terminal_says_and_hears(place, tmp_path):
    real_latin_1(place, tmp_path)
    with Chatmaster(workers=1) as server:
        place.options = ("--state-dir", str(server.state_dir))
        done = place.chatctl("say", "lobby", b"caf\xe9")
        assert done.returncode == 0, done.stderr
        assert server.ctl("say", "lobby", "日本").returncode == 0
        doctor = place.chatctl("doctor")
        assert doctor.returncode == 0 and doctor.stdout.startswith(b"+ "), doctor
        command = [*CHATCTL, *place.options, "tail", "lobby"]
        with subprocess.Popen(command, env=place.environ, cwd=place.cwd, stdout=subprocess.PIPE) as tail:
            assert tail.stdout is not None
            begun = until(lambda: server.ask("rooms"), 20.0, "it follows")
            assert begun[0]["room"] == "lobby"
            assert server.ctl("say", "lobby", "é 日本").returncode == 0
            assert rb"\xe9 \u65e5\u672c" in repr(tail.stdout.readline()).encode().replace(rb"\\u", rb"\u")
            tail.terminate()


STATE_DIRS = ("a b", "a#b", "a?b=c", "100%", "%41", "é", "a'b\"c")


@pytest.mark.parametrize("name", STATE_DIRS)
def test_a_server_runs_whatever_its_state_directory_is_called(name):
    server = Chatmaster(workers=1)
    server.state_dir = server.directory / name
    with server:
        assert server.ctl("say", "lobby", "hello").returncode == 0
        assert server.ask("rooms") is not None


@pytest.mark.parametrize("closed", [(0,), (1, 2), (0, 1), (0, 1, 2)], ids=str)
def test_a_server_starts_in_the_background_with_closed_descriptors(closed, tmp_path):
    with _started(cwd=tmp_path, before=closing(*closed)) as (server, done):
        assert done.returncode == 0, server.log()
        assert server.ask("status")["master"]["state"] == "ready"


def test_a_server_starts_from_a_directory_that_was_removed(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    with _started(cwd=gone, before=gone.rmdir) as (server, done):
        assert done.returncode == 0, (done.stderr, server.log())


class _started:
    """`start -d` of a server with one worker, and its end."""

    def __init__(self, *, cwd: Path, before: Callable[[], object], environ: Mapping[str, str] | None = None) -> None:
        self.server = Chatmaster(workers=1)
        self._cwd, self._before, self._environ = cwd, before, environ or {}

    def __enter__(self) -> tuple[Chatmaster, subprocess.CompletedProcess[bytes]]:
        command = self.server.command("start", "-d", "-n", "1", "-b", f"ws://127.0.0.1:{self.server.port}")
        with (self.server.directory / "said").open("wb") as said:
            done = subprocess.run(
                command, cwd=self._cwd, env={**self.server.environment, **self._environ}, preexec_fn=self._before,
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=60,
            )  # fmt: skip
        self.server.log_path = self.server.state_dir / "chat.log"
        return self.server, done

    def __exit__(self, *_: object) -> None:
        self.server.ctl("stop", "--timeout", "5")
        self.server.close()
