"""Callbacks that block: in threads they cost nobody but their connection, and on the loop they are named."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from tests.support.server import Chatmaster
from tests.support.ws import RawSocket

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
