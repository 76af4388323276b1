"""RFC 6455 case by case: what a peer sends, and the echoes and the close code that it must get.

Modelled on the groups of the Autobahn test suite. Every case runs in one piece, byte by byte, and on a
connection that negotiated permessage-deflate.
"""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Message, Ping, Pong
from wsproto.extensions import PerMessageDeflate

from tests.workers.transport.serving import DEFLATE, App, Served, frame, text, until

TEXT, BINARY, CLOSE, PING, PONG, CONT = 1, 2, 8, 9, 10, 0
LIMIT = 65_536


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def bits(first: int, second: int, rest: bytes = b"") -> bytes:
    return bytes((first, second)) + rest


MASK = b"\0\0\0\0"

# name: (what is sent, messages echoed, close code)
CASES = {
    # 1 framing
    "empty text": (text("") + close(1000), [""], 1000),
    "text of 125, 126, 127": (b"".join(text("x" * n) for n in (125, 126, 127)) + close(1000), ["x" * n for n in (125, 126, 127)], 1000),
    "text of 65,536": (text("*" * LIMIT) + close(1000), ["*" * LIMIT], 1000),
    "empty binary": (frame(BINARY) + close(1000), [b""], 1000),
    "binary of 65,536": (frame(BINARY, bytes(LIMIT)) + close(1000), [bytes(LIMIT)], 1000),
    # 2 pings and pongs
    "a ping between messages": (text("a") + frame(PING, b"hi") + text("b") + close(1000), ["a", "b"], 1000),
    "a ping of 126": (bits(0x89, 0xFE, b"\0\x7e" + MASK + b"x" * 126), [], 1002),
    "an unsolicited pong": (frame(PONG, b"x") + text("a") + close(1000), ["a"], 1000),
    # 3 reserved bits, 4 opcodes
    "rsv2": (bits(0xA1, 0x80, MASK), [], 1002),
    "rsv3": (bits(0x91, 0x80, MASK), [], 1002),
    "all reserved bits on a ping": (bits(0xF9, 0x80, MASK), [], 1002),
    "opcode 3": (bits(0x83, 0x80, MASK), [], 1002),
    "opcode 11 with data after text": (text("a") + bits(0x8B, 0x81, MASK + b"x"), ["a"], 1002),
    # 5 fragments
    "text in three frames": (frame(TEXT, b"a", fin=False) + frame(CONT, b"b", fin=False) + frame(CONT, b"c") + close(1000), ["abc"], 1000),
    "binary in two frames": (frame(BINARY, b"a", fin=False) + frame(CONT, b"b") + close(1000), [b"ab"], 1000),
    "a ping inside a message": (frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(CONT, b"b") + close(1000), ["ab"], 1000),
    "many empty fragments": (frame(TEXT, b"", fin=False) + frame(CONT, b"", fin=False) * 5000 + frame(CONT, b"x") + close(1000), ["x"], 1000),
    "message after message of fragments": ((frame(TEXT, b"a", fin=False) + frame(CONT, b"b")) * 3 + text("c") + close(1000), ["ab"] * 3 + ["c"], 1000),
    "a continuation of nothing": (frame(CONT, b"x"), [], 1002),
    "a continuation after the end": (frame(TEXT, b"a", fin=False) + frame(CONT, b"b") + frame(CONT, b"c"), ["ab"], 1002),
    "a message inside a message": (frame(TEXT, b"a", fin=False) + text("b"), [], 1002),
    "a fragmented ping": (bits(0x09, 0x80, MASK), [], 1002),
    "a fragmented close": (bits(0x08, 0x80, MASK), [], 1002),
    "close inside a message": (frame(TEXT, b"a", fin=False) + close(1000), [], 1002),
    # 6 UTF-8
    "text beyond the BMP": (text("κόσμε 😀 \U0010ffff") + close(1000), ["κόσμε 😀 \U0010ffff"], 1000),
    "a character in two frames": (frame(TEXT, "é".encode()[:1], fin=False) + frame(CONT, "é".encode()[1:]) + close(1000), ["é"], 1000),
    "invalid UTF-8": (frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80"), [], 1007),
    "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), [], 1007),
    "an overlong slash": (frame(TEXT, b"\xc0\xaf"), [], 1007),
    "beyond Unicode": (frame(TEXT, b"\xf4\x90\x80\x80"), [], 1007),
    "a character that does not end": (frame(TEXT, b"a\xe2\x82"), [], 1007),
    "invalid UTF-8 over two frames": (frame(TEXT, b"\xe2", fin=False) + frame(CONT, b"\x28\xa1"), [], 1007),
    "binary need not be UTF-8": (frame(BINARY, b"\xff\xfe") + close(1000), [b"\xff\xfe"], 1000),
    # 7 closing
    "close without a code": (frame(CLOSE), [], 1005),
    "close with a reason": (close(1000, b"bye"), [], 1000),
    "close with the longest reason": (close(1000, b"x" * 123), [], 1000),
    "close with one byte": (frame(CLOSE, b"x"), [], 1002),
    "close with invalid UTF-8": (close(1000, b"\xff"), [], 1007),
    "close with a payload of 126": (bits(0x88, 0xFE, b"\0\x7e" + MASK + b"\x03\xe8" + b"x" * 124), [], 1002),
    "text after close": (close(1000) + text("late"), [], 1000),
    "two closes": (close(1000) + close(1000), [], 1000),
    **{f"close {code}": (close(code), [], code) for code in (1001, 1002, 1003, 1007, 1011, 1012, 3000, 3999, 4000, 4999)},
    **{f"close {code}": (close(code), [], 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)},
    # 9 sizes
    "text over the limit": (text("x" * (LIMIT + 1)), [], 1009),
    "fragments over the limit": (frame(TEXT, b"x" * 40_000, fin=False) + frame(CONT, b"x" * 40_000), [], 1009),
    "a length of 2^63": (bits(0x82, 0xFF, (2**63).to_bytes(8, "big")), [], 1009),
    "an unmasked frame": (frame(TEXT, b"hello", mask=False), [], 1002),
    "an unmasked frame after a masked one": (text("a") + frame(TEXT, b"b", mask=False), ["a"], 1002),
}  # fmt: skip


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
        self._parts: list = []

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
        await until(lambda owner=owner: owner.closes)
        assert [closed for closed, _ in owner.closes] == [code]
    bystander.write(text("still here"))
    assert await bystander.message() == "still here"


async def test_pings_are_answered_in_order_with_their_payload(serve) -> None:
    served = await serve()
    data = b"".join(frame(PING, payload) for payload in (b"", b"1", b"x" * 125)) + close(1000)
    assert (await exchange(served, data, deflate=False, split=False)).pongs == [b"", b"1", b"x" * 125]


@pytest.mark.parametrize(("data", "code"), [(frame(BINARY, b"x"), 1003), (frame(BINARY, b"x", fin=False), 1003)])
async def test_binary_is_refused_where_only_text_is_wanted(serve, data: bytes, code: int) -> None:
    served = await serve(binary=False)
    assert (await exchange(served, text("a") + data, deflate=False, split=False)).code == code
    assert served.endpoint.counts.protocol_errors == 1


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


async def segmented(messages: list, fragments: int, cuts: list[int]) -> None:
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
