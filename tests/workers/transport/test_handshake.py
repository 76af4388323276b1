"""The opening handshake over a real socket: who is let in, who is not, and what a bad client can cost."""

import asyncio

import pytest

from tests.workers.transport.serving import ACCEPT, KEY, Served, frame, text, until, upgrade
from workers.http.site import Http


async def status_of(served: Served, request: bytes) -> int:
    peer = await served.connect()
    peer.write(request)
    return await peer.refused()


async def test_the_answer_is_that_of_the_rfc(serve) -> None:
    served = await serve()
    peer = await served.open()
    assert f"Sec-WebSocket-Accept: {ACCEPT}\r\n" in peer.headers
    assert "Sec-WebSocket-Protocol" not in peer.headers
    assert "Sec-WebSocket-Extensions" not in peer.headers


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 101), ("/ws", 101), ("/ws?room=a%20b", 101), ("/chat", 404), ("/ws/", 404), ("//", 404)],
)
async def test_a_websocket_is_accepted_at_two_paths(serve, path: str, status: int) -> None:
    served = await serve()
    peer = await served.connect()
    peer.write(upgrade(path=path))
    assert (await peer.response())[0] == status


async def test_path_and_query_are_kept_apart(serve) -> None:
    served = await serve(paths=None)
    await served.open(path="/any/where?a=1&b=?")
    ws = served.app.seen[0].ws
    assert (ws.path, ws.query) == ("/any/where", "a=1&b=?")


@pytest.mark.parametrize(
    ("offered", "status", "chosen"),
    [
        (None, 101, None),
        ("chat.v1.json", 101, "chat.v1.json"),
        ("other, chat.v1.json", 101, "chat.v1.json"),
        ("chat.v1.msgpack, chat.v1.json", 101, "chat.v1.json"),
        ("other", 400, None),
        ("bad protocol", 400, None),
    ],
)
async def test_subprotocol(serve, offered: str | None, status: int, chosen: str | None) -> None:
    served = await serve(subprotocols=("chat.v1.json", "chat.v1.msgpack"))
    peer = await served.connect()
    peer.write(upgrade(*([f"Sec-WebSocket-Protocol: {offered}"] if offered else [])))
    assert (await peer.response())[0] == status
    assert (f"Sec-WebSocket-Protocol: {chosen}\r\n" in peer.headers) == (chosen is not None)
    if status == 101:
        await until(lambda: served.app.seen)
        assert served.app.seen[0].ws.subprotocol == chosen


async def test_a_server_without_subprotocols_ignores_what_is_offered(serve) -> None:
    served = await serve()
    peer = await served.open("Sec-WebSocket-Protocol: anything")
    assert "Sec-WebSocket-Protocol" not in peer.headers


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 101),
        ("https://LOCALHOST", 101),
        ("http://localhost:80", 101),
        ("https://app.example.com", 101),
        ("https://evil.example.org", 403),
        ("https://app.example.com.evil.org", 403),
        ("http://localhost.evil.org", 403),
        ("http://localhost:8080", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
async def test_origin(serve, origin: str, status: int) -> None:
    served = await serve(origins=("https://*.example.com",))
    peer = await served.connect()
    peer.write(upgrade(f"Origin: {origin}"))
    assert (await peer.response())[0] == status


@pytest.mark.parametrize("host", ["localhost:8000", "[::1]:8000", "example.com:443"])
async def test_the_same_origin_is_welcome_on_any_port(serve, host: str) -> None:
    served = await serve()
    peer = await served.connect()
    scheme = "https" if host.endswith(":443") else "http"
    peer.write(upgrade(f"Origin: {scheme}://{host.removesuffix(':443')}", host=host))
    await peer.accepted()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (upgrade().replace(b"13", b"8"), 400),
        (upgrade().replace(b"Version: 13", b"Version: 13\r\nSec-WebSocket-Version: 8"), 400),
        (upgrade(key="short"), 400),
        (upgrade(key="not base64 at all, really"), 400),
        (upgrade(f"Sec-WebSocket-Key: {KEY}"), 400),
        (upgrade().replace(b"Connection: Upgrade\r\n", b""), 426),
        (upgrade().replace(b"websocket", b"h2c"), 426),
        (upgrade("Origin: a", "Origin: b"), 400),
        (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
        (upgrade().replace(b"GET", b"POST"), 405),
        (upgrade(path="/\0"), 400),
        (upgrade(path="/ws\x7f"), 400),
        (upgrade().replace(b"GET / HTTP/1.1", b"GET /\xc3\xa9 HTTP/1.1"), 400),
        (upgrade("Bad Header: x"), 400),
        (upgrade(" folded: x"), 400),
        (upgrade("X: \0"), 400),
        (upgrade("Transfer-Encoding: chunked"), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + upgrade(), 400),
        (upgrade("X-Long: " + "x" * 8192), 431),
        (b"x" * 9000, 431),
    ],
)
async def test_what_is_no_handshake_is_refused(serve, request_: bytes, status: int) -> None:
    served = await serve()
    assert await status_of(served, request_) == status
    assert sum(served.endpoint.counts.refused.values()) == (status != 405)
    await served.open()
    assert len(served.app.seen) == 1


async def test_header_names_and_values_are_compared_as_the_rfc_says(serve) -> None:
    served = await serve()
    peer = await served.connect()
    peer.write(
        upgrade()
        .replace(b"websocket", b"WebSocket")
        .replace(b"Connection: Upgrade", b"CONNECTION: keep-alive, upgrade")
    )
    await peer.accepted()


async def test_a_header_that_comes_byte_by_byte_is_read(serve) -> None:
    served = await serve()
    peer = await served.connect()
    for byte in upgrade():
        peer.write(bytes((byte,)))
        await asyncio.sleep(0)
    await peer.accepted()


async def test_frames_behind_the_request_are_answered_behind_the_101(serve) -> None:
    served = await serve()
    peer = await served.connect()
    peer.write(upgrade() + frame(9, b"early") + text("and this"))
    await peer.accepted()
    assert (await peer.next()).payload == b"early"
    assert await peer.message() == "and this"


async def test_half_a_header_does_not_wait_for_ever(serve) -> None:
    served = await serve(handshake_timeout=0.2)
    peer = await served.connect()
    peer.write(upgrade()[:-2])
    assert await peer.refused() == 408
    assert served.endpoint.counts.refused == {408: 1}


async def test_a_byte_now_and_then_buys_no_time(serve) -> None:
    served = await serve(handshake_timeout=0.3)
    peer = await served.connect()
    began = asyncio.get_running_loop().time()

    async def trickle() -> None:
        for byte in upgrade("X: " + "x" * 1000):
            peer.write(bytes((byte,)))
            await asyncio.sleep(0.02)

    trickling = asyncio.create_task(trickle())
    assert await peer.refused() == 408
    assert asyncio.get_running_loop().time() - began < 2
    trickling.cancel()


async def test_silence_is_ended_too(serve) -> None:
    served = await serve(handshake_timeout=0.2)
    peer = await served.connect()
    assert await peer.refused() == 408
    await until(lambda: served.endpoint.descriptors.used == 0)


async def test_a_client_that_never_reads_its_refusal_is_dropped(serve) -> None:
    served = await serve(handshake_timeout=0.2)
    peer = await served.connect()
    peer.write(upgrade(path="/nowhere"))
    assert (await peer.response())[0] == 404
    await until(lambda: served.endpoint.descriptors.used == 0)


async def test_a_plain_request_to_a_bare_endpoint_is_told_to_upgrade(serve) -> None:
    served = await serve()
    assert await status_of(served, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == 426


async def test_the_same_port_answers_http_and_websocket(serve) -> None:
    served = await serve(http=Http(page=b"<p>hello"))
    peer = await served.connect()
    peer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await peer.response())[0] == 200
    assert await peer.rest() == b"<p>hello"
    await served.open()


async def test_an_exception_at_the_opening_costs_that_connection(serve, caplog) -> None:
    served = await serve()
    served.app.opened = lambda ws: 1 / 0
    peer = await served.open()
    assert await peer.closed_with() == 1011
    assert served.endpoint.counts.callback_errors == 1
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        (
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
        (
            "permessage-deflate; client_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=10",
        ),
        ("permessage-deflate; server_max_window_bits=10", None),
        (
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
        ("permessage-deflate; nonsense", None),
        ("x-webkit-deflate-frame", None),
    ],
)
async def test_compression_is_agreed_on_in_one_form(serve, offer: str, answer: str | None) -> None:
    served = await serve()
    peer = await served.open(f"Sec-WebSocket-Extensions: {offer}")
    found = [line.partition(": ")[2] for line in peer.headers.splitlines() if "Extensions" in line]
    assert found == ([answer] if answer else [])
    await until(lambda: served.app.seen)
    assert served.app.seen[0].ws.deflate == (answer is not None)


async def test_compression_can_be_off(serve) -> None:
    served = await serve(deflate=False)
    peer = await served.open("Sec-WebSocket-Extensions: permessage-deflate")
    assert "Extensions" not in peer.headers
