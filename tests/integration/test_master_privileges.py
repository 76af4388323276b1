"""Dropping privileges: root binds, nobody serves. Only root can try it, on a Python that others may read."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.wait import until

OBEDIENT = "tests/integration/programs/obedient.py"
NOBODY = "nobody"


def _others_may_run_it() -> bool:
    if os.geteuid() != 0:
        return False
    uid = pwd.getpwnam(NOBODY).pw_uid
    places = [os.path.dirname(os.__file__), os.path.dirname(pytest.__file__), str(Path(__file__).parent)]
    script = f"import os; os.setresuid({uid}, {uid}, {uid}); [os.listdir(place) for place in {places}]"
    return subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not _others_may_run_it(), reason="needs root, and a Python that nobody may read")


def owner(pid: int) -> set[str]:
    """Real, effective, saved and file system uid."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:"))
    return set(line.split()[1:])


@pytest.fixture
def server(chatmaster) -> Chatmaster:
    made: Chatmaster = chatmaster(OBEDIENT, start=False, settings={"master.user": NOBODY})
    made.directory.chmod(0o755)
    return made.start()


def test_everything_runs_as_that_user(server):
    uid = str(server.state_dir.stat().st_uid)
    assert uid != "0"
    for pid in (server.pid, server.store_pid, *server.pids):
        assert owner(pid) == {uid}
    assert (server.state_dir / "chat.sock").stat().st_uid == int(uid)


def test_everything_still_ends_with_the_master(server):
    """setuid clears PDEATHSIG: it has to be set afterwards."""
    everyone = [server.store_pid, *server.pids]
    server.kill()
    until(lambda: not any(processes.alive(pid) for pid in everyone), 2.0)
    server.start()
    assert server.states() == ["ready", "ready"]


def test_it_reloads_scales_and_cleans_up(server):
    assert server.ctl("reload").returncode == 0
    # The first sockets are root's: the kernel lets nobody else join them, so the new slots share.
    assert server.ctl("scale", "4").returncode == 0
    assert server.states() == ["ready"] * 4
    os.kill(server.pids[3], signal.SIGKILL)
    until(lambda: server.status()["workers"][3]["restarts"] == 1 and server.states() == ["ready"] * 4)
    assert server.ctl("restart").returncode == 0
    assert server.stop() == 0
    assert {path.name for path in server.state_dir.iterdir()} == {"chat.store"}
