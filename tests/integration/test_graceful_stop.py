"""A graceful stop waits for the clients; a stop that comes while it waits sends them away in order."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.support import processes
from tests.support.server import ROOT, Chatmaster
from tests.support.wait import until, until_async
from tests.support.ws import RawSocket

ECHO = str(ROOT / "etc" / "examples" / "echo.py")


async def test_a_stop_during_a_graceful_stop_sends_the_clients_away_with_1001(
    chatmaster: Callable[..., Chatmaster],
) -> None:
    server = chatmaster(ECHO, workers=1, settings={"master.drain_timeout": 0.3})
    async with await RawSocket.open(server.url) as client:
        client.send_text("in")
        assert await client.read_message() == "in"
        processes.send(server.pid, signal.SIGQUIT)
        await until_async(lambda: server.states() == ["draining"], what="the worker waits for its client")
        client.send_text("still served")
        assert await client.read_message() == "still served"
        processes.send(server.pid, signal.SIGTERM)
        assert (await client.wait_closed()).code == 1001
    until(lambda: not server.running, what="the server has ended")
