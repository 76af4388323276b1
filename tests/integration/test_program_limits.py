"""What a program's clients may cost: too fast is slowed down, too many are refused, and only they feel it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.request import urlopen

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


async def test_a_program_has_no_limit_unless_one_is_set(chatmaster: Make) -> None:
    server = chatmaster(ECHO, workers=1)
    async with await RawSocket.open(server.url) as client:
        began = time.monotonic()
        for number in range(2000):
            client.send_text(str(number))
        assert [await client.read_message(30) for _ in range(2000)] == [str(number) for number in range(2000)]
        assert time.monotonic() - began < 10  # at 20 a second it took 98 s, or the client's life
    assert throttled(server) == 0 and "limits.rate" not in server.log()
    rows = {row["key"]: row for row in server.ask("config", "--set", f"server.app={ECHO}")}
    assert rows["limits.rate"]["value"] == 0 and rows["limits.rate"]["origin"].startswith("program")


async def test_a_limit_that_is_set_is_said_once_a_minute_and_costs_nobody_its_connection(chatmaster: Make) -> None:
    settings = {"limits.rate": 10, "limits.burst": 5, "limits.ping_interval": 0.4, "limits.ping_timeout": 0.4}
    server = chatmaster(ECHO, workers=1, settings=settings)
    async with await RawSocket.open(server.url) as client:
        for number in range(35):
            client.send_text(str(number))
        # It answers pings, which are not read for longer than ping_timeout.
        assert [await client.read_message(30) for _ in range(35)] == [str(number) for number in range(35)]
    assert throttled(server) >= 10
    (said,) = [line for line in server.log().splitlines() if "limits.rate" in line]
    assert "sends faster than limits.rate (10 messages a second, limits.burst 5): the server reads" in said


def throttled(server: Chatmaster) -> int:
    with urlopen(server.http + "/metrics", timeout=10) as response:
        (count,) = re.findall(r"^\w*throttled_total (\d+)$", response.read().decode(), re.MULTILINE)
    return int(count)


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
