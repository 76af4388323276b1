"""Clients that send longer messages in fragments, as gorilla, Java's and others do unasked: they are no flood."""

from functools import partial

import pytest

from tests.workers.transport.serving import DEFLATE, App, Seen, frame, until
from workers.transport.frames import deflate
from workers.transport.parser import RSV1

CONT, TEXT, PING = 0, 1, 9
MESSAGE = b"x" * 16_500


def fragmented(message: bytes, size: int, *, last_empty: bool = False) -> bytes:
    """A text message in frames of `size` bytes."""
    parts = [message[at : at + size] for at in range(0, len(message), size)] + [b""] * last_empty
    last = len(parts) - 1
    return b"".join(frame(CONT if index else TEXT, part, fin=index == last) for index, part in enumerate(parts))


@pytest.mark.parametrize(
    ("size", "last_empty"),
    [(4096, False), (4096, True), (64, False)],
    ids=["of 4096 bytes", "of 4096 bytes and an empty end", "of 64 bytes"],
)
async def test_any_number_of_fragmented_messages_is_no_flood(serve, size: int, last_empty: bool) -> None:
    served = await serve(app=App(lambda seen, data: None))
    peer = await served.open()
    message = fragmented(MESSAGE, size, last_empty=last_empty)
    for _ in range(1200):  # of an hour at one in three seconds, or a minute at 19 a second, within one ping interval
        peer.write(message)
        await peer.writer.drain()
    await until(lambda: served.app.seen[0].has(1200) or served.app.seen[0].closes, 20)
    assert served.app.seen[0].closes == []
    assert set(served.app.seen[0].messages) == {MESSAGE.decode()}


def has(seen: Seen, count: int) -> bool:
    """Whether so many messages came, or the connection is over."""
    return seen.has(count) or bool(seen.closes)


@pytest.mark.parametrize("size", [16, 1024, 16_384, 131_072])
async def test_compressed_messages_in_fragments_of_256_bytes_are_no_flood(serve, size: int) -> None:
    """As cases 12 and 13 of Autobahn send them: each message as it was."""
    served = await serve(message_size=262_144, app=App(lambda seen, data: None))
    peer = await served.open(DEFLATE)
    await until(lambda: served.app.seen)
    words = "".join(f"{number * number:x} " for number in range(40_000))
    for number in range(300):
        message = words[number : number + size]
        parts = fragmented(deflate(message.encode()), 256)
        peer.write(bytes((parts[0] | RSV1,)) + parts[1:])
        await until(partial(has, served.app.seen[0], number + 1), 20)
        assert served.app.seen[0].messages[number] == message
    assert served.app.seen[0].closes == []


async def test_tiny_fragments_are_bounded_by_their_number(serve) -> None:
    served = await serve(control_frames=100)
    peer = await served.open()
    peer.write(frame(TEXT, b"x", fin=False) + frame(CONT, b"x", fin=False) * 800 + frame(CONT, b"x"))
    assert await peer.message() == "x" * 802
    peer.write(frame(TEXT, b"x", fin=False) + frame(CONT, b"x", fin=False) * 801)
    assert await peer.closed_with() == 4009


async def test_fragments_are_bounded_by_the_bytes_of_their_message(serve) -> None:
    served = await serve(message_size=1000)
    peer = await served.open()
    peer.write(fragmented(b"x" * 1000, 100))
    assert await peer.message() == "x" * 1000
    peer.write(fragmented(b"x" * 1001, 100))
    assert await peer.closed_with() == 1009
