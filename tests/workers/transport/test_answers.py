"""Answers wait until the next turn, leave by one write with whatever else is written, and are never lost."""

import asyncio
from typing import Any

import pytest

from tests.workers.transport.serving import App, text, until
from workers.close_codes import CloseCode
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
