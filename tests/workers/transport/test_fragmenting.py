"""Clients that send longer messages in fragments, as gorilla, Java's and others do unasked: they are no flood."""

import pytest

from tests.workers.transport.serving import App, frame, until

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
