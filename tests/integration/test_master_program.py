"""What settings and callbacks promise a program, seen from outside: each of them once, with a real server."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from tests.support.server import Chatmaster
from tests.support.wait import until
from tests.support.ws import ChatSocket, RawSocket

Make = Callable[..., Chatmaster]
DIARY = "tests/integration/programs/diary.py"
BATCH_DELAY = 1.0  # seconds: what a batch may wait while many are written to


async def test_every_callback_comes_in_its_order_and_with_little_to_write_no_batch_waits(
    chatmaster: Make, tmp_path: Path
) -> None:
    diary = tmp_path / "diary"
    server = chatmaster(
        DIARY, workers=1, settings={"server.max_batch_delay": BATCH_DELAY}, environment={"DIARY": str(diary)}
    )
    async with await RawSocket.open(server.url, receive_buffer=4096) as client:
        client.send_text("join")
        assert await client.read_message() == "joined"
        client.send_text("one")
        assert await client.read_message() == "one"
        began = time.monotonic()
        client.send_text("two")
        assert await client.read_message() == "two"
        assert time.monotonic() - began < BATCH_DELAY
        client.send_text("flood")
        until(lambda: "buffer_full" in diary.read_text(), what="the buffer is full")
        while await client.read_message() != "that was it":
            pass
        until(lambda: "buffer_drain" in diary.read_text(), what="the buffer is empty")
        await client.close()
    until(lambda: "close" in diary.read_text().splitlines(), what="the close is noted")
    assert server.stop() == 0
    assert diary.read_text().split() == [
        "worker_start", "connect", "websocket_connect", "buffer_full", "buffer_drain", "close", "worker_stop",
    ]  # fmt: skip


def status_of(url: str) -> int:
    try:
        with urlopen(url, timeout=5) as response:
            return int(response.status)
    except HTTPError as error:
        error.close()
        return error.code


async def test_a_worker_goes_at_its_age_and_keeps_its_clients_and_what_is_switched_off_is_not_there(
    chatmaster: Make,
) -> None:
    settings = {"server.max_lifetime": 3.0, "http.page": False, "http.metrics": False}
    server = chatmaster(workers=1, settings=settings)
    first = server.pids
    async with await ChatSocket.enter(server.url, "lobby") as client:
        assert [status_of(server.http + path) for path in ("/", "/metrics", "/health")] == [404, 404, 200]
        until(lambda: len(server.pids) == 1 and server.pids != first, 30, "it is replaced")
        client.send_json({"type": "say", "room": "lobby", "text": "still here", "id": 1})
        while (await client.receive_json())["type"] != "ack":
            pass
    (row,) = server.status()["workers"]
    assert row["generation"] == 1 and row["restarts"] == 0
    assert "it is older than server.max_lifetime (3 s, with jitter)" in server.log()


async def test_messages_wait_until_what_happens_on_connect_is_done(chatmaster: Make) -> None:
    server = chatmaster("tests/integration/programs/greeter.py", workers=1)
    for _ in range(20):
        async with await RawSocket.open(server.url) as client:
            client.send_text("at")
            client.send_text("once")
            assert [await client.read_message(), await client.read_message()] == ["11", "12"]
