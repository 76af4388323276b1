"""Which Python serves: the fastest of those that can is found, and one that is faster than the running one is named."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from chatmaster.cli import doctor, interpreters
from chatmaster.cli.interpreters import Speed


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def interpreter(tools: Path, name: str, answer: str, *, code: int = 0) -> str:
    path = tools / name
    path.write_text(f"#!{shutil.which('sh', path='/bin:/usr/bin')}\necho {answer}\nexit {code}\n")
    path.chmod(0o755)
    return str(path)


def test_a_real_interpreter_says_its_version_and_what_it_takes():
    found = interpreters.measure(sys.executable, bare=True)
    assert found is not None
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert 10 < found.micros < 1_000_000


def test_what_is_no_python_or_cannot_serve_has_no_speed(tools):
    assert interpreters.measure(interpreter(tools, "python3", "", code=1)) is None
    assert interpreters.measure(str(tools / "nothing")) is None


def test_the_running_interpreter_is_that_of_the_process():
    assert interpreters.executable_of(os.getpid()) == os.path.realpath(sys.executable)


def noisy(tools: Path, name: str, version: str, *micros: int) -> str:
    """An interpreter whose runs take these times, one after the other."""
    turns = tools / f"{name}.turns"
    turns.write_text("".join(f"{one}\n" for one in micros))
    path = tools / name
    path.write_text(f"""#!{sys.executable}
turns = open({str(turns)!r}).read().split()
open({str(turns)!r}, "w").write(" ".join(turns[1:] + turns[:1]))
print(turns[0], {version!r})
""")
    path.chmod(0o755)
    return str(path)


def test_the_fastest_interpreter_is_named_where_it_is_worth_it(tools):
    running = interpreter(tools, "python", "1000 3.11.7")
    interpreter(tools, "python3.13", "880 3.13.0")
    interpreter(tools, "python3", "950 3.11.9")
    found = interpreters.faster_than(running)
    assert found == (Speed(running, "3.11.7", 1000), Speed(str(tools / "python3.13"), "3.13.0", 880))
    assert interpreters.faster_than(interpreter(tools, "python", "900 3.11.7")) is None


def test_noise_is_no_difference_between_interpreters(tools):
    running = noisy(tools, "python", "3.11.2", 734, 623, 1200, 690, 700, 650, 720)
    noisy(tools, "python3.11", "3.11.7", 807, 1423, 540, 900, 850, 830, 990)  # one lucky run
    assert interpreters.faster_than(running) is None
    noisy(tools, "python3.11", "3.11.7", 540, 560, 550, 900, 545, 555, 560)  # one unlucky run
    found = interpreters.faster_than(running)
    assert found is not None and (found[0].micros, found[1].micros) == (623, 540)


def test_doctor_says_when_the_running_interpreter_is_slow(tools):
    running = interpreter(tools, "python", "1000 3.11.7")
    assert [(one.level, one.advice) for one in doctor._python(running)] == [("good", "")]
    faster = interpreter(tools, "python3.11", "800 3.11.2")
    (found,) = doctor._python(running)
    assert (found.level, found.what) == ("warning", "python")
    assert f"{faster} (3.11.2) needs 20% less CPU" in found.advice
    assert f"PYTHON={faster}" in found.advice
