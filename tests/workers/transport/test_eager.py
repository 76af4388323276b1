"""Many short waits side by side without a task for each, and what they are for: a batch of connections that moved."""

from __future__ import annotations

import asyncio
import socket

import pytest

from workers.transport.config import EndpointConfig
from workers.transport.eager import EagerCoroutine
from workers.transport.endpoint import Endpoint
from workers.transport.snapshot import ConnectionState, encode_state


async def test_it_runs_to_its_first_wait_at_once_and_the_waits_go_side_by_side() -> None:
    began: list[int] = []
    gate = asyncio.Event()

    async def work(number: int) -> int:
        began.append(number)
        await gate.wait()
        if number == 1:
            raise OSError("dead")
        await asyncio.sleep(0)
        return number

    works = [EagerCoroutine(work(number)) for number in range(3)]
    assert began == [0, 1, 2]
    asyncio.get_running_loop().call_soon(gate.set)
    assert await works[0] == 0
    with pytest.raises(OSError, match="dead"):
        await works[1]
    assert await works[2] == 2


async def test_what_never_waits_has_ended_before_it_is_awaited() -> None:
    async def right() -> str:
        return "done"

    async def wrong() -> str:
        raise OSError("dead")

    good, bad = EagerCoroutine(right()), EagerCoroutine(wrong())
    assert await good == "done"
    with pytest.raises(OSError, match="dead"):
        await bad


def _state(number: int) -> bytes:
    state = ConnectionState(b"", 1.0, number, 0, 0, ("127.0.0.1", number), "/", "", None, False, "", "")
    return encode_state(state)


async def test_one_connection_that_cannot_be_read_costs_no_other_of_its_batch() -> None:
    endpoint = Endpoint(EndpointConfig(), None)  # type: ignore[arg-type]
    pairs = [socket.socketpair() for _ in range(3)]
    states = [_state(1), b"no state at all", _state(3)]
    free = endpoint.descriptors.used
    found = await endpoint.attach_all([(ours, state) for (ours, _), state in zip(pairs, states, strict=True)])
    assert [type(one).__name__ for one in found] == ["WebSocket", "ValidationError", "WebSocket"]
    assert [one.remote[1] for one in found if not isinstance(one, Exception)] == [1, 3]
    assert endpoint.counts.connections == 2
    assert endpoint.descriptors.used == free + 2
    pairs[1][1].setblocking(False)
    assert pairs[1][1].recv(1) == b"", "the descriptor of what could not be read is closed"
    endpoint.close()
    for _, theirs in pairs:
        theirs.close()
