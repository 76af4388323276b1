"""The poller of clients' sockets: who is told in a turn, who no more, and what a hold by the store delays."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.workers.transport.pairs import Pair, ended
from tests.workers.transport.serving import until
from workers.transport.poller import A_TURN, SocketPoller


async def test_more_sockets_than_a_turn_looks_at_are_all_served(pair: Callable[[], Pair]) -> None:
    pairs = [pair() for _ in range(A_TURN + 40)]
    for one in pairs:
        one.peer.sendall(b"x")
    await until(lambda: all(one.protocol.data for one in pairs), 20)
    for one in pairs:
        one.transport.abort()
    await until(lambda: all(one.protocol.lost for one in pairs))


async def test_a_socket_that_another_process_has_too_is_told_of_no_more(pair: Callable[[], Pair]) -> None:
    one, other = pair(), pair()
    with socket.socket(fileno=other.transport.get_extra_info("socket").fileno()) as shared:
        copy = shared.dup()
        shared.detach()
    await ended(other)
    with copy:
        other.peer.sendall(b"for the copy")
        one.peer.sendall(b"x")
        await until(lambda: one.protocol.data)
        assert copy.recv(100) == b"for the copy"
        assert other.protocol.data == b""
    await ended(one)


async def test_one_that_is_ended_in_a_turn_gets_nothing_more_in_that_turn(pair: Callable[[], Pair]) -> None:
    """Both are ready when the kernel is asked; what the first one brings ends the second one."""
    one, other = pair(), pair()
    one.protocol.on_data = lambda data: other.transport.abort()
    one.peer.sendall(b"x")
    other.peer.sendall(b"y")
    await until(lambda: other.protocol.lost)
    assert other.protocol.told == ["lost"]
    assert other.protocol.data == b""
    third = pair()  # on the descriptor of the second one
    third.peer.sendall(b"z")
    await until(lambda: third.protocol.data == b"z")
    assert other.protocol.data == b""
    await ended(third)
    await ended(one)


# ---- held by the store ----------------------------------------------------------------------------------


async def end(pairs: list[Pair]) -> None:
    for each in pairs:
        each.transport.abort()
    await until(lambda: all(each.protocol.lost for each in pairs))


async def test_a_held_poller_tells_of_nothing_until_it_is_asked(pair: Callable[[], Pair]) -> None:
    one = pair()
    poller = one.transport._poller
    poller.hold()
    poller.hold()
    witness = Pair(SocketPoller())
    one.peer.sendall(b"early")
    witness.peer.sendall(b"in the next turn")
    await until(lambda: witness.protocol.data)
    assert one.protocol.data == b""
    poller.take()
    assert one.protocol.data == b"early"
    one.peer.sendall(b" late")
    poller.release()
    poller.release()
    await until(lambda: one.protocol.data == b"early late")
    poller.take()  # asks nothing of a poller that nobody holds
    await end([one, witness])
    witness.peer.close()


async def test_a_poller_whose_last_socket_closes_while_it_is_held_watches_the_next_one(
    pair: Callable[[], Pair],
) -> None:
    one = pair()
    poller = one.transport._poller
    poller.hold()
    one.transport.abort()
    await until(lambda: len(poller) == 0 and bool(one.protocol.lost))
    poller.take()
    other = pair()
    other.peer.sendall(b"here")
    await until(lambda: other.protocol.data == b"here")
    poller.release()
    await end([other])


async def test_a_socket_that_closes_in_the_very_turn_of_a_held_poller_is_no_trouble(pair: Callable[[], Pair]) -> None:
    one = pair()
    poller = one.transport._poller
    one.protocol.on_data = lambda data: one.transport.abort()
    poller.hold()
    one.peer.sendall(b"end")
    poller.take()
    poller.release()
    await until(lambda: bool(one.protocol.lost))


async def test_more_sockets_than_a_turn_takes_are_not_held(
    pair: Callable[[], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.transport.poller.A_TURN", 2)
    pairs = [pair() for _ in range(3)]
    poller = pairs[0].transport._poller
    poller.hold()
    for each in pairs:
        each.peer.sendall(b"here")
    poller.take()
    poller.hold()
    await until(lambda: all(each.protocol.data == b"here" for each in pairs))
    await end(pairs)
