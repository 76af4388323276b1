"""A live connection goes to another process and back to life there, without the client noticing."""

import array
import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.workers.transport.serving import DEFLATE, App, frame, text, until
from workers.transport.negotiation import Agreed, Negotiator, parse_request
from workers.transport.snapshot import ConnectionState, decode_state, encode_state

RECEIVER = """
import array, asyncio, json, socket, sys
import uvloop
from workers.transport.config import EndpointConfig
from workers.transport.endpoint import Endpoint

class Owner:
    def __init__(self, ws):
        self.ws = ws
    def on_message(self, data):
        self.ws.send(f"new process: {data}")
    def on_close(self, code, reason):
        print(json.dumps(["closed", code, reason]), flush=True)

async def main():
    channel = socket.socket(fileno=int(sys.argv[2]))
    channel.setblocking(False)
    endpoint = Endpoint(EndpointConfig(), None)
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(channel, ready.set)
    await ready.wait()
    loop.remove_reader(channel)
    state, ancillary, *_ = channel.recvmsg(65536, socket.CMSG_SPACE(4))
    fds = array.array("i")
    fds.frombytes(ancillary[0][2])
    channel.send(b"held")
    await loop.sock_recv(channel, 1)
    (ws,) = endpoint.attach([(fds[0], state)])
    known = [ws.remote[0], ws.remote[1], ws.path, ws.query, ws.subprotocol, ws.deflate, ws.frames_in,
             ws.handshake.user_agent, ws.bytes_in]
    print(json.dumps(known), flush=True)
    ws.owner = Owner(ws)
    ws.resume_reading()
    while endpoint.shared.counts.connections:
        await asyncio.sleep(0.005)

factory = uvloop.new_event_loop if sys.argv[1] == "uvloop" else asyncio.new_event_loop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
"""

ROOT = str(Path(__file__).parents[3])


class OtherProcess:
    """A process that attaches the one connection it is sent."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self.process = process
        self.channel = channel

    @classmethod
    async def start(cls, loop: str) -> "OtherProcess":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", RECEIVER, loop, str(theirs.fileno()),
                cwd=ROOT, pass_fds=[theirs.fileno()], stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
        return cls(process, ours)

    async def offer(self, fd: int, state: bytes) -> None:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
        self.channel.sendmsg([state], [rights])
        assert await asyncio.get_running_loop().sock_recv(self.channel, 16) == b"held"

    async def line(self) -> list[Any]:
        assert self.process.stdout is not None
        answer: list[Any] = json.loads(await asyncio.wait_for(self.process.stdout.readline(), 10))
        return answer

    async def go(self) -> list[Any]:
        """Let it attach the connection; what it knows of it then."""
        self.channel.send(b"!")
        return await self.line()

    async def end(self) -> None:
        self.channel.close()
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@pytest.fixture
async def other(request):
    started = await OtherProcess.start("uvloop" if "uvloop" in request.node.name else "asyncio")
    yield started
    await started.end()


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
async def test_a_connection_moves_with_what_it_had_not_parsed(serve, other, deflate: bool) -> None:
    served = await serve(subprotocols=("chat.v1.json",))
    headers = ["Sec-WebSocket-Protocol: chat.v1.json", "User-Agent: test", *([DEFLATE] if deflate else [])]
    peer = await served.open(*headers, path="/ws?a=1")
    peer.write(text("first"))
    assert await peer.message() == "first"
    owner = served.app.seen[0]
    half = text("half here, half there")
    peer.write(half[:9])
    await until(lambda: owner.ws.bytes_in == 11 + 9)

    frozen = owner.ws.freeze()
    peer.write(half[9:])  # while nobody reads
    await other.offer(frozen.fd, frozen.state)
    owner.ws.release()
    *known, bytes_in = await other.go()
    address = peer.writer.get_extra_info("sockname")
    assert known == [*address[:2], "/ws", "a=1", "chat.v1.json", deflate, 1, "test"]
    assert bytes_in >= 20
    assert await peer.message() == "new process: half here, half there"
    assert owner.closes == []
    await until(lambda: served.endpoint.shared.descriptors.used == 0)

    peer.write(text("a" * 60_000) + frame(1, b"in fra", fin=False) + frame(0, b"gments"))
    if not deflate:
        assert await peer.message() == "new process: " + "a" * 60_000
        assert await peer.message() == "new process: in fragments"
        peer.write(frame(8, b"\x03\xe8"))
        assert await peer.closed_with() == 1000
        assert await other.line() == ["closed", 1000, ""]
    else:
        peer.writer.transport.abort()
        assert await other.line() == ["closed", 1006, ""]


async def test_messages_that_wait_behind_a_pause_move_too(serve, other) -> None:
    served = await serve(app=App(lambda seen, data: seen.ws.pause_reading()))
    peer = await served.open()
    peer.write(text("one") + text("two") + text("three"))
    await until(lambda: served.app.seen and served.app.seen[0].messages)
    ws = served.app.seen[0].ws
    frozen = ws.freeze()
    await other.offer(frozen.fd, frozen.state)
    ws.release()
    await other.go()
    assert [await peer.message(), await peer.message()] == ["new process: two", "new process: three"]


async def test_a_move_that_does_not_come_about_changes_nothing(serve) -> None:
    served = await serve()
    peer = await served.open()
    await until(lambda: served.app.seen)
    ws = served.app.seen[0].ws
    assert ws.freeze() is not None
    peer.write(text("meanwhile"))
    ws.send("waits")
    await asyncio.sleep(0.02)
    assert served.app.seen[0].messages == []
    ws.unfreeze()
    assert [await peer.message(), await peer.message()] == ["waits", "meanwhile"]


async def test_what_cannot_be_moved_now_stays(serve) -> None:
    served = await serve()
    peer = await served.open()
    await until(lambda: served.app.seen)
    ws = served.app.seen[0].ws
    peer.write(frame(1, b"a", fin=False))
    await until(lambda: ws.bytes_in)
    assert ws.freeze() is None, "inside a fragmented message"
    peer.write(frame(0, b"b"))
    assert await peer.message() == "ab"
    ws.send(bytes(8_000_000))
    assert ws.freeze() is None, "with bytes to write"
    while ws.buffered:
        await peer.next()
    ws.close()
    assert ws.freeze() is None, "closing"


async def test_the_state_is_small(serve) -> None:
    served = await serve()
    await served.open()
    await until(lambda: served.app.seen)
    frozen = served.app.seen[0].ws.freeze()
    assert len(frozen.state) < 100
    assert decode_state(frozen.state).handshake == served.app.seen[0].ws.handshake


async def test_a_ping_that_was_not_answered_travels_with_its_age(serve) -> None:
    served = await serve(ping_interval=30.0, ping_timeout=5.0)
    await served.open()
    await until(lambda: served.app.seen)
    ws = served.app.seen[0].ws
    now = served.endpoint.shared.now()
    ws.ping()
    served.endpoint.shared.keepalive.restore_ping(ws, 3.0, now)
    assert decode_state(ws.freeze().state).pinged is not None
    ws.unfreeze()
    served.endpoint.shared.keepalive.sweep(now + 1.9)
    assert ws.is_open, "two of five seconds were left"
    served.endpoint.shared.keepalive.sweep(now + 2.1)
    assert not ws.is_open
    await served.app.seen[0].ended()
    assert served.app.seen[0].closes == [(4010, "no answer to a ping")]


def test_kept_headers_are_one_string_where_they_are_equal_and_earlier_states_have_none() -> None:
    state = ConnectionState(
        b"", 1.0, 2, 3, 4, ("192.0.2.1", 5), "/", "", None, False, "", "", None, (("x-a", "v" * 50),)
    )
    packed = encode_state(state)
    one, two = decode_state(packed).handshake, decode_state(packed).handshake
    assert one.kept == two.kept == (("x-a", "v" * 50),)
    assert one.kept[0][1] is two.kept[0][1]
    earlier = msgspec.msgpack.encode(msgspec.msgpack.decode(packed)[:-1])
    assert decode_state(earlier).handshake.kept == ()


def test_a_connection_of_which_nothing_is_kept_takes_no_more_memory() -> None:
    negotiator = Negotiator(paths=None, origins=(), subprotocols=(), deflate=True)
    block = (
        b"GET /?x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nCookie: a=b\r\nX-A: c\r\n\r\n"
    )
    agreed = negotiator.negotiate(parse_request(block))
    assert isinstance(agreed, Agreed)
    assert agreed.handshake.kept is tuple()  # noqa: C408  # the one empty tuple of the process
    keeping = Negotiator(paths=None, origins=(), subprotocols=(), deflate=True, keep=("x-a", "x-b"))
    first, second = (keeping.negotiate(parse_request(block)) for _ in range(2))
    assert isinstance(first, Agreed)
    assert isinstance(second, Agreed)
    assert first.handshake.kept == (("x-a", "c"),)
    assert first.handshake.kept[0][1] is second.handshake.kept[0][1]
