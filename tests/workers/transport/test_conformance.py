"""RFC 6455 case by case: what a peer sends, and the echoes and the close code that it must get.

Modelled on the groups of the Autobahn test suite. Every case runs in one piece, byte by byte, and on a
connection that negotiated permessage-deflate.
"""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Message, Ping, Pong
from wsproto.extensions import PerMessageDeflate

from tests.workers.transport.cases import BINARY, CASES, LIMIT, PING, close
from tests.workers.transport.serving import DEFLATE, App, Served, frame, text, until


def compressed_twin(name: str) -> bool:
    """Whether a case means the same on a compressed connection."""
    return name != "all reserved bits on a ping"


class Reader:
    """A wsproto client that collects what comes back, its Close included."""

    def __init__(self, deflate: bool) -> None:
        extension = PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True)
        extension._enabled = True
        self.connection = Connection(ConnectionType.CLIENT, extensions=[extension] if deflate else [])
        self.messages: list[str | bytes] = []
        self.pongs: list[bytes] = []
        self.code: int | None = None
        self._parts: list[Any] = []

    def receive(self, data: bytes) -> None:
        self.connection.receive_data(data)
        for event in self.connection.events():
            if isinstance(event, Message):
                self._parts.append(event.data)
                if event.message_finished:
                    empty = "" if isinstance(event.data, str) else b""
                    self.messages.append(empty.join(self._parts))
                    self._parts.clear()
            elif isinstance(event, Pong):
                self.pongs.append(bytes(event.payload))
            elif isinstance(event, CloseConnection):
                self.code = event.code


async def exchange(served, data: bytes, *, deflate: bool, split: bool) -> Reader:
    """Send the bytes, read until the server closes."""
    peer = await served.open(*([DEFLATE] if deflate else []))
    if split:
        for index in range(len(data)):
            peer.write(data[index : index + 1])
            await asyncio.sleep(0)  # a segment of its own, as far as the kernel lets it
    else:
        peer.write(data)
    reader = Reader(deflate)
    reader.receive(await peer.rest())
    peer.writer.close()
    return reader


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@pytest.mark.parametrize("name", CASES)
async def test_case(serve, name: str, deflate: bool) -> None:
    if deflate and not compressed_twin(name):
        pytest.skip("the case is about a bit that has a meaning here")
    data, echoes, code = CASES[name]
    served = await serve(message_size=LIMIT)
    bystander = await served.open()
    for split in (False, True) if len(data) < 2000 else (False,):
        reader = await exchange(served, data, deflate=deflate, split=split)
        assert reader.messages == echoes
        assert reader.code == code
        owner = served.app.seen[-1]
        await owner.ended()
        assert [closed for closed, _ in owner.closes] == [code]
    bystander.write(text("still here"))
    assert await bystander.message() == "still here"


async def test_pings_are_answered_in_order_with_their_payload(serve) -> None:
    served = await serve()
    data = b"".join(frame(PING, payload) for payload in (b"", b"1", b"x" * 125)) + close(1000)
    assert (await exchange(served, data, deflate=False, split=False)).pongs == [b"", b"1", b"x" * 125]


@pytest.mark.parametrize(
    ("data", "code"),
    [(frame(BINARY, b"x"), 1003), (frame(BINARY, b"x", fin=False), 1003)],
    ids=["whole", "a fragment"],  # the mask is random, and every process has to name the tests alike
)
async def test_binary_is_refused_where_only_text_is_wanted(serve, data: bytes, code: int) -> None:
    served = await serve(binary=False)
    assert (await exchange(served, text("a") + data, deflate=False, split=False)).code == code
    assert served.endpoint.shared.counts.protocol_errors == 1


async def test_compressed_messages_are_read_whole_and_in_fragments(serve) -> None:
    served = await serve()
    peer = await served.open(DEFLATE)
    client = Compressing()
    sent = ["hello " * 100, "é" * 3000, ""]
    for message in sent:
        peer.write(client.send(message))
        peer.write(client.send(message, fragments=7))
    expected = [message for message in sent for _ in range(2)]
    while len(client.reader.messages) < len(expected):
        client.reader.receive(await asyncio.wait_for(peer.reader.read(65536), 5))
    assert served.app.seen[-1].messages == client.reader.messages == expected


async def test_what_inflates_beyond_the_limit_is_refused(serve) -> None:
    served = await serve(message_size=1000)
    peer = await served.open(DEFLATE)
    peer.write(Compressing().send("a" * 100_000))
    assert await peer.closed_with() == 1009


async def test_a_compressed_frame_without_the_extension_is_refused(serve) -> None:
    served = await serve()
    peer = await served.open()
    peer.write(Compressing().send("hello " * 100))
    assert await peer.closed_with() == 1002


class Compressing:
    """wsproto's frames with permessage-deflate, as a client sends them."""

    def __init__(self) -> None:
        self.reader = Reader(deflate=True)

    def send(self, message: str, fragments: int = 1) -> bytes:
        size = max(1, len(message) // fragments + 1)
        parts = [message[start : start + size] for start in range(0, max(1, len(message)), size)]
        return b"".join(
            self.reader.connection.send(Message(data=part, message_finished=index == len(parts) - 1))
            for index, part in enumerate(parts)
        )


MESSAGES = st.lists(st.one_of(st.text(max_size=200), st.binary(max_size=200)), max_size=8)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=MESSAGES, fragments=st.integers(1, 4), cuts=st.lists(st.integers(1, 300), max_size=30))
def test_any_segmentation_of_any_stream_gives_the_same_messages(messages, fragments, cuts) -> None:
    asyncio.run(segmented(messages, fragments, cuts))


async def segmented(messages: list[Any], fragments: int, cuts: list[int]) -> None:
    """Feed what wsproto makes of the messages to a connection, cut anywhere."""
    app = App(on_message=lambda seen, data: None)
    served = await Served.start(app=app)
    peer = await served.open()
    await until(lambda: app.seen)
    data = bytearray()
    framing = Connection(ConnectionType.CLIENT)
    for message in messages:
        size = len(message) // fragments + 1
        parts = [message[start : start + size] for start in range(0, max(1, len(message)), size)]
        for index, part in enumerate(parts):
            data += framing.send(Message(data=part, message_finished=index == len(parts) - 1))
            if index:
                data += framing.send(Ping(payload=b"between"))
    ws = app.seen[0].ws
    while data:
        size = cuts.pop() if cuts else len(data)
        ws.data_received(bytes(data[:size]))
        del data[:size]
    assert app.seen[0].messages == messages
    assert ws._tail is None
    peer.writer.close()
    await served.close()
