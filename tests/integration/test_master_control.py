"""The control socket: what it answers to the right and to the wrong, and that nobody there can hurt the master."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import AsyncExitStack
from typing import Any
from urllib.request import urlopen

import pytest

from chatmaster.cli import control_client
from chatmaster.contract import ExitCode
from chatmaster.errors import NotRunning, RefusedByMaster, TimedOut
from tests.support.server import Chatmaster
from tests.support.wait import until
from tests.support.ws import ChatSocket, RawSocket

OBEDIENT = "tests/integration/programs/obedient.py"


def dial(server: Chatmaster) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(str(server.state_dir / "chat.sock"))
    return sock


def say(server: Chatmaster, line: bytes) -> dict[str, Any]:
    with dial(server) as sock:
        sock.sendall(line)
        with sock.makefile("rb") as file:
            answer: dict[str, Any] = json.loads(file.readline())
    return answer


@pytest.fixture(scope="module")
def shared() -> Any:
    with Chatmaster(OBEDIENT, workers=2) as server:
        yield server


@pytest.mark.parametrize(
    "line",
    [
        b"this is no JSON\n",
        b"\xff\xfe\n",
        b"[1, 2]\n",
        b'{"command": 5}\n',
        b'{"command": "status", "more": 1}\n',
        b"[" * 100_000 + b"\n",
        b'{"command": "nothing of that name"}\n',
        b"x" * 300_000,
    ],
)
def test_what_is_no_request_gets_an_error(shared, line):
    answer = say(shared, line)
    assert answer["ok"] is False and answer["exit"] == ExitCode.USAGE and answer["error"]
    assert shared.states() == ["ready", "ready"]


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("scale", {"to": "many"}),
        ("scale", {"by": [1]}),
        ("scale", {"to": 2, "worker": "nobody"}),
        ("stop", {"timeout": "soon"}),
        ("query", {"what": "nothing of that name"}),
        ("query", {"what": 7, "args": 8}),
    ],
)
def test_what_makes_no_sense_is_refused(shared, command, args):
    with pytest.raises(RefusedByMaster) as raised:
        control_client.call(shared.state_dir / "chat.sock", command, args, timeout=10)
    assert raised.value.exit_code == ExitCode.USAGE
    assert shared.states() == ["ready", "ready"]


def test_peers_that_only_sit_there_do_not_keep_others_out(shared):
    idle = [dial(shared) for _ in range(63)]
    assert shared.states() == ["ready", "ready"]
    for sock in idle:
        sock.close()


def test_more_peers_than_allowed_wait_their_turn(shared):
    idle = [dial(shared) for _ in range(70)]
    with pytest.raises(TimedOut):
        control_client.call(shared.state_dir / "chat.sock", "status", timeout=0.3)
    for sock in idle:
        sock.close()
    assert until(lambda: shared.states()) == ["ready", "ready"]


def test_a_peer_that_goes_in_the_middle_hurts_nobody(shared):
    for line in (b"", b'{"command', b'{"command": "status"}\n', b'{"command": "query", "args": {"what": "rooms"}}\n'):
        with dial(shared) as sock:
            sock.sendall(line)
    assert shared.states() == ["ready", "ready"]


def test_nobody_there_is_told_apart(tmp_path):
    with pytest.raises(NotRunning):
        control_client.call(tmp_path / "no.sock", "status", timeout=1)
    deaf = socket.socket(socket.AF_UNIX)
    deaf.bind(str(tmp_path / "deaf.sock"))
    with pytest.raises(NotRunning):
        control_client.call(tmp_path / "deaf.sock", "status", timeout=1)
    deaf.listen()
    with deaf, pytest.raises(TimedOut):
        control_client.call(tmp_path / "deaf.sock", "status", timeout=0.2)


# ---- questions to the workers ----------------------------------------------------------------------


async def test_questions_reach_every_worker_and_a_silent_one_is_named(chatmaster):
    server = chatmaster(workers=2)
    for name in ("ann", "bob"):
        async with await ChatSocket.enter(server.url, "lobby", name=name):
            rows = server.ask("connections", "--room", "lobby")
            assert [row["rooms"].count("lobby") for row in rows] == [1]
    async with await ChatSocket.enter(server.url, "lobby", name="cleo") as cleo:
        assert [row["name"] for row in server.ask("who", "lobby") if row["user"] == cleo.user] == ["cleo"]
        os.kill(server.pids[0], signal.SIGSTOP)
        until(lambda: server.states()[0] == "stopped")
        done = server.ctl("rooms")
        assert done.returncode == 0 and "worker 0 did not answer" in done.stderr
        os.kill(server.pids[0], signal.SIGCONT)


async def test_answers_of_any_size_come_whole(shared):
    pids = shared.pids
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await RawSocket.open(shared.url)) for _ in range(80)]
        for client in clients:
            client.send_text("join")
        for client in clients:
            assert await client.read_message() == "joined"
        rows = shared.ask("connections")
        assert len(rows) == len(clients) and all(len(row["rooms"]) >= 90 for row in rows)
        until(lambda: {row["rooms"] for row in shared.status()["workers"]} == {90}, what="only real rooms are counted")
        assert "rooms" not in shared.status()["totals"]
        assert len(json.dumps(rows)) > 2 * 212_992  # more than two workers can send in a packet each
        tail = subprocess.Popen(
            shared.command("tail", "loud", "--json"), env=shared.environment, stdout=subprocess.PIPE, text=True
        )
        until(lambda: any(row["room"] == "loud" for row in shared.ask("rooms")), what="the room is followed")
        clients[0].send_text("shout")
        assert tail.stdout is not None and json.loads(tail.stdout.readline())["payload"] == "x" * 150_000
        tail.send_signal(signal.SIGINT)
        tail.communicate(timeout=10)
    assert shared.pids == pids


async def test_who_lists_all_members_page_by_page(shared):
    async with AsyncExitStack() as stack:
        for _ in range(3):
            client = await stack.enter_async_context(await RawSocket.open(shared.url))
            client.send_text("sit")
            assert await client.read_message() == "seated"
        until(lambda: len(shared.ask("who", "hall")) == 3, what="all three sit there")
        assert not shared.ctl("who", "hall").stderr


async def test_bugs_of_an_application_are_counted(shared):
    async with await RawSocket.open(shared.url) as client:
        client.send_text("bug")
        assert (await client.wait_closed()).code == 1011
    until(lambda: b"\nchatmaster_callback_errors_total 1\n" in urlopen(f"{shared.http}/metrics", timeout=5).read())


def test_a_question_that_no_packet_holds_is_refused(shared):
    with pytest.raises(RefusedByMaster) as raised:
        control_client.call(
            shared.state_dir / "chat.sock", "query", {"what": "say", "args": {"text": "x" * 100_000}}, 10
        )
    assert raised.value.exit_code == ExitCode.USAGE


async def test_say_and_tail(chatmaster, tmp_path):
    server = chatmaster(workers=2)
    output = tmp_path / "tail"
    async with await ChatSocket.enter(server.url, "lobby") as client:
        with output.open("wb") as file:
            tail = subprocess.Popen(server.command("tail", "lobby", "--json"), env=server.environment, stdout=file)
        until(lambda: server.ctl("say", "lobby", "hello").returncode == 0 and output.read_text())
        row = json.loads(output.read_text().splitlines()[0])
        assert row["room"] == "lobby" and row["offset"] > 0 and "hello" in row["payload"]
        assert (await client.expect("message"))["text"] == "hello"
        tail.send_signal(signal.SIGINT)
        tail.wait(10)
