"""An open connection: closing it, bad applications, silent and slow peers, pausing."""

import asyncio
import gc
import logging
import os
import socket
from functools import partial

import pytest
from websockets.server import ServerProtocol

from tests.workers.transport.serving import App, frame, text, until
from workers.transport import frames
from workers.transport.handshake import Handshake
from workers.transport.websocket import CONTROL_WORK, WebSocket

CLOSE = 8


async def open_pair(serve, **config):
    """A server's connection with its owner, and the peer."""
    served = await serve(**config)
    peer = await served.open()
    await until(lambda: served.app.seen)
    return served, served.app.seen[0], peer


async def test_the_server_closes_with_a_code_and_waits_for_the_peer(serve) -> None:
    served, owner, peer = await open_pair(serve)
    owner.ws.close(4003, "kicked")
    received = await peer.next()
    assert (int(received.payload[0]), received.payload[1]) == (4003, "kicked")
    assert served.endpoint.shared.counts.connections == 1
    peer.write(text("crossing") + frame(CLOSE, b"\x03\xe8"))
    assert await peer.rest() == b""
    await until(lambda: served.endpoint.shared.counts.connections == 1)
    assert owner.closes == [(4003, "kicked")]
    assert owner.messages == []


async def test_a_peer_that_does_not_answer_a_close_is_dropped_in_time(serve) -> None:
    served, owner, peer = await open_pair(serve, close_timeout=0.2)
    owner.ws.close(1012)
    assert await peer.closed_with() == 1012
    await until(lambda: served.endpoint.shared.counts.connections == 0)
    assert owner.closes == [(1012, "")]


async def test_closing_twice_and_writing_after_it_do_nothing(serve) -> None:
    _, owner, peer = await open_pair(serve)
    owner.ws.close(4001)
    owner.ws.close(4002)
    owner.ws.send("too late")
    owner.ws.abort(4004)
    assert await peer.rest() in (b"", b"\x88\x02\x0f\xa1")
    assert owner.closes == [(4001, "")]


async def test_a_lost_connection_is_1006(serve) -> None:
    _, owner, peer = await open_pair(serve)
    peer.writer.transport.abort()
    await until(lambda: owner.closes)
    assert owner.closes == [(1006, "")]


async def test_a_half_closed_connection_is_over(serve) -> None:
    served, owner, peer = await open_pair(serve)
    peer.writer.write_eof()
    assert await peer.rest() == b""
    await until(lambda: served.endpoint.shared.counts.connections == 0)
    assert owner.closes == [(1006, "")]


async def test_the_reason_of_a_failure_reaches_a_peer_that_is_still_sending(serve) -> None:
    _, owner, peer = await open_pair(serve, message_size=1000)
    peer.write(text("x" * 1001))
    for _ in range(50):
        peer.write(bytes(65536))
    assert await peer.close_code() == 1009
    await until(lambda: owner.closes)
    assert owner.closes[0][0] == 1009


async def test_an_exception_in_a_callback_is_logged_once_and_costs_that_connection(serve, caplog) -> None:
    def stumble(seen, data):
        raise LookupError("a bug")

    served, _, peer = await open_pair(serve, app=App(stumble))
    other = await served.open()
    peer.write(text("a") + text("b"))
    received = await peer.next()
    assert int(received.payload[0]) == 1011
    assert "bug" not in received.payload[1]
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.exc_info[0] for record in errors] == [LookupError]
    assert served.endpoint.shared.counts.callback_errors == 1
    other.write(frame(9, b"alive"))
    assert (await other.next()).payload == b"alive"


async def test_an_exception_in_closed_or_paused_is_caught_too(serve, caplog) -> None:
    served, owner, peer = await open_pair(serve, queue_size=4096)
    owner.on_write_paused = owner.on_close = lambda *_: 1 / 0
    owner.ws.send(bytes(8_000_000))
    await until(lambda: owner.ws.state != 0)
    peer.writer.transport.abort()
    await until(lambda: served.endpoint.shared.counts.connections == 0)
    assert served.endpoint.shared.counts.callback_errors == 2
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 2


async def test_pings_keep_a_live_peer_and_end_a_dead_one(serve) -> None:
    served = await serve(ping_interval=0.2, ping_timeout=0.4)
    live, dead = await served.open(), await served.open()
    pings = 0

    async def answer() -> None:
        nonlocal pings
        while True:
            received = await live.next()
            if received.opcode == 9 and answering:
                pings += 1
                live.write(frame(10, received.payload))

    answering = asyncio.create_task(answer())
    assert (await dead.next()).opcode == 9
    await until(lambda: served.app.seen[1].closes)
    assert served.app.seen[1].closes[0][0] == 4010
    await until(lambda: pings > 5)
    assert served.app.seen[0].closes == []
    answering.cancel()


async def test_a_reader_that_takes_what_is_before_the_ping_is_alive(serve) -> None:
    """All of it is in this kernel's buffer, and the reader needs longer for it than for answering a ping."""
    _, owner, peer = await open_pair(serve, ping_interval=0.2, ping_timeout=0.8)
    sock = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    peer.writer.transport.pause_reading()
    for _ in range(20):
        owner.ws.send(bytes(50_000))
    await until(lambda: owner.ws.buffered == 0)
    taken, end = 0, asyncio.get_running_loop().time() + 2.5  # three times as long as a ping may be unanswered
    while asyncio.get_running_loop().time() < end:
        taken += len(os.read(sock.fileno(), 32_768))
        await asyncio.sleep(0.1)  # the reader's own pace, not a wait
    assert 0 < owner.ws.unsent < 1_000_000 - taken
    assert owner.closes == []
    await until(lambda: owner.closes, 20)  # now nothing is read any more
    assert owner.closes[0][0] == 4010


async def test_a_closed_socket_has_nothing_unsent_in_the_kernel(serve) -> None:
    served, owner, _ = await open_pair(serve)
    owner.ws.abort()
    await until(lambda: served.endpoint.shared.counts.connections == 0)
    assert owner.ws.unsent == 0


async def test_any_traffic_is_a_sign_of_life(serve) -> None:
    _, owner, peer = await open_pair(serve, ping_interval=0.1, ping_timeout=0.2)
    end = asyncio.get_running_loop().time() + 1
    while asyncio.get_running_loop().time() < end:
        peer.write(frame(10, b""))
        await asyncio.sleep(0.05)
    assert owner.closes == []


async def test_a_slow_reader_pauses_and_resumes(serve) -> None:
    _, owner, peer = await open_pair(serve, queue_size=65536)
    while "paused" not in owner.flow:
        owner.ws.send(bytes(16384))
        await asyncio.sleep(0)
    assert owner.ws.writing_paused
    assert owner.ws.buffered > 65536
    while "resumed" not in owner.flow:
        await peer.next()
    assert owner.flow == ["paused", "resumed"]
    assert not owner.ws.writing_paused


async def test_a_reader_that_takes_nothing_is_cut_where_too_much_waits(serve) -> None:
    served, owner, _ = await open_pair(serve, queue_size=65536)
    most = 0
    while owner.ws.is_open:
        owner.ws.send(bytes(4096))
        most = max(most, owner.ws.buffered if owner.ws.is_open else 0)
        await asyncio.sleep(0)
    assert most <= served.endpoint.shared.config.most_waiting
    await until(lambda: served.endpoint.shared.counts.connections == 0)
    assert [code for code, _ in owner.closes] == [4008]


async def test_who_reads_a_step_of_the_log_may_ask_and_be_answered_meanwhile(serve) -> None:
    """A step is written whole while less than the queue waits; it had cut the reader with the next answer."""
    _, owner, peer = await open_pair(serve, queue_size=4096)
    while not owner.ws.writing_paused:  # first the kernel's buffers are filled
        owner.ws.transport.write(frames.text_frame(bytes(4000)))
    step = frames.text_frame(b" " * 8000) * 16
    owner.ws.transport.write(step)  # as a lagging member's
    owner.ws.write_frame(frames.text_frame(b" " * 300_000))  # a page of history
    peer.write(frame(9, b"alive"))
    while (received := await peer.next()).opcode != 10:
        pass
    assert received.payload == b"alive" and owner.ws.is_open


async def test_one_message_beyond_the_queue_waits_for_its_reader_up_to_the_bound_of_the_buffer(serve) -> None:
    served, owner, peer = await open_pair(serve, queue_size=65536, max_send_buffer=16_000_000)
    for _ in range(2):
        owner.ws.send(bytes(7_000_000))
        owner.ws.send("and a small one, while that is on its way")
    assert owner.ws.is_open and owner.flow == ["paused"]
    with pytest.raises(ValueError, match=r"bytes is larger than worker.max_send_buffer \(16000000\)"):
        owner.ws.send(bytes(16_000_001))
    got = 0
    while got < 2 * (7_000_000 + 41):
        got += len((await peer.next()).payload)
    await until(lambda: owner.flow == ["paused", "resumed"])
    while owner.ws.is_open:  # small ones have the small bound again
        owner.ws.send(bytes(4096))
    assert owner.ws.buffered <= served.endpoint.shared.config.most_waiting


async def test_more_than_the_buffer_may_hold_cuts_the_reader(serve) -> None:
    served, owner, _ = await open_pair(serve, queue_size=65536, max_send_buffer=16_000_000)
    for _ in range(3):
        owner.ws.send(bytes(7_000_000))
    await until(lambda: served.endpoint.shared.counts.connections == 0)
    assert [code for code, _ in owner.closes] == [4008]


async def test_pings_without_reading_the_answers_end_at_the_same_bound(serve) -> None:
    _, owner, peer = await open_pair(serve, queue_size=8192, control_frames=10**9)
    flood = frame(9, b"x" * 125) * 500

    async def write() -> None:
        peer.reader._limit = 0  # asyncio's reader stops reading from the socket beyond twice its limit
        while True:
            peer.write(flood)
            await peer.writer.drain()

    flooding = asyncio.create_task(write())
    await until(lambda: owner.closes, 20)
    assert [code for code, _ in owner.closes] == [4008]
    flooding.cancel()


@pytest.mark.parametrize("flood", [frame(9), frame(10), frame(0, b"", fin=False)], ids=["pings", "pongs", "fragments"])
async def test_a_flood_of_frames_that_are_no_messages_is_ended(serve, flood: bytes) -> None:
    served, owner, peer = await open_pair(serve)
    peer.write(frame(1, b"", fin=False) + flood * 5000)
    await owner.ended()
    assert owner.closes[0][0] == 4009
    assert served.endpoint.shared.counts.protocol_errors == 1


async def test_frames_that_come_slowly_are_no_flood(serve) -> None:
    served, owner, peer = await open_pair(serve, control_frames=10)
    keepalive = served.endpoint.shared.keepalive
    for _ in range(6):
        peer.write(frame(10) * 5)
        await until(lambda: owner.ws.side_work == 5 * CONTROL_WORK)
        while owner.ws.side_work:  # until the visit that comes once in a ping interval
            keepalive.sweep(served.endpoint.shared.now())
    assert owner.closes == []


async def test_what_is_over_is_let_go_without_the_garbage_collector(serve) -> None:
    served = await serve()
    gc.collect()
    gc.disable()
    try:
        for number in range(20):
            peer = await served.open()
            peer.write(frame(8, b"\x03\xe8") if number % 2 else text("bye"))
            await peer.next()
            peer.writer.close()
        await until(lambda: served.endpoint.shared.descriptors.used == 0)
        served.app.seen.clear()
        await until(lambda: not any(type(thing) in (WebSocket, Handshake) for thing in gc.get_objects()))
    finally:
        gc.enable()


FIRST, LAST = frame(1, b"a", fin=False), frame(0, b"b")
WRONG = b"\x83\x80\0\0\0\0"  # there is no such opcode


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        (frame(CLOSE, b"\x03\xe8"), True),
        (frame(CLOSE), True),
        (WRONG, True),
        (LAST, True),  # the end of nothing
        (FIRST + frame(9) + LAST + text("bye"), True),
        (FIRST + frame(CLOSE, b"\x03\xe8"), True),
        (FIRST + WRONG, True),
        (FIRST + FIRST, True),
        (FIRST, False),  # and lost
    ],
    ids=["close", "close without a code", "failure", "late failure", "fragments", "close inside a message",
         "failure inside a message", "a message inside a message", "lost inside a message"],
)  # fmt: skip
async def test_no_parser_is_left_for_the_garbage_collector(serve, said: bytes, answered: bool) -> None:
    served = await serve()
    gc.collect()
    gc.disable()
    try:
        before = parsers()
        for _ in range(5):
            peer = await served.open()
            peer.write(said)
            if answered:
                await peer.next()
            else:
                await until(lambda: any(owner.ws.mid_message for owner in served.app.seen))
            peer.writer.transport.abort()
            await until(lambda: served.endpoint.shared.descriptors.used == 0)
            served.app.seen.clear()
        await until(lambda: parsers() == before)
    finally:
        gc.enable()


def parsers() -> int:
    """How many there are, garbage included."""
    return sum(type(thing) is ServerProtocol for thing in gc.get_objects())


async def test_a_stalled_reader_is_cut_by_the_sweeper(serve) -> None:
    _, owner, _ = await open_pair(serve, queue_size=65536, ping_interval=0.1, ping_timeout=0.2, lag_timeout=0.3)
    while not owner.ws.writing_paused:
        owner.ws.send(bytes(4096))
        await asyncio.sleep(0)
    await until(lambda: owner.closes)
    assert [code for code, _ in owner.closes] == [4008]


async def test_pausing_reads_stops_at_the_next_message_and_loses_nothing(serve) -> None:
    def pause(seen, data):
        seen.ws.pause_reading()

    _, owner, peer = await open_pair(serve, app=App(pause))
    tail = text("tail")
    peer.write(b"".join(text(str(number)) for number in range(5)) + tail[:4])
    for count in range(1, 6):
        await until(partial(owner.has, count))
        await asyncio.sleep(0.01)
        assert len(owner.messages) == count, "delivered while paused"
        if count == 3:
            peer.write(tail[4:])
        owner.ws.resume_reading()
    await until(lambda: owner.messages == ["0", "1", "2", "3", "4", "tail"])


async def test_closing_while_reading_is_paused_still_sees_the_answer(serve) -> None:
    served, owner, peer = await open_pair(serve)
    owner.ws.pause_reading()
    owner.ws.close(1001)
    assert await peer.close_code() == 1001
    peer.write(frame(CLOSE, b"\x03\xe9"))
    assert await peer.rest() == b""
    peer.writer.close()
    await until(lambda: served.endpoint.shared.counts.connections == 0)


async def test_remote_is_the_peer(serve) -> None:
    _, owner, peer = await open_pair(serve)
    assert owner.ws.remote == peer.writer.get_extra_info("sockname")[:2]


async def test_bytes_are_counted(serve) -> None:
    _, owner, peer = await open_pair(serve)
    peer.write(text("hello"))
    assert await peer.message() == "hello"
    assert (owner.ws.bytes_in, owner.ws.bytes_out, owner.ws.frames_in) == (11, 7, 1)


async def test_a_message_is_compressed_for_who_wants_it(serve) -> None:
    served = await serve()
    peer = await served.open("Sec-WebSocket-Extensions: permessage-deflate")
    await until(lambda: served.app.seen)
    served.app.seen[0].ws.send("hello " * 1000)
    head = await asyncio.wait_for(peer.reader.readexactly(2), 5)
    assert head[0] == 0xC1
    assert head[1] < 125


@pytest.mark.parametrize("code", [1005, 1006, 99])
async def test_a_close_code_that_must_not_be_sent_is_the_callers_bug(serve, code: int) -> None:
    _, owner, _ = await open_pair(serve)
    with pytest.raises(Exception, match="status code"):
        owner.ws.close(code)
    assert owner.ws.is_open
