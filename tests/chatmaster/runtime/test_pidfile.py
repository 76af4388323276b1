"""One master at a time, and who it is, by a real lock between real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from chatmaster.errors import AlreadyRunning
from chatmaster.runtime import pidfile
from chatmaster.runtime.pidfile import PidFile, PreviousMaster

HOLD = """
import sys, time
from pathlib import Path
from chatmaster.runtime.pidfile import PidFile
held = PidFile.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
held.release()
"""


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "chat.pid"


@pytest.fixture
def other(path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert line_of(process) == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_master_is_told_the_pid_of_the_first(path, other):
    with pytest.raises(AlreadyRunning, match=str(other.pid)):
        PidFile.acquire(path)
    assert pidfile.holder(path) == other.pid
    assert path.read_text() == f"{other.pid}\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_a_killed_master_left_holds_nobody_up_and_tells_when_it_lived(path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert path.exists()
    assert pidfile.holder(path) is None
    seen = path.stat().st_mtime
    ours = PidFile.acquire(path)
    assert ours.previous == PreviousMaster(other.pid, seen)
    os.utime(path, (1, 1))
    ours.touch()
    assert path.stat().st_mtime >= seen
    ours.release()
    assert PidFile.acquire(path).previous is None  # an orderly end leaves nothing
    PidFile.acquire(path).release()
    assert not path.exists()


def test_the_file_is_gone_when_the_master_has_ended(path, other):
    other.communicate("")
    assert not path.exists()
    assert pidfile.holder(path) is None


def test_a_forked_worker_does_not_hold_the_lock(path):
    """Else a worker that outlives its master by a moment would keep the next one from starting."""
    held = PidFile.acquire(path)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    held.release()
    assert pidfile.holder(path) is None
    os.close(writer)
    os.waitpid(child, 0)


def test_the_lock_survives_an_exec_in_place(path):
    again = (
        "import sys; from pathlib import Path; from chatmaster.runtime.pidfile import PidFile;"
        "held = PidFile.adopt(Path(sys.argv[1]), int(sys.argv[2]));"
        "print('held', flush=True); sys.stdin.read(); held.release()"
    )
    first = (
        "import os, sys; from pathlib import Path; from chatmaster.runtime.pidfile import PidFile;"
        "fd = PidFile.acquire(Path(sys.argv[1])).keep_over_exec();"
        "os.execv(sys.executable, [sys.executable, '-c', sys.argv[2], sys.argv[1], str(fd)])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", first, path, again], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert line_of(process) == "held\n"
    assert pidfile.holder(path) == process.pid
    process.communicate("")
    assert process.returncode == 0
    assert not path.exists()
