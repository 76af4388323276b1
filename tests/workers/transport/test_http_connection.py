"""Plain HTTP on kept connections: many requests, each judged by itself; bodies, limits, clients that are slow."""

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.metadata import version
from typing import Any
from unittest.mock import patch

import pytest
from starlette.responses import StreamingResponse
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from tests.workers.transport.serving import text, until, upgrade
from workers.transport.http_connection import WAITING, HttpConnection
from workers.transport.socket_transport import READ_SIZE


async def echo(scope, receive, send) -> None:
    """Answers what it was asked, and the size of the body."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        if not message.get("more_body"):
            break
    told = {key: scope[key] for key in ("method", "path", "client", "scheme", "root_path")}
    body = json.dumps(told | {"size": size, "query": scope["query_string"].decode()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def request(path: str = "/a", *headers: str, method: str = "GET", host: str = "localhost", body: bytes = b"") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {host}", *length, *headers, "", "")).encode() + body


def gated(gate: asyncio.Event, sizes: dict[str, int] | None = None, asked: list[str] | None = None):
    """`echo` behind a gate; paths of `sizes` are answered with so many bytes. `asked` gets the paths."""

    async def app(scope, receive, send) -> None:
        if asked is not None:
            asked.append(scope["path"])
        await gate.wait()
        size = (sizes or {}).get(scope["path"])
        if size is None:
            await echo(scope, receive, send)
            return
        headers = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'"' + b"x" * (size - 2) + b'"'})

    return app


async def connection_where(served, holds: Callable[[HttpConnection], object]) -> HttpConnection:
    """The one that is open, once a condition holds for it."""
    await until(lambda: any(holds(one) for one in served.endpoint.shared.http.open))
    connection: HttpConnection
    (connection,) = served.endpoint.shared.http.open
    return connection


async def answer(peer) -> dict[str, Any]:
    """The next answer of `echo`."""
    status, head = await peer.response()
    size = int(next(line for line in head.lower().split("\r\n") if line.startswith("content-length:")).split(":")[1])
    body = await peer.reader.readexactly(size)
    return json.loads(body) if status == 200 else {"status": status}


def test_the_protocol_is_of_the_version_whose_inside_is_used() -> None:
    assert version("uvicorn").startswith("0.54.")


async def test_a_connection_carries_many_requests(serve) -> None:
    served = await serve(http=echo)
    peer = await served.connect()
    for number in range(3):
        peer.write(request(f"/{number}?q={number}", method="POST", body=b"x" * 100_000 * number))
        told = await answer(peer)
        assert (told["path"], told["query"], told["size"]) == (f"/{number}", f"q={number}", 100_000 * number)
    assert served.endpoint.shared.descriptors.used == 1


async def test_requests_that_come_together_are_answered_in_order(serve) -> None:
    peer = await (await serve(http=echo)).connect()
    peer.write(b"".join(request(f"/{number}") for number in range(5)))
    assert [(await answer(peer))["path"] for _ in range(5)] == [f"/{number}" for number in range(5)]


async def test_of_many_requests_that_come_together_few_wait_here_and_all_are_answered(serve) -> None:
    served = await serve(http=echo, header_size=1000)
    peer = await served.connect()
    most, began = 0, HttpConnection.on_headers_complete

    def count(self: HttpConnection) -> None:
        nonlocal most
        began(self)
        most = max(most, len(self.pipeline))

    with patch.object(HttpConnection, "on_headers_complete", count):
        peer.write(b"".join(request(f"/{number}", method="PUT", body=b"x" * 50) for number in range(4000)))
        assert [(await answer(peer))["path"] for _ in range(4000)] == [f"/{number}" for number in range(4000)]
    assert most <= WAITING + READ_SIZE / 100, "what one read brings"


async def test_the_body_of_a_request_that_waits_is_left_in_the_socket(serve) -> None:
    gate = asyncio.Event()
    served = await serve(http=gated(gate))
    peer = await served.connect()
    most, read = 0, HttpConnection.on_body

    def measure(self: HttpConnection, body: bytes) -> None:
        nonlocal most
        read(self, body)
        most = max([most, *(len(cycle.body) for cycle, _ in self.pipeline)])

    with patch.object(HttpConnection, "on_body", measure):
        peer.write(request("/a") + request("/b", method="PUT", body=b"x" * 2_000_000))
        await until(lambda: most > READ_SIZE)
        await connection_where(served, lambda one: one.flow.read_paused)
        peer.write(request("/c"))
        gate.set()
        told = [await answer(peer) for _ in range(3)]
    assert [(one["path"], one["size"]) for one in told] == [("/a", 0), ("/b", 2_000_000), ("/c", 0)]
    assert most <= 3 * READ_SIZE


async def test_the_last_answer_reaches_a_client_that_asks_on(serve) -> None:
    """The server is drained while 8,000 requests wait, most of them in the socket, behind two large answers."""
    gate = asyncio.Event()
    served = await serve(http=gated(gate, {"/a": 3_000_000, "/b": 3_000_000}))
    peer = await served.connect()
    peer.write(request("/a") + request("/b"))
    await connection_where(served, lambda one: len(one.pipeline) == 1)
    peer.write(request("/c") * 8000)
    await connection_where(served, lambda one: one.flow.read_paused)
    served.endpoint.shared.http.drain()
    gate.set()
    last = ""
    while "connection: close" not in last:
        await answer(peer)
        last = peer.headers.lower()
    assert await peer.rest() == b""
    peer.writer.close()
    await until(lambda: served.endpoint.shared.descriptors.used == 0)


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (request("/b", "Connection: close"), 200),
        (request("/b", "Connection: close", method="PUT", body=b"x" * 100_000), 200),
        (request("/b", host="evil.example"), 421),
    ],
    ids=["close", "close after a body", "refused"],
)
async def test_an_answer_in_a_pipeline_that_is_the_last_ends_it_without_a_reset(serve, second, status) -> None:
    gate = asyncio.Event()
    asked: list[str] = []
    served = await serve(http=gated(gate, asked=asked), hosts=("localhost",), handshake_timeout=60)
    peer = await served.connect()
    peer.write(request("/a") + second + request("/c") * 20)
    await connection_where(served, lambda one: one.pipeline)
    peer.write(request("/d", method="PUT", body=b"x" * 300_000))
    gate.set()
    assert (await answer(peer))["path"] == "/a"
    assert await peer.refused() == status
    assert asked == (["/a", "/b"] if status == 200 else ["/a"]), "nothing can be answered any more"
    peer.writer.close()
    await until(lambda: served.endpoint.shared.descriptors.used == 0)


async def test_the_last_answer_to_a_body_that_nobody_took_ends_without_a_reset(serve) -> None:
    gate = asyncio.Event()
    served = await serve(http=gated(gate, {"/a": 10}), handshake_timeout=60)
    peer = await served.connect()
    body = b"x" * (HIGH_WATER_LIMIT + 1)  # reading is paused at its last byte
    peer.write(request("/a", "Connection: close", method="PUT", body=body))
    await connection_where(served, lambda one: one.flow.read_paused and not one.cycle.more_body)
    peer.write(request("/b") * 8000)
    gate.set()
    assert await peer.refused() == 200


async def test_who_reads_the_last_answer_slowly_has_the_time_to_close_from_its_end_on(serve) -> None:
    async def large(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"x" * 30_000_000})

    served = await serve(http=large, handshake_timeout=0.3, keep_alive=1)
    peer = await served.connect()
    peer.write(request("/a") + request("/b"))
    loop = asyncio.get_running_loop()
    began, received = loop.time(), 0
    while loop.time() < began + 1.5:
        received += len(await asyncio.wait_for(peer.reader.read(65_536), 5))
        await asyncio.sleep(0.01)
    peer.write(request("/c") * 2000)
    received += len(await peer.rest())
    assert received > 30_000_000
    peer.writer.close()
    await until(lambda: served.endpoint.shared.descriptors.used == 0)


async def test_what_comes_behind_a_body_that_is_too_large_is_discarded(serve) -> None:
    served = await serve(http=echo, body_size=1000, handshake_timeout=60)
    peer = await served.connect()
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"
    peer.write(request("/a", "Transfer-Encoding: chunked", method="POST") + chunk + request("/b") * 100)
    assert await peer.refused() == 413
    peer.writer.close()
    await until(lambda: served.endpoint.shared.descriptors.used == 0)


@pytest.mark.parametrize("together", [True, False])
async def test_silent_streams_end_with_their_clients_also_where_these_ask_more(serve, together: bool) -> None:
    async def events() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await asyncio.Event().wait()

    async def stream(scope, receive, send) -> None:
        await StreamingResponse(events(), media_type="text/event-stream")(scope, receive, send)

    served = await serve(http=stream)
    http = served.endpoint.shared.http
    for _ in range(100):
        peer = await served.connect()
        peer.write(request("/a") + request("/b") * together)
        await asyncio.wait_for(peer.reader.readuntil(b"data: 1\n\n"), 20)
        peer.write(request("/b") * (not together))
        await until(lambda: all(len(one.pipeline) == 1 for one in http.open))
        peer.writer.transport.abort()
    await until(lambda: served.endpoint.shared.descriptors.used == 0)
    await until(lambda: not http.state.tasks)


async def test_an_application_hears_that_a_client_has_gone_who_asked_more_meanwhile(serve) -> None:
    gone = asyncio.Event()

    async def waits(scope, receive, send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    served = await serve(http=waits)
    peer = await served.connect()
    peer.write(request() * 3)
    await until(lambda: any(len(one.pipeline) == 2 for one in served.endpoint.shared.http.open))
    peer.writer.close()
    await asyncio.wait_for(gone.wait(), 5)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is freed in the test is freed at once."""
    gc.disable()
    yield
    gc.enable()


async def test_nothing_of_an_answered_request_waits_for_the_garbage_collector(serve, no_collector) -> None:
    served = await serve(http=echo)
    peer = await served.connect()
    peer.write(request())
    await answer(peer)
    (connection,) = served.endpoint.shared.http.open
    first = weakref.ref(connection.cycle)
    peer.write(request())
    await answer(peer)
    await until(lambda: first() is None)


@pytest.mark.parametrize("last", [request(), upgrade(path="/ws")], ids=["answer", "websocket"])
async def test_nothing_of_a_connection_that_ends_waits_for_the_garbage_collector(
    serve, no_collector, last: bytes
) -> None:
    served = await serve(http=echo)
    peer = await served.connect()
    peer.write(request())
    await answer(peer)
    kept = [
        weakref.ref(one) for connection in served.endpoint.shared.http.open for one in (connection, connection.cycle)
    ]
    peer.write(last)
    await peer.response()
    peer.writer.transport.abort()
    await until(lambda: [one() for one in kept] == [None, None])


async def test_a_client_may_ask_whether_to_send_its_body(serve) -> None:
    peer = await (await serve(http=echo)).connect()
    peer.write(request("/a", "Content-Length: 3", "Expect: 100-continue", method="PUT"))
    assert (await peer.response())[0] == 100
    peer.write(b"abc")
    assert (await answer(peer))["size"] == 3


async def test_a_websocket_may_follow_on_a_kept_connection(serve) -> None:
    served = await serve(http=echo)
    peer = await served.connect()
    peer.write(request())
    await answer(peer)
    peer.write(upgrade(path="/ws?a=1"))
    await peer.accepted()
    peer.write(text("hello"))
    assert await peer.message() == "hello"
    assert served.app.seen[0].ws.query == "a=1"
    assert not served.endpoint.shared.http.open
    peer.writer.close()
    await until(lambda: served.endpoint.shared.descriptors.used == 0)
    assert served.endpoint.shared.peers.count("127.0.0.1") == 0


@pytest.mark.parametrize("cut", [0, 1, 4])
async def test_frames_that_come_with_the_request_for_a_websocket_are_read(serve, cut) -> None:
    served = await serve(http=echo)
    peer = await served.connect()
    peer.write(request())
    await answer(peer)
    frame = text("hello")
    peer.write(upgrade(path="/ws") + frame[: len(frame) - cut])
    await peer.accepted()
    peer.write(frame[len(frame) - cut :])
    assert await peer.message() == "hello"


async def test_a_connection_that_ends_is_forgotten_by_every_account(serve) -> None:
    served = await serve(http=echo)
    for last in (b"", request(), request() + b"GET /half", request("/a", "Content-Length: 9", method="PUT")):
        peer = await served.connect()
        peer.write(request() + last)
        await answer(peer)
        peer.writer.transport.abort()
    await until(lambda: served.endpoint.shared.descriptors.used == 0)
    shared = served.endpoint.shared
    assert (shared.peers.count("127.0.0.1"), len(shared.http.open), len(shared.keepalive.handshakes)) == (0, 0, 0)


async def test_each_request_has_the_client_and_scheme_that_its_proxy_says(serve) -> None:
    peer = await (await serve(http=echo, trusted_proxies=("127.0.0.1",))).connect()
    for address, scheme in (("203.0.113.5", "https"), ("203.0.113.6", "http")):
        peer.write(request("/a", f"X-Forwarded-For: {address}", f"X-Forwarded-Proto: {scheme}"))
        told = await answer(peer)
        assert (told["client"][0], told["scheme"]) == (address, scheme)


async def test_a_stranger_says_nothing_about_itself(serve) -> None:
    peer = await (await serve(http=echo)).connect()
    peer.write(request("/a", "X-Forwarded-For: 203.0.113.5", "X-Forwarded-Proto: https"))
    told = await answer(peer)
    assert (told["client"][0], told["scheme"]) == ("127.0.0.1", "http")


async def test_a_path_of_the_proxy_is_told_as_such(serve) -> None:
    peer = await (await serve(http=echo, root_path="/chat")).connect()
    for path in ("/chat/a", "/a"):
        peer.write(request(path))
        told = await answer(peer)
        assert (told["root_path"], told["path"]) == ("/chat", "/chat/a")


async def test_the_host_of_each_request_is_judged(serve) -> None:
    peer = await (await serve(http=echo, hosts=("chat.example.org",))).connect()
    peer.write(request(host="chat.example.org"))
    assert (await answer(peer))["path"] == "/a"
    peer.write(request(host="evil.example"))
    assert await peer.refused() == 421


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(serve, chunked: bool) -> None:
    served = await serve(http=echo, body_size=1000)
    peer = await served.connect()
    if chunked:
        peer.write(request("/a", "Transfer-Encoding: chunked", method="POST") + b"400\r\n" + b"x" * 1024 + b"\r\n")
    else:
        peer.write(request(method="POST", body=b"x" * 1001))
    assert (await peer.response())[0] == 413
    peer.writer.close()
    await until(lambda: served.endpoint.shared.descriptors.used == 0)


async def test_the_head_of_a_later_request_is_limited_too(serve) -> None:
    served = await serve(http=echo, header_size=1000, handshake_timeout=0.5)
    peer = await served.connect()
    peer.write(request())
    await answer(peer)
    for _ in range(20):
        peer.write(b"GET /b HTTP/1.1\r\nX: " + b"x" * 200 if _ == 0 else b"x" * 200)
        await asyncio.sleep(0.01)
    assert await peer.refused() == 431
    slow = await served.connect()
    slow.write(request())
    await answer(slow)
    slow.write(b"GET /b HTTP/1.1\r\n")
    assert await slow.refused() == 408


@pytest.mark.parametrize("size", [0, 2000], ids=["slow", "large"])
async def test_a_head_is_not_refused_inside_the_answer_to_the_request_before(serve, size: int) -> None:
    gate = asyncio.Event()

    async def halves(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        await gate.wait()
        await send({"type": "http.response.body", "body": b"67890"})

    served = await serve(http=halves, header_size=1000, handshake_timeout=20)
    peer = await served.connect()
    peer.write(request())
    await peer.response()
    assert await peer.reader.readexactly(5) == b"12345"
    peer.write(b"GET /b HTTP/1.1\r\nX: x")
    await connection_where(served, lambda one: one._heads == 2)
    if size:
        peer.write(b"x" * size)
        assert await peer.rest() == b"", "the answer is cut"
        return
    late = asyncio.get_running_loop().time() + 21
    served.endpoint.shared.http.sweep(late)
    gate.set()
    assert await peer.reader.readexactly(5) == b"67890"
    served.endpoint.shared.http.sweep(late)
    assert await peer.refused() == 408


@pytest.mark.parametrize("last", [b"", b"\r\n"])
async def test_an_idle_connection_is_closed(serve, last: bytes) -> None:
    served = await serve(http=echo, keep_alive=1, handshake_timeout=0.5)
    peer = await served.connect()
    peer.write(request() + last)
    await answer(peer)
    assert await peer.rest() == b""


async def test_who_stops_sending_a_body_is_dropped(serve) -> None:
    served = await serve(http=echo, request_timeout=0.3, handshake_timeout=0.5)
    peer = await served.connect()
    peer.write(request("/a", "Content-Length: 10", method="PUT") + b"abc")
    await until(lambda: served.endpoint.shared.descriptors.used == 1)
    await until(lambda: served.endpoint.shared.descriptors.used == 0)


async def test_who_stops_reading_an_answer_is_dropped_and_a_slow_reader_is_not(serve) -> None:
    async def much(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(800):
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    served = await serve(http=much, request_timeout=1.5, handshake_timeout=0.5)
    stalled, slow = await served.connect(), await served.connect()
    for peer in (stalled, slow):
        peer.write(request("/a", "Connection: close"))
    await until(lambda: served.endpoint.shared.descriptors.used == 2)
    received = 0
    while served.endpoint.shared.descriptors.used == 2:
        received += len(await asyncio.wait_for(slow.reader.read(65_536), 5))
        await asyncio.sleep(0.01)
    received += len(await slow.rest())
    assert received > 800 * 65_536
