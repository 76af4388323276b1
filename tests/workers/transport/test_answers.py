"""Answers wait until the next turn, leave by one write with whatever else is written, and are never lost."""

import asyncio
from typing import Any

import pytest

from tests.workers.transport.serving import App, text, until
from workers.close_codes import CloseCode
from workers.rooms.flush import FlushQueue
from workers.rooms.stats import RoomStats
from workers.transport.answers import AnswerQueue
from workers.transport.frames import text_frame


class Recorder:
    """A transport that notes what is written at once."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def opened(serve: Any, on_message: Any) -> tuple[Any, Any, Recorder]:
    """A peer, the WebSocket of the server, and what is written to it."""
    served = await serve(app=App(on_message))
    peer = await served.open()
    await until(lambda: served.app.seen)
    ws = served.app.seen[0].ws
    recorder = ws.transport = Recorder(ws.transport)
    return peer, ws, recorder


async def test_the_answers_of_a_turn_leave_by_one_write(serve: Any) -> None:
    def answer(seen: Any, data: str) -> None:
        for part in "abc":
            seen.ws.write_answer(text_frame(part.encode()))

    peer, _, recorder = await opened(serve, answer)
    peer.write(text("ask"))
    assert [await peer.message() for _ in "abc"] == ["a", "b", "c"]
    assert recorder.written == [b"\x81\x01a\x81\x01b\x81\x01c"]


async def test_what_is_written_in_the_next_turn_takes_the_answers_along(serve: Any) -> None:
    def answer(seen: Any, data: str) -> None:
        seen.ws.write_answer(text_frame(b"a"))
        asyncio.get_running_loop().call_soon(seen.ws.write_frame, text_frame(b"b"))

    peer, _, recorder = await opened(serve, answer)
    peer.write(text("ask"))
    assert [await peer.message() for _ in "ab"] == ["a", "b"]
    assert recorder.written == [b"\x81\x01a\x81\x01b"]


async def test_what_else_is_written_takes_the_answers_along_in_order(serve: Any) -> None:
    def answer(seen: Any, data: str) -> None:
        seen.ws.write_answer(text_frame(b"a"))
        seen.ws.write_frame(text_frame(b"b"))
        seen.ws.write_answer(text_frame(b"c"))

    peer, _, recorder = await opened(serve, answer)
    peer.write(text("ask"))
    assert [await peer.message() for _ in "abc"] == ["a", "b", "c"]
    assert recorder.written == [b"\x81\x01a\x81\x01b", b"\x81\x01c"]


@pytest.mark.parametrize("end", ["close", "fail"])
async def test_a_close_comes_after_the_answers(serve: Any, end: str) -> None:
    def answer(seen: Any, data: str) -> None:
        seen.ws.write_answer(text_frame(b"a"))
        getattr(seen.ws, end)(CloseCode.GOING_AWAY, "")

    peer, _, _ = await opened(serve, answer)
    peer.write(text("ask"))
    assert await peer.message() == "a"
    assert await peer.close_code() == CloseCode.GOING_AWAY


async def test_a_connection_that_moves_has_its_answers_written_before(serve: Any) -> None:
    frozen: list[Any] = []

    def answer(seen: Any, data: str) -> None:
        seen.ws.write_answer(text_frame(b"a"))
        frozen.append(seen.ws.freeze())
        seen.ws.write_answer(text_frame(b"b"))

    peer, ws, recorder = await opened(serve, answer)
    peer.write(text("ask"))
    assert await peer.message() == "a"
    assert frozen[0] is not None
    assert recorder.written == [b"\x81\x01a"]
    assert ws.pending_output == (b"\x81\x01b", None)
    ws.unfreeze()
    assert await peer.message() == "b"


async def test_a_reader_that_takes_no_answers_is_cut(serve: Any) -> None:
    def answer(seen: Any, data: str) -> None:
        seen.ws.write_answer(text_frame(bytes(60_000)))

    served = await serve(app=App(answer), queue_size=100_000)
    peer = await served.open()
    peer.writer.transport.pause_reading()
    await until(lambda: served.app.seen)
    (seen,) = served.app.seen
    end = asyncio.get_running_loop().time() + 20
    while not seen.closes and asyncio.get_running_loop().time() < end:
        peer.write(text("ask"))
        await asyncio.sleep(0)
    assert [code for code, _ in seen.closes] == [CloseCode.TOO_SLOW]
    assert not served.endpoint.shared.answers.waiting


class Connection:
    """Takes its answers from the queue, and notes when it writes them by themselves."""

    def __init__(self, queue: AnswerQueue) -> None:
        self.queue = queue
        self.alone: list[bytes] = []

    def answer(self, frame: bytes) -> None:
        self.queue.add(self, self, frame)

    def write_answers(self) -> None:
        self.alone.append(self.queue.take(self))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_answers_wait_longer_for_messages_that_are_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.transport.answers.LONGEST", 20.0)
    queue = AnswerQueue()
    early, late = Connection(queue), Connection(queue)
    early.answer(b"a")
    queue.wait_for("one room")
    await turns(10)
    late.answer(b"b")
    queue.wait_for("another")
    await turns(10)
    assert queue.take(early) == b"a"
    queue.awaited.discard("one room")
    queue.messages_written()  # not those of the other room
    await turns(10)
    assert queue.take(late) == b"b"
    queue.messages_written()
    early.answer(b"c")
    await until(lambda: early.alone)
    assert (early.alone, late.alone) == ([b"c"], []), "an answer without messages to come waits for two turns"


async def test_answers_wait_for_messages_that_do_not_come_for_a_moment_only() -> None:
    queue = AnswerQueue()
    one = Connection(queue)
    for number in range(1, 4):
        one.answer(b"a")
        queue.wait_for("room")
        queue.wait_for("room")
        async with asyncio.timeout(20):
            while len(one.alone) < number:
                await asyncio.sleep(0.001)
    queue.wait_for("room")  # with nothing that waits
    one.answer(b"a")
    await turns(5)
    assert one.alone == [b"a"] * 4


class Written:
    """A room whose messages take no answers along, as those with a key do."""

    dirty = False
    busy = False
    batch = ()

    def __init__(self) -> None:
        self.flushes = 0

    def flush(self, budget: int) -> int:
        self.flushes += 1
        return 1


async def test_answers_that_the_messages_did_not_take_along_leave_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.transport.answers.LONGEST", 20.0)
    queue, one, room, other = AnswerQueue(), Connection(AnswerQueue()), Written(), Written()
    one.queue = queue
    flushes = FlushQueue(0.0, RoomStats(), queue)
    one.answer(b"a")
    queue.wait_for(room)
    flushes.mark(other)
    await until(lambda: other.flushes)
    await turns(10)
    assert not one.alone, "the messages of the room are not there yet"
    flushes.mark(room)
    await until(lambda: room.flushes)
    assert one.alone == [b"a"]
