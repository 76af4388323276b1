"""Upgrade in place between two copies of the program: the same master and store, other code, nobody cut."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from chatmaster import __version__
from chatmaster.contract import CONTRACT_VERSION, ExitCode
from tests.support import archives, processes
from tests.support.crowd import Crowd
from tests.support.server import ROOT, Chatmaster
from tests.support.wait import until, until_async
from tests.support.ws import ChatSocket, Closed

Make = Callable[..., Chatmaster]
Copy = Callable[..., Path]
FORTY = {"limits.rate": 0, "master.drain_timeout": 10}
FIRST_OF_THIS_CONTRACT = "b20ca77"


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Makes another copy of the program; a changed version, and changes to its files by path."""

    def make(name: str, *, version: str = "9.9.9", changes: dict[str, tuple[str, str]] | None = None) -> Path:
        place = tmp_path / name
        for package in ("chatmaster", "workers"):
            shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
        text = f'__version__ = "{version}"'
        change(place / "chatmaster/__init__.py", f'__version__ = "{__version__}"', text)
        for path, (old, new) in (changes or {}).items():
            change(place / path, old, new)
        return place

    return make


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


def other_contract(copy: Copy) -> Path:
    number = CONTRACT_VERSION
    fresh = (f"CONTRACT_VERSION = {number}", f"CONTRACT_VERSION = {number + 1}")
    return copy("contract", changes={"chatmaster/contract.py": fresh})


async def ctl(server: Chatmaster, *arguments: str) -> str:
    done = await asyncio.to_thread(server.ctl, *arguments)
    assert done.returncode == 0, done.stderr + server.log()
    return done.stderr


async def test_forty_chatting_clients_stay_and_lose_nothing(chatmaster: Make, copy: Copy) -> None:
    server = chatmaster(workers=2, settings=FORTY)
    said = await keeps_forty_that_chat(server, str(copy("new")), "chatmaster 9.9.9")
    assert server.status()["master"]["version"] == "9.9.9"
    await until_async(lambda: server.status()["totals"]["messages_out"] == said, what="counters go on")


@pytest.mark.parametrize("commit", [FIRST_OF_THIS_CONTRACT])
async def test_from_an_earlier_commit_to_this_one_every_client_stays(
    chatmaster: Make, tmp_path: Path, commit: str
) -> None:
    old = checkout(commit, tmp_path / "old")
    server = chatmaster(workers=2, settings=FORTY, environment={"PYTHONPATH": str(old)})
    assert str(old) in str(server.status()["master"]["program"])  # that of then runs
    await keeps_forty_that_chat(server, str(ROOT), "upgraded")
    assert server.status()["master"]["version"] == __version__


def checkout(commit: str, place: Path) -> Path:
    """The program as it was at a commit. Skips where this checkout has no such history."""
    place.mkdir()
    try:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", commit, "chatmaster", "workers"], capture_output=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"no git history with commit {commit}")
    archives.unpack(io.BytesIO(archive), place)
    return place


async def keeps_forty_that_chat(server: Chatmaster, program: str, answer: str) -> int:
    """Upgrade to a program while forty clients talk: all stay, and have the same messages. Returns how many."""
    pid, store, old = server.pid, server.store_pid, server.pids
    crowd = Crowd(server.url, "lobby")
    await crowd.enter(40)
    over = asyncio.Event()
    talking = asyncio.create_task(talk(crowd, over))
    await until_async(lambda: len(crowd.texts) > 20, what="they chat")
    assert answer in await ctl(server, "upgrade", "--program", program)
    over.set()
    said = await talking
    assert not any(one.lost for one in crowd.members)
    await until_async(lambda: not any(one.unanswered for one in crowd.members), what="all is acknowledged")
    await crowd.everyone_has(max(offset for one in crowd.members for offset in one.acked.values()))
    assert not any(one.lost or one.others for one in crowd.members)
    assert all(list(one.offsets) == list(crowd.members[0].offsets) for one in crowd.members)
    assert len(crowd.members[0].offsets) == said and not crowd.different
    status = server.status()
    assert (status["master"]["pid"], status["store"]["pid"], status["master"]["state"]) == (pid, store, "ready")
    assert [row["generation"] for row in status["workers"]] == [2, 2] and not set(old) & set(server.pids)
    assert [row["restarts"] for row in status["workers"]] == [0, 0]
    assert "could not be handed over" not in server.log()
    await crowd.leave()
    return said


async def talk(crowd: Crowd, over: asyncio.Event) -> int:
    said = 0
    while not over.is_set():
        crowd.members[said % 10].say(str(said))
        said += 1
        await asyncio.sleep(0.01)  # the pace of the load, not a wait
    return said


async def test_with_another_contract_the_clients_are_sent_away_and_may_come_back(chatmaster: Make, copy: Copy) -> None:
    server = chatmaster(workers=2)
    pid, store = server.pid, server.store_pid
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await ChatSocket.enter(server.url, "lobby")) for _ in range(40)]
        upgrading = asyncio.create_task(ctl(server, "upgrade", "--program", str(other_contract(copy))))
        closed = await asyncio.gather(*(sent_away(client) for client in clients))
        assert {one.code for one in closed} == {1012}
        await upgrading
        again = [await stack.enter_async_context(await ChatSocket.enter(server.url, "lobby")) for _ in range(40)]
        await again[0].ask(type="say", room="lobby", text="back")
        await asyncio.gather(*(client.expect("message", text="back") for client in again))
    assert server.status()["master"]["version"] == "9.9.9" and (server.pid, server.store_pid) == (pid, store)
    assert server.states() == ["ready", "ready"] and "bug in the master" not in server.log()
    assert server.ctl("upgrade").returncode == 0  # and back, to the program of this chatctl
    assert server.status()["master"]["version"] == __version__ and server.store_pid == store


async def sent_away(client: ChatSocket) -> Closed:
    await client.expect("bye")
    return await client.wait_closed()


async def test_usr2_brings_what_is_now_where_the_program_came_from(chatmaster: Make, copy: Copy) -> None:
    place = copy("here", version="1.0.0")
    server = chatmaster(workers=1, environment={"PYTHONPATH": str(place)})
    assert server.status()["master"]["version"] == "1.0.0"
    async with await ChatSocket.enter(server.url, "lobby") as client:
        change(place / "chatmaster/__init__.py", "1.0.0", "1.0.1")
        os.kill(server.pid, signal.SIGUSR2)
        await until_async(
            lambda: "upgraded, as SIGUSR2 asked: chatmaster 1.0.1, 1 worker of generation 2" in server.log(), 30
        )
        assert server.status()["master"]["version"] == "1.0.1" and server.states() == ["ready"]
        assert (await client.ask(type="say", room="lobby", text="still here"))["type"] == "ack"


BROKEN = {
    "does not parse": {"chatmaster/policy/policy.py": ("class Policy:", "class Policy")},
    "cannot read what it is left": {
        "chatmaster/policy/processes.py": ("    last_number: int\n", "    last_numbers: int\n")
    },
    "has no workers": {"workers/main.py": ("def main(", "def niam(")},
    "cannot load the chat": {"workers/chat/__init__.py": ("from ", "raise ValueError('bad day')\nfrom ")},
    "fails when it takes over": {"chatmaster/master/arbiter.py": ("._supervisor.restore(", ".no_such.restore(")},
    "fails before it starts": {
        "chatmaster/master/arbiter.py": ("    left = exec_state.take", "    1 / 0\n    left = exec_state.take")
    },
    "has workers that do not start": {
        "workers/main.py": ("from __future__", "import sys; sys.exit(9)\nfrom __future__")
    },
}


def test_a_broken_new_program_leaves_everything_as_it_was(chatmaster: Make, copy: Copy) -> None:
    server = chatmaster(workers=2)
    pid, store, old = server.pid, server.store_pid, server.pids
    for number, (what, changes) in enumerate(BROKEN.items()):
        done = server.ctl("upgrade", "--program", str(copy(f"broken{number}", changes=changes)))
        assert done.returncode == ExitCode.NOT_READY and "new program" in done.stderr, (what, done)
        status = server.status()
        assert status["master"]["version"] == __version__ and status["master"]["state"] == "ready", what
        assert (server.pid, server.store_pid, server.pids) == (pid, store, old), what
        assert processes.alive(pid) and server.states() == ["ready", "ready"]
    assert server.ctl("upgrade", "--program", "/bin/false").returncode == ExitCode.NOT_READY
    assert server.ctl("upgrade", "--program", "/nowhere").returncode == ExitCode.USAGE
    assert server.ctl("reload").returncode == 0 and server.states() == ["ready", "ready"]


def test_what_is_asked_meanwhile_is_answered_by_the_new_program(chatmaster: Make, copy: Copy) -> None:
    server = chatmaster(workers=1)
    with socket.socket(socket.AF_UNIX) as upgrade, socket.socket(socket.AF_UNIX) as scale:
        for sock in (upgrade, scale):
            sock.settimeout(30)
            sock.connect(str(server.state_dir / "chat.sock"))
        place = str(copy("new"))
        command = f'["{server.command()[0]}", "-P", "-m", "chatmaster"]'
        upgrade.sendall(f'{{"command":"upgrade","args":{{"command":{command},"root":"{place}"}}}}\n'.encode())
        until(lambda: server.status()["master"]["state"] == "upgrading")
        scale.sendall(b'{"command":"scale","args":{"to":2}}\n')
        assert b'"version":"9.9.9"' in upgrade.recv(10_000)
        with scale.makefile("rb") as replies:
            assert [b"waiting for upgrade" in replies.readline(), b'"workers":2' in replies.readline()] == [True, True]
    assert server.states() == ["ready", "ready"]


def test_a_worker_and_a_store_that_die_afterwards_are_replaced(chatmaster: Make, copy: Copy) -> None:
    server = chatmaster(workers=2)
    assert server.ctl("upgrade", "--program", str(copy("new"))).returncode == 0
    for pid in (server.pids[0], server.store_pid):
        os.kill(pid, signal.SIGKILL)
    until(lambda: server.status()["workers"][0]["restarts"] == 1 and server.states() == ["ready", "ready"], 20)
    until(lambda: server.status()["store"]["state"] == "ready", 20)
    assert server.ctl("upgrade").returncode == 0
    assert server.status()["master"]["last_crash"]["how"] == "killed by SIGKILL"  # known to the next program, too
    assert server.stop() == 0
