"""A release is a symbolic link: what it points to at a reload or a restart is what runs then."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.server import ROOT, Chatmaster
from tests.support.wait import until
from tests.support.ws import RawSocket

Make = Callable[..., Chatmaster]
PROGRAM = """
from workers import Worker
import where

worker = Worker("websocket://127.0.0.1:1", name="released")


@worker.on_message
def message(connection, data):
    connection.send(f"RELEASE {where.HERE}")
"""


class Releases:
    """`current` in a directory of releases, which a deployment points elsewhere."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.current = directory / "current"

    def deploy(self, name: str, program: str = PROGRAM) -> None:
        release = self.directory / name
        release.mkdir()
        (release / "app.py").write_text(program.replace("RELEASE", name))
        (release / "where.py").write_text(f"HERE = {name!r}\n")
        fresh = self.directory / "fresh"
        fresh.symlink_to(release)
        fresh.rename(self.current)

    def remove(self, name: str) -> None:
        shutil.rmtree(self.directory / name)


@pytest.fixture
def releases(tmp_path: Path) -> Iterator[Releases]:
    made = Releases(tmp_path)
    made.deploy("one")
    yield made


def start(chatmaster: Make, releases: Releases, app: str) -> Chatmaster:
    """As a shell would that has done `cd current`: the kernel's directory is the release, PWD the link."""
    server = chatmaster(app, workers=1, start=False, environment={"PWD": str(releases.current)})
    arguments = ["-d", app, "-n", "1", "-b", f"ws://127.0.0.1:{server.port}"]
    done = subprocess.run(
        server.command("start", *arguments), cwd=releases.current, env={**server.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return server


async def says(server: Chatmaster) -> str:
    async with await RawSocket.open(server.url) as client:
        client.send_text("?")
        return str(await client.read_message())


@pytest.mark.parametrize("app", ["app.py", "app:worker", "{current}/app.py"])
async def test_a_reload_and_a_restart_take_what_the_link_points_to_now(
    chatmaster: Make, releases: Releases, app: str
) -> None:
    server = start(chatmaster, releases, app.format(current=releases.current))
    try:
        assert await says(server) == "one one"
        releases.deploy("two")
        assert server.ctl("reload").returncode == 0
        assert await says(server) == "two two"
        releases.remove("one")
        releases.deploy("three")
        releases.remove("two")  # where the master stands, and its workers were imported from
        done = server.ctl("reload")
        assert done.returncode == 0, done.stderr
        assert await says(server) == "three three"
        releases.deploy("four")
        releases.remove("three")
        os.kill(server.pids[0], signal.SIGKILL)
        until(lambda: server.states() == ["ready"], 20, "the worker is replaced, from the only code there is")
        assert await says(server) == "four four"
        done = server.ctl("restart")
        assert done.returncode == 0, done.stderr
        assert await says(server) == "four four"
    finally:
        assert server.ctl("stop").returncode == 0


async def test_a_release_that_is_refused_is_not_what_a_crashed_worker_is_replaced_by(
    chatmaster: Make, releases: Releases
) -> None:
    server = start(chatmaster, releases, "app.py")
    try:
        releases.deploy("broken", "raise RuntimeError('a bug in the release')")
        done = server.ctl("reload")
        assert done.returncode == 5 and "a bug in the release" in done.stderr
        before = server.pids
        os.kill(before[0], signal.SIGKILL)
        until(lambda: server.pids != before and server.states() == ["ready"], 20, "the worker is replaced")
        assert await says(server) == "one one"
        releases.current.unlink()
        done = server.ctl("reload")
        assert done.returncode == 5 and "cannot be entered any more" in done.stderr
        assert await says(server) == "one one"
    finally:
        assert server.ctl("stop").returncode == 0


async def test_a_script_keeps_to_the_link_too(chatmaster: Make, releases: Releases) -> None:
    releases.deploy("two", PROGRAM + "\nWorker.run_all()\n")
    server = chatmaster(start=False)
    environment = {
        **server.environment, "PWD": str(releases.current), "CHATMASTER_MASTER_STATE_DIR": str(server.state_dir)
    }  # fmt: skip
    command = ["app.py", "start", "-d", "-n", "1", "-b", f"ws://127.0.0.1:{server.port}"]
    python = server.command()[0]
    done = subprocess.run(
        [python, *command], cwd=releases.current, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    try:
        assert await says(server) == "two two"
        releases.deploy("three", PROGRAM + "\nWorker.run_all()\n")
        releases.remove("two")
        assert server.ctl("reload").returncode == 0
        assert await says(server) == "three three"
    finally:
        assert server.ctl("stop").returncode == 0
