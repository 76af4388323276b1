"""A client's socket: what is written arrives once and in order, limits are told of, and every end is told once."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.workers.transport.pairs import Pair, Recorder, ended
from tests.workers.transport.serving import until
from workers.transport.poller import SocketPoller
from workers.transport.socket_transport import PARTS, READ_SIZE, SocketTransport, Writable, write_to_all

LARGE = 4 << 20  # bytes; more than the kernel takes of a socket that nobody reads


async def test_what_is_written_is_sent_at_once(pair: Callable[[], Pair]) -> None:
    one = pair()
    one.transport.write(b"hello ")
    one.transport.writelines([b"wor", bytearray(b"l"), memoryview(b"d")])
    assert one.peer.recv(100) == b"hello world"  # without a turn of the loop
    assert one.transport.get_write_buffer_size() == 0
    await ended(one)


async def test_what_the_kernel_does_not_take_is_sent_later_and_in_order(pair: Callable[[], Pair]) -> None:
    one = pair()
    rng = random.Random(7)
    sent = b""
    for _ in range(300):
        part: Any = rng.randbytes(rng.choice([0, 1, 50, 70_000]))
        sent += part
        one.transport.write(rng.choice([bytes, bytearray, memoryview])(part))
    waiting = one.transport.get_write_buffer_size()
    assert 0 < waiting < len(sent)
    assert await one.read(len(sent)) == sent
    await until(lambda: one.transport.get_write_buffer_size() == 0)
    assert one.protocol.told == ["paused", "resumed"]
    await ended(one)


async def test_many_empty_writes_hold_nothing_up(pair: Callable[[], Pair]) -> None:
    one = pair()
    one.transport.write(b"x" * LARGE)
    for _ in range(2 * PARTS):
        one.transport.write(b"")
    one.transport.write(b"y")
    assert await one.read(LARGE + 1) == b"x" * LARGE + b"y"
    await ended(one)


class Other:
    """A transport of another class, which refuses as uvloop's does when it is closed."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        if self.written:
            raise RuntimeError("closed")
        self.written = data


def _shut(transport: SocketTransport) -> None:
    transport.write_eof()


def _wait_and_close(transport: SocketTransport) -> None:
    transport.write(b"y" * LARGE)
    transport.close()


STATES: dict[str, Callable[[SocketTransport], None]] = {
    "free": lambda transport: None,
    "waiting": lambda transport: transport.write(b"y" * LARGE),
    "shut": _shut,
    "closing": _wait_and_close,
    "closed": SocketTransport.close,
    "aborted": SocketTransport.abort,
}


@pytest.mark.parametrize("size", [0, 5, LARGE])
async def test_a_write_to_all_is_a_write_to_each(pair: Callable[[], Pair], size: int) -> None:
    data, other = b"x" * size, Other()
    ones, alls = ({state: pair() for state in STATES} for _ in range(2))
    for name, prepare in STATES.items():
        prepare(ones[name].transport)
        prepare(alls[name].transport)
    alls_and_other: list[Writable] = [other, *[one.transport for one in alls.values()], other]
    for one in ones.values():
        one.transport.write(data)
    write_to_all(alls_and_other, data)
    assert other.written == data
    for name in STATES:
        by_one, by_all = ones[name], alls[name]
        assert by_all.transport.is_closing() is by_one.transport.is_closing(), name
        assert by_all.protocol.told == by_one.protocol.told, name
        by_one.transport.close()
        by_all.transport.close()
        expected = (b"y" * LARGE if name in ("waiting", "closing") else b"") + (
            data if name in ("free", "waiting") else b""
        )
        assert await by_all.read(len(expected) + 1) == expected == await by_one.read(len(expected) + 1), name
    await until(lambda: all(one.protocol.lost == [None] for one in [*ones.values(), *alls.values()]))


async def test_a_write_to_all_passes_over_a_dead_peer(pair: Callable[[], Pair]) -> None:
    dead, alive = pair(), pair()
    dead.transport.pause_reading()
    dead.reset()
    writes = 0
    while not dead.transport.is_closing():
        write_to_all([dead.transport, alive.transport], b"x")
        writes += 1
        await asyncio.sleep(0)
    assert await alive.read(writes) == b"x" * writes
    await until(lambda: dead.protocol.lost)
    await ended(alive)


async def test_a_socket_that_cannot_be_watched_costs_its_own_connection(
    pair: Callable[[], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    full, other = pair(), pair()
    full.transport.pause_reading()

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "fs.epoll.max_user_watches")

    with monkeypatch.context() as patched:
        patched.setattr(SocketPoller, "watch", refuse)
        write_to_all([full.transport, other.transport], b"x" * LARGE)
    assert await other.read(LARGE) == b"x" * LARGE
    await until(lambda: full.protocol.lost)
    assert isinstance(full.protocol.lost[0], OSError)
    await ended(other)


async def test_a_socket_that_cannot_be_read_on_costs_its_own_connection(
    pair: Callable[[], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    paused, other = pair(), pair()
    paused.transport.pause_reading()  # gives its watch back, and somebody else takes it

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "fs.epoll.max_user_watches")

    with monkeypatch.context() as patched:
        patched.setattr(SocketPoller, "watch", refuse)
        paused.transport.resume_reading()
        paused.transport.resume_reading()
    await until(lambda: paused.protocol.lost)
    assert isinstance(paused.protocol.lost[0], OSError)
    assert len(paused.protocol.lost) == 1
    await ended(other)


async def test_what_was_written_is_not_changed_by_the_writer_afterwards(pair: Callable[[], Pair]) -> None:
    one = pair()
    data = bytearray(b"a" * LARGE)
    one.transport.write(data)
    data[:] = b"b" * LARGE
    assert await one.read(LARGE) == b"a" * LARGE
    await ended(one)


async def test_the_marks_are_the_callers(pair: Callable[[], Pair]) -> None:
    one = pair()
    one.transport.write(b"x" * LARGE)
    assert one.protocol.told == ["paused"]
    assert one.transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
    await one.read(LARGE)
    await until(lambda: one.protocol.told == ["paused", "resumed"])
    one.transport.set_write_buffer_limits(2 * LARGE, LARGE)
    one.transport.write(b"x" * LARGE)
    assert one.protocol.told == ["paused", "resumed"]
    one.transport.set_write_buffer_limits(high=8)
    assert one.transport.get_write_buffer_limits() == (2, 8)
    one.transport.set_write_buffer_limits(low=8)
    assert one.transport.get_write_buffer_limits() == (8, 32)
    with pytest.raises(ValueError, match="at least"):
        one.transport.set_write_buffer_limits(high=1, low=2)
    await ended(one)


async def test_reading_pauses_and_goes_on(pair: Callable[[], Pair]) -> None:
    one, other = pair(), pair()
    one.transport.pause_reading()
    one.transport.pause_reading()
    assert not one.transport.is_reading()
    one.peer.sendall(b"first")
    other.peer.sendall(b"other")
    await until(lambda: other.protocol.data)
    assert one.protocol.data == b""
    one.transport.resume_reading()
    one.transport.resume_reading()
    await until(lambda: one.protocol.data == b"first")
    await ended(one)
    await ended(other)


async def test_a_pause_in_the_middle_of_a_storm_holds(pair: Callable[[], Pair]) -> None:
    one = pair()
    one.protocol.on_data = lambda data: one.transport.pause_reading()
    one.peer.sendall(b"x" * (3 * READ_SIZE))
    await until(lambda: one.protocol.data)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(one.protocol.data) <= READ_SIZE
    await ended(one)


async def test_the_peer_closes(pair: Callable[[], Pair]) -> None:
    one = pair()
    one.peer.sendall(b"bye")
    one.peer.close()
    await until(lambda: one.protocol.lost)
    assert one.protocol.data == b"bye"
    assert one.protocol.told == ["eof", "lost"]
    assert one.protocol.lost == [None]
    assert one.transport.is_closing()


async def test_a_side_that_is_kept_open_can_still_be_written_to(pair: Callable[[], Pair]) -> None:
    one = pair()
    one.protocol.keeps_open = True
    one.peer.shutdown(socket.SHUT_WR)
    await until(lambda: one.protocol.told == ["eof"])
    one.transport.write(b"still here")
    assert await one.read(10) == b"still here"
    assert not one.transport.is_closing()
    await ended(one)


@pytest.mark.parametrize("paused", [False, True])
async def test_a_reset_is_told_once_whatever_is_under_way(pair: Callable[[], Pair], *, paused: bool) -> None:
    one = pair()
    one.transport.write(b"x" * LARGE)
    if paused:
        one.transport.pause_reading()
    one.reset()
    await until(lambda: one.protocol.lost)
    assert one.protocol.told == ["paused", "lost"]
    assert isinstance(one.protocol.lost[0], OSError)
    one.transport.write(b"into the void")
    one.transport.close()
    one.transport.abort()
    one.transport.resume_reading()
    assert one.transport.get_write_buffer_size() == 0
    assert one.transport.get_extra_info("peername") is None
    await asyncio.sleep(0)
    assert len(one.protocol.lost) == 1


async def test_a_write_to_a_dead_peer_is_no_exception(pair: Callable[[], Pair]) -> None:
    one = pair()
    one.transport.pause_reading()
    one.reset()
    while not one.transport.is_closing():  # the kernel says so at the first or the second write
        one.transport.write(b"x")
        await asyncio.sleep(0)
    await until(lambda: one.protocol.lost)
    assert one.protocol.told == ["lost"]


async def test_close_sends_what_waits(pair: Callable[[], Pair]) -> None:
    one = pair()
    one.transport.write(b"x" * LARGE)
    one.transport.close()
    one.transport.write(b"too late")
    assert one.transport.is_closing()
    assert not one.protocol.lost
    assert await one.read(LARGE + 1) == b"x" * LARGE
    await until(lambda: one.protocol.lost == [None])


async def test_close_without_anything_waiting_is_told_in_the_next_turn(pair: Callable[[], Pair]) -> None:
    one = pair()
    one.transport.close()
    assert not one.protocol.lost
    await asyncio.sleep(0)
    assert one.protocol.lost == [None]
    assert await one.read(1) == b""


async def test_abort_drops_what_waits(pair: Callable[[], Pair]) -> None:
    one = pair()
    one.transport.write(b"x" * LARGE)
    one.transport.abort()
    await asyncio.sleep(0)
    assert one.protocol.told == ["paused", "lost"]
    assert len(await one.read(LARGE)) < LARGE


@pytest.mark.parametrize("size", [3, LARGE])
async def test_the_end_of_writing_comes_after_what_waits(pair: Callable[[], Pair], size: int) -> None:
    one = pair()
    assert one.transport.can_write_eof()
    one.transport.write(b"x" * size)
    one.transport.write_eof()
    one.transport.write_eof()
    one.transport.write(b"too late")
    assert await one.read(size + 1) == b"x" * size
    await asyncio.get_running_loop().sock_sendall(one.peer, b"the other side is open")
    await until(lambda: one.protocol.data == b"the other side is open")
    await ended(one)


async def test_a_protocol_that_fails_ends_its_own_connection_only(pair: Callable[[], Pair]) -> None:
    one, other = pair(), pair()
    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context))

    def fail(data: bytes) -> None:
        raise ValueError("a bug")

    one.protocol.on_data = fail
    one.peer.sendall(b"x")
    other.peer.sendall(b"y")
    await until(lambda: one.protocol.lost and other.protocol.data)
    assert isinstance(one.protocol.lost[0], ValueError)
    assert [context["transport"] for context in failed] == [one.transport]
    await ended(other)


async def test_another_protocol_goes_on(pair: Callable[[], Pair]) -> None:
    one = pair()
    second = Recorder()
    one.protocol.on_data = lambda data: one.transport.set_protocol(second)
    one.peer.sendall(b"first")
    await until(lambda: one.protocol.data)
    one.peer.sendall(b"second")
    await until(lambda: second.data == b"second")
    assert one.transport.get_protocol() is second
    one.transport.close()
    await until(lambda: second.lost)
    assert not one.protocol.lost


async def test_what_is_known_of_the_socket(pair: Callable[[], Pair]) -> None:
    one = pair()
    assert one.transport.get_extra_info("peername") == one.address
    assert one.transport.get_extra_info("sockname") == one.peer.getpeername()
    assert one.transport.get_extra_info("socket").fileno() > 0
    assert one.transport.get_extra_info("sslcontext", "none") == "none"
    await ended(one)
