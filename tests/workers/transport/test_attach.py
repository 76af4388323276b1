"""A batch of connections that moved here from another worker."""

from __future__ import annotations

import socket

from workers.transport.config import EndpointConfig
from workers.transport.endpoint import Endpoint
from workers.transport.snapshot import ConnectionState, encode_state


def _state(number: int) -> bytes:
    state = ConnectionState(b"", 1.0, number, 0, 0, ("127.0.0.1", number), "/", "", None, False, "", "")
    return encode_state(state)


async def test_one_connection_that_cannot_be_read_costs_no_other_of_its_batch() -> None:
    endpoint = Endpoint(EndpointConfig(), None)  # type: ignore[arg-type]
    pairs = [socket.socketpair() for _ in range(3)]
    states = [_state(1), b"no state at all", _state(3)]
    free = endpoint.shared.descriptors.used
    found = endpoint.attach([(ours.detach(), state) for (ours, _), state in zip(pairs, states, strict=True)])
    assert [type(one).__name__ for one in found] == ["WebSocket", "ValidationError", "WebSocket"]
    assert [one.bytes_in for one in found if not isinstance(one, Exception)] == [1, 3]
    assert endpoint.shared.counts.connections == 2
    assert endpoint.shared.descriptors.used == free + 2
    pairs[1][1].setblocking(False)
    assert pairs[1][1].recv(1) == b"", "the descriptor of what could not be read is closed"
    first, _, last = found
    assert not isinstance(first, Exception) and not isinstance(last, Exception)
    assert first.handshake is last.handshake, "equal handshakes are one object"
    endpoint.close()
    for _, theirs in pairs:
        theirs.close()
