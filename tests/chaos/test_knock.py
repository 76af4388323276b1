"""Handshakes during reloads and scalings, in small; `python -m tests.chaos.knock` is the long one."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import closing

from tests.chaos.handshakes import IN, REFUSED, RESET, Handshakes
from tests.chaos.knock import Knocks, knock, plan
from tests.support.processes import free_port
from tests.support.server import Chatmaster
from tests.support.wait import until_async


def test_nobody_is_turned_away_while_workers_come_and_go(chatmaster: Callable[..., Chatmaster]) -> None:
    found = knock(chatmaster(workers=2), rate=100, processes=1, reloads=2, scalings=1)
    assert found.operations == ["reload", "scale +1", "reload", "scale -1"]
    assert not found.bad and not found.failed, str(found)
    assert found.outcomes[IN] > 50, str(found)


def test_a_plan_has_what_was_asked_for_and_ends_with_as_many_workers() -> None:
    steps = Counter(plan(20, 10))
    assert steps == {("reload",): 20, ("scale", "+1"): 10, ("scale", "-1"): 10}


async def _outcomes(url: str) -> Counter[str]:
    knocking, over = Handshakes(url, 100), asyncio.Event()
    going = asyncio.create_task(knocking.go_on(over))
    await until_async(lambda: knocking.outcomes.total() >= 5, what="five handshakes have ended")
    over.set()
    await going
    return knocking.outcomes


async def test_a_port_where_nobody_listens_and_one_that_resets_are_told_apart() -> None:
    assert set(await _outcomes(f"ws://127.0.0.1:{free_port()}/")) == {REFUSED}

    def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert set(await _outcomes(f"ws://127.0.0.1:{port}/")) == {RESET}


async def test_a_queue_that_nobody_empties_is_a_timeout(monkeypatch) -> None:
    monkeypatch.setattr("tests.chaos.handshakes.TIMEOUT", 0.2)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        found = await _outcomes(f"ws://127.0.0.1:{silent.getsockname()[1]}/")
    assert set(found) == {"timed out"}
    assert Knocks(outcomes=found).bad == dict(found)
