"""Callbacks that block: in threads they cost nobody but their connection, and on the loop they are named."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket, RawSocket

Make = Callable[..., Chatmaster]
BLOCKING = "tests/integration/programs/blocking.py"


async def test_threaded_callbacks_keep_each_connection_s_order_and_their_number_is_bounded(chatmaster: Make) -> None:
    server = chatmaster(BLOCKING, workers=1)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await RawSocket.open(server.url)) for _ in range(8)]
        began = time.monotonic()
        for number in range(20):  # more than a connection's inbox holds
            for client in clients:
                client.send_text(f"sleep {number}")
        for client in clients:
            assert [await client.read_message(30) for _ in range(20)] == [str(number) for number in range(20)]
        assert time.monotonic() - began < 8 * 20 * 0.05 * 0.75  # four at a time: a quarter, and room for load
        clients[0].send_text("most")
        assert await clients[0].read_message() == "4"


async def test_from_a_thread_a_program_is_told_how_to_send_and_may_wait_for_coroutines(chatmaster: Make) -> None:
    server = chatmaster(BLOCKING, workers=1)
    async with await RawSocket.open(server.url) as client, await RawSocket.open(server.url) as other:
        client.send_text("send")
        assert "use worker.call_soon_threadsafe(connection.send, …)" in str(await client.read_message())
        client.send_text("broadcast hello")
        assert await client.read_message() == await other.read_message() == "hello"
        client.send_text("thread")
        assert str(await client.read_message()).startswith("callback_")
        client.send_text("stop")
        assert (await client.wait_closed()).code == 1011


def blocked(server: Chatmaster) -> int:
    with urlopen(server.http + "/metrics", timeout=10) as response:
        (line,) = re.findall(r"^\w*loop_blocked_total (\d+)$", response.read().decode(), re.MULTILINE)
    return int(line)


@pytest.mark.parametrize(
    ("how", "line"),
    [("block", "time.sleep(seconds)"), ("timer", "time.sleep(seconds)"), ("regex", "re.match(PATTERN, text)")],
)
async def test_what_blocks_the_loop_is_named_with_its_line_long_before_the_worker_counts_as_hung(
    chatmaster: Make, how: str, line: str
) -> None:
    server = chatmaster(BLOCKING, workers=1)
    async with await RawSocket.open(server.url) as client:
        client.send_text(f"{how} 0.8")
        client.send_text("thread")
        await client.read_message(20)
        await until_async(lambda: "the worker is blocked" in server.log(), what="it is said")
        (said,) = [text for text in server.log().splitlines() if "the worker is blocked" in text]
        assert re.search(rf"for [01]\.\d s so far, by .*programs/blocking\.py:\d+ in \w+: {re.escape(line)}", said)
        assert blocked(server) == 1
        client.send_text(f"{how} 0.8")
        await until_async(lambda: blocked(server) == 2, what="the next is counted")
        assert server.log().count("the worker is blocked") == 1  # once a minute for each place


async def test_what_waits_or_runs_in_threads_is_not_called_blocking_and_a_long_block_is_said_again(
    chatmaster: Make,
) -> None:
    server = chatmaster(BLOCKING, workers=1)
    async with await RawSocket.open(server.url) as client:
        for number in range(20):
            client.send_text(f"sleep {number}")
        for _ in range(20):
            await client.read_message(30)
        os.kill(server.pids[0], signal.SIGSTOP)  # nobody's fault
        time.sleep(0.7)
        os.kill(server.pids[0], signal.SIGCONT)
        client.send_text("thread")
        await client.read_message()
        assert blocked(server) == 0 and "blocked" not in server.log()
        client.send_text("block 3")
        await until_async(lambda: "still blocked, for 2." in server.log(), what="it is said again")


HOOK = """
import time
from workers.chat import Chat

chat = Chat()


@chat.on_say
def say(request):
    time.sleep(0.8)  # asks a database, for example


worker = chat.worker
"""


async def test_a_hook_that_blocks_is_named_too(chatmaster: Make, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HOOK)
    server = chatmaster(str(tmp_path / "app.py"), workers=1)
    async with await ChatSocket.enter(server.url, "lobby") as client:
        assert (await client.ask(type="say", room="lobby", text="x"))["type"] == "ack"
        await until_async(lambda: "app.py:10 in say: time.sleep(0.8)" in server.log(), what="its line is named")


THREADED = """
import threading, time
from workers.chat import Chat, Refuse

chat = Chat()
seen = []


@chat.on_say(threaded=True)
def say(request):
    time.sleep(0.5)
    if request.text == "no":
        raise Refuse("not this")
    return f"{request.text} by {threading.current_thread().name.partition('_')[0]}"


@chat.on_kept(threaded=True)
def kept(message):
    time.sleep(0.5)
    raise ValueError("seen in a thread")


worker = chat.worker
"""


async def test_a_hook_may_run_in_threads_and_answers_as_any_other(chatmaster: Make, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(THREADED)
    server = chatmaster(str(tmp_path / "app.py"), workers=1)
    async with await ChatSocket.enter(server.url, "lobby") as client:
        assert (await client.ask(type="say", room="lobby", text="x"))["type"] == "ack"
        await client.expect("message", text="x by callback")
        assert (await client.ask(type="say", room="lobby", text="no"))["message"] == "not this"
        await until_async(lambda: "seen in a thread" in server.log(), what="on_kept was called, too")
    assert "the worker is blocked" not in server.log()
