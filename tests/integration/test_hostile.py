"""Hostile clients against one server: each gets its error or close code, and the room beside them notices nothing.

A bystander sits in the room that everything is aimed at. At the end it has seen two things: who is there, and one
message of a friend, at offset 1. Neither the commands nor the bytes may leave a traceback in the log.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest

from tests.support import ws
from tests.support.server import Chatmaster
from tests.support.ws import ChatSocket, Closed, RawSocket, frame
from tests.workers.chat.test_hostile import RAW, WRONG
from workers.chat.rules.commands import request_size

SECRET = "a secret of more than thirty-two characters, so that SHA-384 has enough, too"
MESSAGE_SIZE = 65_536
FRAME_SIZE = request_size(MESSAGE_SIZE)
HEADER_SIZE = 8192
ROOM = "lobby"  # that the hostile commands name
GET = b"GET / HTTP/1.1\r\nHost: x\r\n"

pytestmark = pytest.mark.timeout(60)


def text(value: str | bytes) -> bytes:
    """As bytes for the wire, lone surrogates included."""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


COMMANDS = [
    *((text(data), field) for data, field in RAW),
    *((text(json.dumps({**members, "id": 7})), field) for members, field in WRONG),
]

# Requests that are well formed, and not for this user: they get an `error`, and nobody else hears of them.
FORBIDDEN: list[tuple[dict[str, Any], str]] = [
    ({"type": "join", "room": "@friend"}, "forbidden"), ({"type": "history", "room": "@friend"}, "forbidden"),
    ({"type": "say", "room": "@friend", "text": "x"}, "not_joined"),
    ({"type": "edit", "room": "@friend", "offset": 1, "text": "x"}, "not_joined"),
    ({"type": "edit", "room": "other", "offset": 1, "text": "x"}, "not_joined"),
    ({"type": "edit", "room": "calm", "offset": 1, "text": "x"}, "forbidden"),
    ({"type": "delete", "room": "calm", "offset": 1}, "forbidden"),
    ({"type": "edit", "room": "calm", "offset": 2**53 - 1, "text": "x"}, "not_found"),
    ({"type": "delete", "room": ROOM, "offset": 1}, "not_found"),
    ({"type": "react", "room": ROOM, "offset": 999, "emoji": "x"}, "not_found"),
    ({"type": "members", "room": "other"}, "not_joined"), ({"type": "typing", "room": "other"}, "not_joined"),
    ({"type": "read", "room": "other", "offset": 1}, "not_joined"), ({"type": "leave", "room": "other"}, "not_joined"),
    ({"type": "leave", "room": "@mallory"}, "forbidden"), ({"type": "join", "room": "staff"}, "forbidden"),
    ({"type": "history", "room": "staff"}, "forbidden"), ({"type": "join", "room": "@operator:chatctl"}, "forbidden"),
    ({"type": "hello", "token": jwt.encode({"sub": "friend"}, SECRET)}, "unauthorized"),
    ({"type": "hello", "token": "guest.guest:00000000000000ff." + "A" * 22}, "unauthorized"),
    ({"type": "hello", "rooms": [{"room": "staff"}]}, "bad_request"),
    *(({"type": verb, "user": "friend"}, "forbidden") for verb in ("kick", "ban", "mute", "unban", "unmute")),
    *(({"type": verb, "user": "friend", "room": ROOM}, "forbidden") for verb in ("kick", "ban", "mute")),
    *(({"type": verb, "user": "operator:chatctl"}, "forbidden") for verb in ("kick", "ban")),
    ({"type": "rename", "name": "B\u043ess"}, "bad_request"), ({"type": "rename", "name": "BOSS"}, "bad_request"),
]  # fmt: skip

FORGED = [
    "x", "a.b.c", "eyJ.eyJ.x", "guest.", "guest.guest:zz.x", "guest.mallory." + "A" * 22, "." * 100, "\u0000", "\ud800",
    "guest.guest:00000000000000ff." + "A" * 22, "guest.guest:00000000000000ff.\u00e4" + "A" * 21, "x" * 16_384,
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.", "eyJhbGciOlsiSFMyNTYiXX0.e30.AA", "bnVsbA.bnVsbA.AA", "W10.W10.AA",
    "eyJhbGciOiJIUzI1NiIsImtpZCI6MX0.e30.AA", jwt.encode({"sub": "root", "role": "admin"}, "x" * 32),
    jwt.encode({"sub": "root"}, "", algorithm="none"), jwt.encode({"sub": "root"}, SECRET, algorithm="HS384"),
    jwt.encode({"sub": "root"}, SECRET) + "x", jwt.encode({"sub": "x" * 100}, SECRET), jwt.encode({}, SECRET),
    jwt.encode({"sub": "root", "role": "owner"}, SECRET), jwt.encode({"sub": "root", "exp": "soon"}, SECRET),
    jwt.encode({"sub": "root", "exp": 1}, SECRET), jwt.encode({"sub": "root", "nbf": 2**60}, SECRET),
    jwt.encode({"sub": "root", "rooms": "*"}, SECRET), jwt.encode({"sub": ""}, SECRET),
]  # fmt: skip

MASK = b"\x00" * 4
# What a client may not put on the wire after the handshake, and the close codes of RFC 6455 for it.
FRAMES: list[tuple[str, bytes, set[int]]] = [
    ("invalid UTF-8", frame(ws.TEXT, b"\xff\xfe"), {1007}),
    ("half a character", frame(ws.TEXT, b"\xe2\x82"), {1007}),
    ("a surrogate", frame(ws.TEXT, b"\xed\xa0\x80"), {1007}),
    ("an overlong slash", frame(ws.TEXT, b"\xc0\xaf"), {1007}),
    ("invalid UTF-8 over two frames", frame(ws.TEXT, b"\xe2", fin=False) + frame(0, b"\x28\xa1"), {1007}),
    ("2^63 bytes announced", frame(ws.TEXT, length=2**63), {1002, 1009}),
    ("2^64-1 bytes announced", frame(ws.TEXT, length=2**64 - 1), {1002, 1009}),
    ("2^62 bytes announced", frame(ws.TEXT, length=2**62), {1009}),
    ("one byte too many", frame(ws.TEXT, b"x" * (FRAME_SIZE + 1)), {1009}),
    ("too many in small frames", frame(ws.TEXT, b"x" * FRAME_SIZE, fin=False) + frame(0, b"x"), {1009}),
    ("unmasked", frame(ws.TEXT, b"hello", masked=False), {1002}),
    ("an unmasked ping", frame(ws.PING, masked=False), {1002}),
    ("binary", frame(ws.BINARY, b"x"), {1003}),
    *((f"reserved bits {rsv}", frame(ws.TEXT, b"x", rsv=rsv), {1002}) for rsv in (1, 2, 4, 7)),
    *((f"opcode {opcode}", frame(opcode, b"x"), {1002}) for opcode in (3, 7, 11, 15)),
    ("a ping of 126 bytes", frame(ws.PING, b"x" * 126), {1002}),
    ("a ping in two frames", frame(ws.PING, b"x", fin=False), {1002}),
    ("a close in two frames", frame(ws.CLOSE, b"\x03\xe8", fin=False), {1002}),
    ("a continuation of nothing", frame(0, b"x"), {1002}),
    ("text within text", frame(ws.TEXT, b"x", fin=False) + frame(ws.TEXT, b"x"), {1002}),
    ("a close of one byte", frame(ws.CLOSE, b"\x03"), {1002}),
    *((f"close code {code}", frame(ws.CLOSE, struct.pack("!H", code)), {1002}) for code in (0, 999, 1005, 1006, 5000)),
    ("a close reason that is no UTF-8", frame(ws.CLOSE, b"\x03\xe8\xff"), {1002, 1007}),
    ("noise", bytes(range(256)) * 4, {1002}),
    ("an HTTP request", GET + b"\r\n", {1002}),
]

# What a client may not say instead of a handshake, and the answers; 0: the connection just ends.
HANDSHAKES: list[tuple[str, bytes, set[int]]] = [
    ("a header that never ends", GET + b"X: " + b"x" * 4 * HEADER_SIZE, {400, 431}),
    ("headers that never end", GET + b"X: y\r\n" * HEADER_SIZE, {400, 431}),
    ("a request line that never ends", b"GET /" + b"x" * 4 * HEADER_SIZE, {400, 414, 431}),
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100 + b"\r\n\r\n", {0, 400}),
    ("a frame before the handshake", frame(ws.TEXT, b"hello") + b"\r\n\r\n", {0, 400}),
    ("no version", b"GET /\r\n\r\n", {0, 400, 505}),
    ("HTTP/9.9", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", {0, 400, 505}),
    ("nulls", b"\x00" * 1000 + b"\r\n\r\n", {0, 400}),
    ("a header without a name", GET + b": x\r\n\r\n", {400}),
    ("a folded header", GET + b"A: b\r\n c\r\n\r\n", {400}),
    ("a null in a header", GET + b"A: b\x00c\r\n\r\n", {400}),
    ("two lengths", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", {400, 405}),
    ("a request with a body", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", {400, 405, 413}),
    ("no key", GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n", {400}),
    ("a short key", GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
     b"Sec-WebSocket-Key: x\r\n\r\n", {400}),
    ("an old version", GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
     b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", {400, 426}),
    ("nothing more for ever", GET, {0, 400, 408}),
]  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    settings = {
        "auth.secret": SECRET, "limits.rate": 0, "limits.message_size": MESSAGE_SIZE,
        "limits.header_size": HEADER_SIZE, "limits.handshake_timeout": 1.0, "chat.presence_interval": 0.05,
    }  # fmt: skip
    config = '[[rooms]]\nmatch = "staff"\njoin = ["role:moderator"]\n'
    with Chatmaster(workers=1, settings=settings, config=config) as made:
        yield made


def token(user: str, **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + 600, **claims}, SECRET)


@asynccontextmanager
async def unnoticed(server: Chatmaster) -> AsyncIterator[None]:
    """What happens inside must not reach the room beside it, nor the log."""
    async with await ChatSocket.enter(server.url, "calm", token=token("bystander")) as bystander:
        before = bystander.welcome["rooms"][1]["offset"]
        yield
        async with await ChatSocket.enter(server.url, "calm", token=token("friend")) as friend:
            said = await friend.ask(type="say", room="calm", text="all is quiet")
        message = await bystander.expect("message", room="calm", text="all is quiet")
        assert message["offset"] == said["offset"] == before + 1
        others = [one for one in bystander.passed if one["type"] != "presence"]
        assert not others, "the bystander noticed something"
    assert "Traceback" not in server.log() and " error " not in server.log(), server.log()[-2000:]


def code_for(data: bytes) -> int:
    """The close code for a message that does not get as far as the chat; 0: it does."""
    if len(data) > FRAME_SIZE:
        return 1009
    try:
        data.decode()
    except UnicodeDecodeError:
        return 1007
    return 0


async def test_hundreds_of_hostile_commands_get_their_errors(server: Chatmaster) -> None:
    assert len(COMMANDS) > 200
    async with unnoticed(server):
        mallory = await ChatSocket.enter(server.url, ROOM, "calm", token=token("mallory"))
        for data, field in COMMANDS:
            mallory.send_frame(ws.TEXT, data)
            if expected := code_for(data):
                assert (await mallory.wait_closed()).code == expected, data[:80]
                mallory.abort()
                mallory = await ChatSocket.enter(server.url, ROOM, "calm", token=token("mallory"))
            else:
                error = await mallory.expect("error")
                assert (error["code"], error.get("field", "")) == ("bad_request", field), (data[:80], error)
                assert len(error["message"]) <= 250 and "Traceback" not in error["message"]
        answer = await mallory.ask(type="history", room=ROOM)
        assert answer["messages"] == [] and answer["more"] is False
        mallory.abort()


async def test_what_is_not_for_this_user_is_refused(server: Chatmaster) -> None:
    async with await ChatSocket.enter(server.url, "calm", token=token("friend")) as friend, \
            await ChatSocket.enter(server.url, token=token("boss", role="moderator", name="Boss")):  # fmt: skip
        await friend.ask(type="say", room="calm", text="mine", key="k")
        before = (await friend.ask(type="history", room="calm"))["messages"]
        assert (before[0]["offset"], before[0]["from"]["user"]) == (1, "friend")
        async with (
            unnoticed(server),
            await ChatSocket.enter(server.url, ROOM, "calm", token=token("mallory")) as mallory,
        ):
            for request, code in FORBIDDEN:
                answer = await mallory.ask(**request)
                assert (answer["type"], answer.get("code")) == ("error", code), (request, answer)
        assert (await friend.ask(type="history", room="calm"))["messages"][: len(before)] == before


async def test_forged_tokens_are_4001_and_not_in_the_log(server: Chatmaster) -> None:
    async with unnoticed(server):
        for forged in FORGED:
            async with await ChatSocket.open(server.url) as person:
                person.send_frame(ws.TEXT, text(json.dumps({"type": "hello", "token": forged}, ensure_ascii=True)))
                answer = await person.receive_json()
                if forged == "\ud800":
                    assert answer["code"] == "bad_request"
                    continue
                assert (answer["type"], answer["code"]) == ("bye", 4001), forged[:80]
                assert (await person.wait_closed()).code == 4001
        for forged in FORGED:
            assert len(forged) < 8 or text(forged).decode(errors="replace") not in server.log()


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
async def test_hostile_frames_end_their_own_connection_only(server: Chatmaster, deflate: bool) -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate"} if deflate else {}
    async with unnoticed(server):
        for name, data, codes in FRAMES:
            if deflate and name == "reserved bits 4":
                continue  # the first of them says: compressed
            async with await RawSocket.open(server.url, headers=offer) as mallory:
                mallory.send_bytes(data)
                closed = await mallory.wait_closed()
                assert closed.code in codes, (name, closed)


async def test_compressed_bombs_and_rubbish_do_not_go_off(server: Chatmaster) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = (packer.compress(b" " * 50_000_000) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(bomb) < MESSAGE_SIZE
    async with unnoticed(server):
        for data, codes in ((bomb, {1009}), (b"\xff" * 100, {1002, 1007})):
            async with await RawSocket.open(
                server.url, headers={"Sec-WebSocket-Extensions": "permessage-deflate"}
            ) as mallory:
                mallory.send_frame(ws.TEXT, data, rsv=4)
                assert (await mallory.wait_closed()).code in codes, data[:20]


@pytest.mark.parametrize(("name", "data", "answers"), HANDSHAKES, ids=[name for name, _, _ in HANDSHAKES])
async def test_hostile_handshakes(server: Chatmaster, name: str, data: bytes, answers: set[int]) -> None:
    async with await RawSocket.dial(server.url) as mallory:
        mallory.send_bytes(data)
        try:
            status, _ = await mallory.read_head(5)
        except Closed:
            status = 0
        assert status in answers
        assert await asyncio.wait_for(mallory.reader.read(), 5) is not None  # and it ends


async def test_who_sends_his_handshake_byte_by_byte_is_not_waited_for(server: Chatmaster) -> None:
    async with unnoticed(server), await RawSocket.dial(server.url) as mallory:
        began = time.monotonic()
        with pytest.raises((Closed, ConnectionError)):
            for byte in GET + b"X: " + b"x" * 1000:
                mallory.send_bytes(bytes([byte]))
                await mallory.drain()
                if mallory.reader.at_eof():
                    raise Closed(1006, "the end")
                await asyncio.sleep(0.02)  # how slowly it sends
        assert time.monotonic() - began < 5


async def test_hundreds_who_cut_the_connection_at_any_byte(server: Chatmaster) -> None:
    """Whatever was half said, nobody else hears of it."""
    hello = frame(ws.TEXT, json.dumps({"type": "hello", "token": token("mallory"), "rooms": []}).encode())
    say = frame(ws.TEXT, b'{"type":"typing","room":"calm"}')
    async with unnoticed(server):
        for size in range(0, len(hello + say), 3):
            async with await RawSocket.open(server.url) as mallory:
                mallory.send_bytes((hello + say)[:size])
        async with await ChatSocket.open(server.url) as last:
            assert (await last.ask(type="ping"))["type"] == "pong"
