"""What a program's clients may cost: too fast is slowed down, too many are refused, and only they feel it."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.support.server import ROOT, Chatmaster
from tests.support.wait import until_async
from tests.support.ws import RawSocket
from workers import Gateway

Make = Callable[..., Chatmaster]
ECHO = str(ROOT / "etc" / "examples" / "echo.py")


async def test_a_client_that_is_too_fast_is_read_more_slowly_and_loses_nothing(chatmaster: Make) -> None:
    server = chatmaster(ECHO, workers=1, settings={"limits.rate": 50, "limits.burst": 5})
    async with await RawSocket.open(server.url) as fast, await RawSocket.open(server.url) as other:
        began = time.monotonic()
        for number in range(55):
            fast.send_text(str(number))
        other.send_text("at once")
        assert await other.read_message() == "at once"
        assert time.monotonic() - began < 0.9  # the flood is still being read
        assert [await fast.read_message() for _ in range(55)] == [str(number) for number in range(55)]
        assert time.monotonic() - began > 0.8  # 50 messages beyond the burst, at 50 a second


async def test_one_connection_too_many_is_closed_with_4004_on_whichever_worker(chatmaster: Make) -> None:
    server = chatmaster(ECHO, workers=2, settings={"limits.per_address": 3})
    sockets = [await RawSocket.open(server.url) for _ in range(3)]
    with Gateway(server.status()["store"]["url"]) as gateway:
        await until_async(lambda: gateway.online() == 3, what="all three are counted")
    async with await RawSocket.open(server.url) as late:
        assert (await late.wait_closed()).code == 4004
    for socket in sockets:
        socket.send_text("still in")
        assert await socket.read_message() == "still in"
        await socket.close()
