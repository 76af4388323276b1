"""The disk of the embedded store is full: who wants a write is told so, and soon after there is space all is well."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatmaster.contract import ExitCode
from tests.support.server import Chatmaster
from tests.support.wait import until
from tests.support.ws import ChatSocket

BACK = 2.0  # seconds after there is space

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk"),
    pytest.mark.timeout(120),
]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, with 8 MiB."""
    disk = Path(f"/run/cm-small-{os.getpid()}")
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        disk.rmdir()
        pytest.skip("nothing can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
    disk.rmdir()


def fill(disk: Path) -> Path:
    """Leave no byte."""
    full = disk / "full"
    with full.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return full


async def test_a_full_disk_is_said_and_the_store_is_back_soon_after_there_is_space(
    chatmaster: Callable[..., Chatmaster], small: Path
) -> None:
    server = chatmaster(workers=2, start=False)
    server.state_dir = small / "state"
    server.start()
    async with await ChatSocket.enter(server.url, "lobby", name="ann") as ann:
        assert (await ann.ask(type="say", room="lobby", text="before"))["type"] == "ack"
    full = fill(small)
    said = server.ctl("say", "lobby", "x" * 5000)
    assert said.returncode == ExitCode.FAILED
    assert "does not answer" not in said.stderr and "store" in said.stderr, said.stderr
    until(lambda: server.status()["store"]["state"] != "ready", what="the store is away")
    until(lambda: "is full" in server.status()["store"]["reason"], what="status says why")
    again = server.ctl("say", "lobby", "again")
    assert "is full" in again.stderr or "cannot connect to the store" in again.stderr, again.stderr
    restarts = server.log().count("once there is space")
    full.unlink()
    began = time.monotonic()
    until(lambda: server.ctl("say", "lobby", "after").returncode == ExitCode.DONE, what="it can be written to again")
    assert time.monotonic() - began < BACK
    assert restarts == 1, "one line for the outage"
    async with await ChatSocket.enter(server.url, "lobby", name="bob") as bob:
        assert (await bob.ask(type="say", room="lobby", text="after"))["type"] == "ack"
    assert "never retrieved" not in server.log()
