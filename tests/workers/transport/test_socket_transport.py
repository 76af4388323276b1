"""A client's socket: what is written arrives once and in order, limits are told of, and every end is told once."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.workers.transport.serving import until
from workers.transport.poller import A_TURN, SocketPoller
from workers.transport.socket_transport import PARTS, READ_SIZE, SocketTransport, Writable, write_to_all

LARGE = 4 << 20  # bytes; more than the kernel takes of a socket that nobody reads


class Recorder(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.told: list[str] = []
        self.lost: list[Exception | None] = []
        self.keeps_open = False
        self.on_data: Callable[[bytes], None] = lambda data: None

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.on_data(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.keeps_open

    def pause_writing(self) -> None:
        self.told.append("paused")

    def resume_writing(self) -> None:
        self.told.append("resumed")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.lost.append(exc)


class Pair:
    """A transport, and the plain socket at the other end."""

    def __init__(self, poller: SocketPoller) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.peer = socket.create_connection(listener.getsockname())
            sock, self.address = listener.accept()
        self.protocol = Recorder()
        self.transport = SocketTransport(poller, sock.detach(), self.protocol)
        self.transport.resume_reading()

    async def read(self, size: int) -> bytes:
        """So many bytes at the other end, or fewer if it ends before."""
        self.peer.setblocking(False)
        data = b""
        while len(data) < size:
            part = await asyncio.get_running_loop().sock_recv(self.peer, 1 << 20)
            if not part:
                break
            data += part
        return data

    def reset(self) -> None:
        """Let the peer end the connection with RST."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()


@pytest.fixture
def poller() -> Iterator[Callable[[], SocketPoller]]:
    made: list[SocketPoller] = []

    def make() -> SocketPoller:
        made.append(SocketPoller())
        return made[-1]

    yield make
    assert not any(map(len, made)), "something is still watched"


@pytest.fixture
def pair(poller: Callable[[], SocketPoller]) -> Iterator[Callable[[], Pair]]:
    pairs: list[Pair] = []

    def make() -> Pair:
        pairs.append(Pair(pairs[0].transport._poller if pairs else poller()))
        return pairs[-1]

    yield make
    for one in pairs:
        one.peer.close()


async def ended(pair: Pair) -> None:
    pair.transport.abort()
    await until(lambda: pair.protocol.lost)


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


# ---- the poller, held by the store ---------------------------------------------------------------------


async def end(pairs: list[Pair]) -> None:
    for each in pairs:
        each.transport.abort()
    await until(lambda: all(each.protocol.lost for each in pairs))


async def test_a_held_poller_tells_of_nothing_until_it_is_asked(pair: Callable[[], Pair]) -> None:
    one = pair()
    poller = one.transport._poller
    poller.hold()
    poller.hold()
    one.peer.sendall(b"early")
    await asyncio.sleep(0.05)
    assert one.protocol.data == b""
    poller.take()
    assert one.protocol.data == b"early"
    one.peer.sendall(b" late")
    poller.release()
    poller.release()
    await until(lambda: one.protocol.data == b"early late")
    poller.take()  # asks nothing of a poller that nobody holds
    await end([one])


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
    await asyncio.sleep(0.01)
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
    await asyncio.sleep(0.01)
    poller.take()
    poller.hold()
    await until(lambda: all(each.protocol.data == b"here" for each in pairs))
    await end(pairs)
