"""What a program does to its own process is no harm to the server: it goes on, and its worker ends in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import Closed, RawSocket

Make = Callable[..., Chatmaster]
CARELESS = "tests/integration/programs/careless.py"


async def do(client: RawSocket, what: str) -> None:
    client.send_text(what)
    assert await client.read_message() == "done", what


async def test_a_worker_with_other_streams_ends_without_going_on_as_the_master(chatmaster: Make) -> None:
    """It has the master's stack below it, whose ending stops the store and removes the pid file."""
    server = chatmaster(CARELESS, workers=1, environment={"CARELESS": "streams"})
    store = server.store_pid
    async with await RawSocket.open(server.url) as client:
        for _ in range(2):
            assert server.ctl("reload").returncode == 0
            await do(client, "streams")
    assert server.store_pid == store and processes.alive(store)
    assert server.status()["store"]["restarts"] == 0
    assert (server.state_dir / "chat.pid").exists()
    assert server.stop() == 0
    assert server.log().count("has ended as ordered") == 3
    assert "Traceback" not in server.log()


@pytest.mark.parametrize(
    "what",
    ["die of SIGTERM", "exit by SIGTERM", "stop by SIGTERM", "a thread", "an endless task", "an endless timer"],
)
async def test_whatever_a_program_leaves_behind_its_worker_ends_soon_and_in_order(chatmaster: Make, what: str) -> None:
    server = chatmaster(CARELESS, workers=1)
    async with await RawSocket.open(server.url) as client:
        await do(client, what)
        await do(client, f"{server.directory}/tidy")
        began = time.monotonic()
        done = await asyncio.to_thread(server.ctl, "reload")
        assert done.returncode == 0
        assert time.monotonic() - began < 8  # 15 s with the worker called hung
        await do(client, what)
        assert (server.directory / "tidy").read_text() == "tidied up"  # a task that ends when it is cancelled
    assert server.stop() == 0
    assert server.log().count("has ended as ordered") == 2


LATE = """
from workers import Worker

worker = Worker(name="punctual")

@worker.on_message
def declare(connection, data):
    try:
        Worker("websocket://127.0.0.1:0", name="late")
    except RuntimeError as error:
        connection.send(str(error))

class Late(Worker):
    pass

@worker.on_worker_start
def declare_again(worker):
    try:
        Late()
    except RuntimeError:
        print("refused at the start", flush=True)
"""


async def test_a_worker_that_is_created_while_the_program_is_served_is_refused(
    chatmaster: Make, tmp_path: Path
) -> None:
    """The master never learns of it: without an error nothing would tell why nobody serves its address."""
    (tmp_path / "late.py").write_text(LATE)
    server = chatmaster(str(tmp_path / "late.py"), workers=1)
    async with await RawSocket.open(server.url) as client:
        client.send_text("go")
        answer = await client.read_message()
    assert "created too late" in str(answer) and "chatctl restart" in str(answer)
    assert "refused at the start" in server.log()
    assert server.ctl("reload").returncode == 0  # the module is imported again, which declares its Worker in time


@pytest.mark.parametrize("what", ["formatter", "factory"])
async def test_formatters_and_factories_of_the_program_that_fail_do_not_cost_the_log(
    chatmaster: Make, what: str
) -> None:
    server = chatmaster(CARELESS, workers=1)
    (pid,) = server.pids
    async with await RawSocket.open(server.url) as client:
        await do(client, what)
        await asyncio.sleep(1)  # what is gone is put back within half a second
        client.send_text("fail")
        assert (await client.wait_closed()).code == 1011
    await until_async(lambda: "ValueError: on purpose" in server.log(), what="the traceback is in the log")
    assert "Z worker 0 [" in server.log().split("a callback failed")[0].splitlines()[-1]
    assert server.pids == [pid]


async def test_a_program_that_cancels_every_task_is_told_so_and_its_worker_is_replaced(chatmaster: Make) -> None:
    server = chatmaster(CARELESS, workers=1)
    async with await RawSocket.open(server.url) as client:
        client.send_text("cancel all")
        with pytest.raises((Closed, OSError)):
            while True:
                await client.read_message()
    said = "application code cancelled the worker's own tasks"
    await until_async(lambda: said in server.log(), what="the log says it")
    await until_async(lambda: server.states() == ["ready"], what="another worker is ready")
    assert "could not start" not in server.log()


async def test_a_callback_that_returns_a_generator_fails_instead_of_doing_nothing(chatmaster: Make) -> None:
    server = chatmaster(CARELESS, workers=1, environment={"CARELESS": "generator"})
    async with await RawSocket.open(server.url) as client:
        assert (await client.wait_closed()).code == 1011
    assert "on_connect returned a generator, so none of its code ran" in server.log()
