"""Application code may raise anything: it costs the one connection, and is said in the log; the worker lives."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.server import Chatmaster, DidNotStart
from tests.support.wait import until_async
from tests.support.ws import ChatSocket, Closed, RawSocket

Make = Callable[..., Chatmaster]
COUNTED = re.compile(r"\w*callback_errors_total\b")
ESCAPES = "tests/integration/programs/escapes.py"
WAYS = ("await_cancelled", "cancel_oneself", "leave", "interrupt", "generator_exit", "leave_later")


def errors(server: Chatmaster) -> int:
    with urlopen(server.http + "/metrics", timeout=10) as response:
        text = response.read().decode()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in text.splitlines() if COUNTED.match(line))


async def test_whatever_a_callback_raises_costs_its_connection_alone_and_a_reload_stays_quick(
    chatmaster: Make,
) -> None:
    server = chatmaster(ESCAPES, workers=1)
    pids = server.pids
    async with await RawSocket.open(server.url) as witness:
        for way in WAYS:
            async with await RawSocket.open(server.url) as client:
                client.send_text(f"fail {way}")
                client.send_text("echo never")  # what waits goes with the connection
                assert (await client.wait_closed()).code == 1011, way
            async with await RawSocket.open(f"{server.url}?connect={way}") as client:
                assert (await client.wait_closed()).code == 1011, way
            async with await RawSocket.open(f"{server.url}?close={way}") as client:
                await client.close()
            witness.send_text(f"echo {way}")
            assert await witness.read_message() == way
        # on_message, on_connect, and on_error after each of them; on_close.
        await until_async(lambda: errors(server) >= 6 * len(WAYS) - 2, what="each is counted")
        assert server.pids == pids and server.status()["workers"][0]["restarts"] == 0
        began = time.monotonic()
        assert server.ctl("reload").returncode == 0
        assert time.monotonic() - began < 8
        witness.send_text("echo still here")
        assert await witness.read_message() == "still here"
    assert server.stop() == 0
    log = server.log()
    for said in ("a callback failed", "SystemExit", "KeyboardInterrupt", "CancelledError", "on_worker_reload failed"):
        assert said in log
    assert "on_worker_stop failed; the worker still ends" in log
    assert "died" not in log


async def test_neither_a_task_nor_a_handle_nor_a_timer_of_the_program_ends_the_worker(chatmaster: Make) -> None:
    server = chatmaster(ESCAPES, workers=1)
    pids = server.pids
    async with await RawSocket.open(server.url) as client:
        for said in ("task leave_later", "task interrupt", "soon leave", "soon interrupt", "stop", "timer leave"):
            client.send_text(said)
            client.send_text(f"echo {said}")
            assert await client.read_message() == said
        client.send_text("timer cancel_oneself")
        await until_async(lambda: errors(server) >= 20, what="the timers go on")
        client.send_text("pid")
        assert await client.read_message() == str(pids[0])
    log = server.log()
    assert "outside a callback; the worker continues" in log
    assert "application code stopped the worker's loop" in log
    assert log.count("timer 1 (fail) failed; it continues") == 1  # however often it has failed since


@pytest.mark.parametrize("way", ["await_cancelled", "leave"])
def test_a_start_that_exits_is_said_as_such(chatmaster: Make, way: str) -> None:
    server = chatmaster(ESCAPES, workers=1, environment={"FAIL_AT_START": way}, start=False)
    with pytest.raises(DidNotStart) as failed:
        server.start()
    assert failed.value.exit_code == 5
    assert "the worker could not start" in failed.value.reason


def test_a_program_that_exits_while_it_is_imported_is_said_as_such(chatmaster: Make, tmp_path: Path) -> None:
    program = tmp_path / "app.py"
    program.write_text("import argparse\nargparse.ArgumentParser().parse_args(['--no-such'])\n")
    server = chatmaster(str(program), workers=1, start=False)
    with pytest.raises(DidNotStart) as failed:
        server.start()
    assert failed.value.exit_code == 5 and "could not be loaded: SystemExit: 2" in failed.value.reason


@pytest.mark.parametrize(
    "name, told", [("no_such_package", True), ("no_such_package.part", True), ("json.no_part", False)]
)
def test_a_missing_package_is_said_with_the_command_that_installs_it(
    chatmaster: Make, tmp_path: Path, name: str, told: bool
) -> None:
    program = tmp_path / "app.py"
    program.write_text(f"import {name}\n")
    done = chatmaster(str(program), start=False).ctl("check", str(program))
    assert done.returncode == 5 and "could not be loaded: ModuleNotFoundError: No module named" in done.stderr
    assert ("install the package that has the module no_such_package: " in done.stderr) == told, done.stderr


HOOKS = """
import asyncio, sys
from workers.chat import Chat

chat = Chat()


@chat.on_say
async def say(request):
    if request.text == "exit":
        sys.exit(2)
    if request.text == "cancelled":
        job = asyncio.ensure_future(asyncio.sleep(60))
        job.cancel()
        await job
    if request.text == "oneself":
        asyncio.current_task().cancel()
        await asyncio.sleep(60)


@chat.on_join
def join(request):
    if request.room == "exit":
        raise KeyboardInterrupt


@chat.on_kept
async def kept(message):
    await asyncio.sleep(0)
    sys.exit(3)


worker = chat.worker
"""


async def test_a_hook_that_exits_or_is_cancelled_refuses_with_internal_and_is_counted(
    chatmaster: Make, tmp_path: Path
) -> None:
    program = tmp_path / "app.py"
    program.write_text(HOOKS)
    server = chatmaster(str(program), workers=1)
    pids = server.pids
    async with await ChatSocket.enter(server.url, "lobby") as client:
        for text in ("exit", "cancelled", "oneself"):
            answer = await client.ask(type="say", room="lobby", text=text)
            assert (answer["type"], answer["code"]) == ("error", "internal"), text
        assert (await client.ask(type="join", room="exit"))["code"] == "internal"
        assert (await client.ask(type="say", room="lobby", text="fine"))["type"] == "ack"
        await until_async(lambda: errors(server) == 5, what="four hooks that refuse and one that sees are counted")
        assert server.ctl("reload").returncode == 0
        try:
            assert (await client.ask(type="say", room="lobby", text="fine"))["type"] == "ack"
        except Closed as closed:
            raise AssertionError(f"the reload closed it: {closed}") from closed
    assert server.pids != pids and "died" not in server.log()
