"""The master's loop and its channel to a worker: nothing waits, nothing is lost, nothing grows without end."""

from __future__ import annotations

import os
import signal
import socket
import time

import pytest

from chatmaster import contract
from chatmaster.master.worker_channel import MOST_WAITING, Channel
from chatmaster.runtime.event_loop import READ, EventLoop

DEADLINE = 10.0


@pytest.fixture
def loop():
    made = EventLoop()
    yield made
    made.close()


@pytest.fixture
def pair():
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ends[1].setblocking(False)
    yield ends
    for end in ends:
        end.close()


def run(loop: EventLoop, done) -> None:
    deadline = time.monotonic() + DEADLINE
    loop.run_until(lambda: done() or time.monotonic() > deadline)
    assert done()


# ---- the loop --------------------------------------------------------------------------------------


def test_timers_come_in_the_order_of_their_time(loop):
    seen: list[str] = []
    now = time.monotonic()
    loop.call_at(now + 0.02, lambda: seen.append("late"))
    loop.call_at(now, lambda: seen.append("early"))
    loop.call_at(now + 0.01, lambda: seen.append("never")).cancel()
    run(loop, lambda: len(seen) == 2)
    assert seen == ["early", "late"]


def test_a_signal_ends_the_wait_and_is_handled_in_the_loop(loop):
    seen: list[int] = []
    loop.on_signal(signal.SIGUSR1, lambda: seen.append(1))
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGUSR1)
    try:
        run(loop, lambda: bool(seen))
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_a_bug_in_one_callback_does_not_end_the_loop(loop, caplog):
    seen: list[int] = []
    loop.call_later(0, lambda: 1 // 0)
    loop.call_later(0, lambda: seen.append(1))
    run(loop, lambda: bool(seen))
    assert "ZeroDivisionError" in caplog.text


def test_what_was_forgotten_in_the_same_turn_is_not_called(loop):
    seen: list[int] = []
    ends = [os.pipe() for _ in range(2)]

    def forget_all(fd: int) -> None:
        seen.append(fd)
        for reader, _ in ends:
            loop.forget(reader)

    for reader, writer in ends:
        loop.watch(reader, READ, lambda reader=reader: forget_all(reader))
        os.write(writer, b"x")
    run(loop, lambda: bool(seen))
    assert len(seen) == 1
    for fd in (fd for pair in ends for fd in pair):
        os.close(fd)


# ---- the channel -----------------------------------------------------------------------------------


def test_packets_come_whole_and_in_order(loop, pair):
    said: list[contract.FromWorker] = []
    channel = Channel(loop, pair[0], said.append)
    for number in range(200):
        pair[1].send(contract.encode(contract.Answer(number)))
        loop.run_until(lambda: True)
    run(loop, lambda: len(said) == 200)
    assert said == [contract.Answer(number) for number in range(200)]
    channel.close()


def test_what_cannot_be_understood_is_logged_and_passed_over(loop, pair, caplog):
    said: list[contract.FromWorker] = []
    channel = Channel(loop, pair[0], said.append)
    for packet in (b"\xc1", b"\x80", b"\x91" * 3000, contract.encode(contract.Ready())):
        pair[1].send(packet)
    run(loop, lambda: bool(said))
    assert said == [contract.Ready()] and "cannot be decoded" in caplog.text
    channel.close()


def test_a_packet_that_was_cut_is_said_to_be_lost(loop, pair, caplog):
    said: list[contract.FromWorker] = []
    channel = Channel(loop, pair[0], said.append)
    for rows in ([{"text": "x" * contract.MAX_PACKET}], []):
        pair[1].send(contract.encode(contract.Answer(1, rows)))
    run(loop, lambda: bool(said))
    assert said == [contract.Answer(1)] and "is lost" in caplog.text
    assert not channel.send(contract.Query(1, "x", {"text": "x" * contract.MAX_PACKET}))
    channel.close()


def test_a_worker_that_reads_nothing_costs_a_bounded_number_of_bytes(loop, pair):
    channel = Channel(loop, pair[0], lambda message: None)
    query = contract.Query(1, "x", {"text": "x" * 60_000})
    sent = 0
    while channel.send(query):
        sent += 1
        assert sent < 2 * MOST_WAITING // 60_000
    for _ in range(sent):
        run(loop, lambda: _readable(pair[1]))
        assert contract.decode_to_worker(pair[1].recv(contract.MAX_PACKET)) == query
    assert channel.send(query)
    channel.close()


def test_descriptors_travel_with_their_packet_even_when_it_has_to_wait(loop, pair, tmp_path):
    channel = Channel(loop, pair[0], lambda message: None)
    filler = contract.Query(1, "x", {"text": "x" * 60_000})
    for _ in range(10):
        channel.send(filler)
    with (tmp_path / "file").open("w+b") as file:
        file.write(b"mine")
        file.flush()
        assert channel.send(contract.Adopt("ws://127.0.0.1:1"), [file.fileno()])
    received: list[int] = []
    while not received:
        run(loop, lambda: _readable(pair[1]))
        _, received, _, _ = socket.recv_fds(pair[1], contract.MAX_PACKET, 4)
    assert os.pread(received[0], 10, 0) == b"mine"
    os.close(received[0])
    channel.close()


def test_a_dead_worker_is_no_error(loop, pair):
    channel = Channel(loop, pair[0], lambda message: None)
    pair[1].close()
    assert channel.send(contract.ReopenLogs())
    channel.read_rest()
    channel.close()
    assert not channel.send(contract.ReopenLogs())


def _readable(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
