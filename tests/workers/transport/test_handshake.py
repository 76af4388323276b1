"""The opening handshake over a real socket: who is let in, who is not, and what a bad client can cost."""

import asyncio
import socket

import pytest

from tests.workers.transport.serving import ACCEPT, KEY, Peer, Served, frame, text, until, upgrade
from workers.http.site import Site
from workers.transport.refusal_log import MOST


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
        (upgrade().replace(b"13", b"8"), 426),
        (upgrade().replace(b"Version: 13", b"Version: 13\r\nSec-WebSocket-Version: 8"), 426),
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
        (upgrade().replace(b"Host: localhost\r\n", b""), 400),
        (upgrade("Host: other"), 400),
        (upgrade().replace(b"Sec-WebSocket-Version: 13\r\n", b""), 426),
        (b"GET /\r\n\r\n", 400),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + upgrade(), 400),
        (upgrade("X-Long: " + "x" * 8192), 431),
        (b"x" * 9000, 431),
    ],
)
async def test_what_is_no_handshake_is_refused(serve, request_: bytes, status: int) -> None:
    served = await serve()
    assert await status_of(served, request_) == status
    assert sum(served.endpoint.shared.counts.refused.values()) == 1
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
    assert served.endpoint.shared.counts.refused == {408: 1}


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
    await until(lambda: served.endpoint.shared.descriptors.used == 0)


async def test_a_client_that_never_reads_its_refusal_is_dropped(serve) -> None:
    served = await serve(handshake_timeout=0.2)
    peer = await served.connect()
    peer.write(upgrade(path="/nowhere"))
    assert (await peer.response())[0] == 404
    await until(lambda: served.endpoint.shared.descriptors.used == 0)


async def test_a_plain_request_to_a_bare_endpoint_is_told_to_upgrade(serve) -> None:
    served = await serve()
    assert await status_of(served, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == 426


async def test_the_same_port_answers_http_and_websocket(serve) -> None:
    served = await serve(http=Site(page=b"<p>hello"))
    peer = await served.connect()
    peer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await peer.response())[0] == 200
    assert await peer.rest() == b"<p>hello"
    await served.open()


async def test_an_exception_at_the_opening_costs_that_connection(serve, caplog) -> None:
    served = await serve()
    served.app.on_open = lambda ws: 1 / 0
    peer = await served.open()
    assert await peer.closed_with() == 1011
    assert served.endpoint.shared.counts.callback_errors == 1
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


@pytest.mark.parametrize("version", ["8", "0", "7", "14", "13, 8", ""])
async def test_another_version_is_told_which_one_is_spoken(serve, version: str) -> None:
    peer = await (await serve()).connect()
    peer.write(upgrade().replace(b"Version: 13", f"Version: {version}".encode()))
    assert await peer.refused() == 426
    assert "\r\nSec-WebSocket-Version: 13\r\n" in peer.headers
    assert "\r\nUpgrade: websocket\r\n" in peer.headers


@pytest.mark.parametrize("name", ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"])
async def test_an_empty_list_is_as_none(serve, name: str) -> None:
    served = await serve(subprotocols=("chat.v1.json",))
    for nothing in ("", " , ", ",,"):
        peer = await served.open(f"{name}:{nothing}")
        assert name not in peer.headers
    await served.open(f"{name}: ", f"{name}: ")
    peer = await served.open("Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: chat.v1.json")
    assert "Sec-WebSocket-Protocol: chat.v1.json\r\n" in peer.headers


HTTP = Site(page=b"<p>hello", metrics=lambda: "up 1\n")


def get(target: str, *headers: str, host: str = "localhost") -> bytes:
    last = [] if any(header.startswith("Connection:") for header in headers) else ["Connection: close"]
    lines = [f"GET {target} HTTP/1.1", *([f"Host: {host}"] if host else []), *last, *headers]
    return "\r\n".join((*lines, "", "")).encode()


@pytest.mark.parametrize("path", ["/", "/health"])
@pytest.mark.parametrize(
    "headers",
    [
        ["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"],
        ["Upgrade: TLS/1.0", "Connection: Upgrade"],
        ["Upgrade:"],
    ],
    ids=["h2c", "TLS", "nothing"],
)
async def test_an_upgrade_to_something_else_is_ignored(serve, path: str, headers: list[str]) -> None:
    assert await status_of(await serve(http=HTTP), get(path, *headers)) == 200


async def test_a_websocket_is_chosen_among_what_is_offered(serve) -> None:
    served = await serve(http=HTTP)
    peer = await served.connect()
    peer.write(upgrade().replace(b"Upgrade: websocket", b"Upgrade: h2c, websocket"))
    await peer.accepted()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://chat.example.org/health", 200),
        ("HTTPS://chat.example.org:8443/health?a=b", 200),
        ("http://chat.example.org", 200),
        ("http://chat.example.org?x", 200),
        ("http://chat.example.org/nowhere", 404),
    ],
)
async def test_a_target_in_absolute_form_means_its_path(serve, target: str, status: int) -> None:
    assert await status_of(await serve(http=HTTP), get(target)) == status


@pytest.mark.parametrize("host", [b"", b"Host: x\r\n"])
async def test_an_absolute_target_of_http_1_0_needs_no_host(serve, host: bytes) -> None:
    served = await serve(http=HTTP, hosts=("chat.example.org",))
    for name, status in (("chat.example.org", 200), ("evil.example", 421)):
        assert await status_of(served, f"GET http://{name}/ HTTP/1.0\r\n".encode() + host + b"\r\n") == status


async def test_the_host_of_an_absolute_target_counts(serve) -> None:
    served = await serve(hosts=("chat.example.org",), http=HTTP)
    assert await status_of(served, get("http://chat.example.org/", host="evil.example")) == 200
    assert await status_of(served, get("http://evil.example/", host="chat.example.org")) == 421
    peer = await served.connect()
    peer.write(upgrade("Origin: https://chat.example.org", path="ws://chat.example.org/ws"))
    await peer.accepted()


@pytest.mark.parametrize("lines", [b"\r\n", b"\n", b"\r\n\r\n"])
async def test_empty_lines_before_the_request_are_passed_over(serve, lines: bytes) -> None:
    served = await serve(http=HTTP)
    assert await status_of(served, lines + get("/health")) == 200
    peer = await served.connect()
    for byte in lines + upgrade():
        peer.write(bytes((byte,)))
        await asyncio.sleep(0)
    await peer.accepted()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("chat.example.org", 200),
        ("CHAT.example.org.", 200),
        ("chat.example.org:8443", 200),
        ("eu.example.net", 200),
        ("[2001:db8::1]:8000", 200),
        ("localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]", 200),
        ("example.net", 421),
        ("chat.example.org.evil.example", 421),
        ("evil.example", 421),
        ("chatxexample.org", 421),
        ("", 400),
    ],
)
async def test_only_names_that_are_listed_are_answered(serve, host: str, status: int) -> None:
    served = await serve(http=HTTP, hosts=("chat.example.org", "*.example.net", "[2001:db8::1]"))
    assert await status_of(served, get("/", host=host)) == status
    peer = await served.connect()
    peer.write(upgrade(f"Origin: http://{host}", host=host) if host else get("/", host=""))
    assert (await peer.response())[0] == (101 if status == 200 else status)


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_a_load_balancer_may_ask_for_an_address(serve, path: str) -> None:
    assert await status_of(await serve(http=HTTP, hosts=("chat.example.org",)), get(path, host="10.0.0.7:8000")) == 200


@pytest.mark.parametrize(
    ("patterns", "origin", "status"),
    [
        (("http://[::1]:8000",), "http://[::1]:8000", 101),
        (("http://[2001:db8::1]",), "http://[2001:db8::1]", 101),
        (("http://[2001:db8::*]:*",), "http://[2001:db8::7]:8000", 101),
        (("http://[::1]:8000",), "http://1:8000", 403),
        (("https://a?.example.org",), "https://ab.example.org", 403),
        (("https://a.example.org",), "https://axexample.org", 403),
        (("https://a.example.org",), "https://a.example.org.evil.example", 403),
        (("HTTPS://A.example.org",), "https://a.example.org", 101),
        (("*",), "null", 101),
    ],
)
async def test_origins_are_what_they_look_like(serve, patterns, origin: str, status: int) -> None:
    peer = await (await serve(origins=patterns)).connect()
    peer.write(upgrade(f"Origin: {origin}"))
    assert (await peer.response())[0] == status


async def test_a_foreign_origin_is_logged_once_with_what_allows_it(serve, caplog) -> None:
    served = await serve()
    for origin in ("https://a.example.org", "https://b.example.org", "https://a.example.org"):
        assert await status_of(served, upgrade(f"Origin: {origin}", host="chat.example.org:8443")) == 403
    lines = [record.getMessage() for record in caplog.records]
    assert [line.count("http.origins = ") for line in lines] == [1, 1]
    assert 'http.origins = ["https://a.example.org"]' in lines[0] and "'chat.example.org:8443'" in lines[0]


async def test_a_foreign_origin_is_told_what_lets_it_in(serve) -> None:
    peer = await (await serve()).connect()
    peer.write(upgrade("Origin: https://a.example.org"))
    assert (await peer.response())[0] == 403
    body = await asyncio.wait_for(peer.reader.read(), 20)
    assert b"https://a.example.org; http.origins lets" in body


async def test_a_stranger_cannot_fill_the_log_or_the_memory_with_origins(serve, caplog) -> None:
    served = await serve()
    for number in range(MOST + 20):
        await status_of(served, upgrade(f"Origin: https://{number}.example.org"))
    assert len(caplog.records) == MOST + 1
    assert "not logged any more" in caplog.text
    assert len(served.endpoint.shared.refusals) == MOST + 1


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (get("/", "Cookie: " + "x" * 9000), 431, "limits.header_size"),
        (upgrade("Cookie: " + "x" * 9000), 431, "limits.header_size"),
        (get("/", "Sec-WebSocket-Key: " + KEY, "Sec-WebSocket-Version: 13"), 426, "has to pass them on"),
        (upgrade().replace(b"Connection: Upgrade\r\n", b""), 426, "has to pass them on"),
        (upgrade(path="/chat/ws"), 404, "http.root_path"),
        (get("/", host="evil.example"), 421, "http.hosts"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + upgrade(), 400, 'server.forwarded_header = "proxy-protocol"'),
    ],
    ids=["cookie", "cookie of a WebSocket", "no Upgrade", "no Connection", "path", "host", "PROXY"],
)
async def test_the_log_says_once_what_to_do(serve, caplog, request_: bytes, status: int, words: str) -> None:
    served = await serve(http=HTTP, hosts=("chat.example.org",), trusted_proxies=("127.0.0.1",))
    for _ in range(2):
        assert await status_of(served, request_) == status
    assert [words in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("root", ["/chat", "/chat/", "/a/b"])
async def test_a_path_that_the_proxy_passes_on_or_takes_off(serve, root: str) -> None:
    bare = root.rstrip("/")
    served = await serve(http=HTTP, root_path=bare)
    for target in (f"{bare}/", f"{bare}/health", "/health", "/", f"{bare}/?room=x"):
        assert await status_of(served, get(target)) == 200
    assert await status_of(served, get(f"{bare}x/health")) == 404
    peer = await served.connect()
    peer.write(get(bare))
    assert await peer.refused() == 308
    assert f"\r\nlocation: {bare}/\r\n" in peer.headers
    for path in (f"{bare}/ws?a=1", bare, "/ws"):
        await served.open(path=path)
    await until(lambda: len(served.app.seen) == 3)
    assert [seen.ws.path for seen in served.app.seen] == ["/ws", "/", "/ws"]
    assert served.app.seen[0].ws.query == "a=1"


@pytest.mark.parametrize(
    ("headers", "config", "source", "status"),
    [
        ([], {}, "127.0.0.1", 200),
        ([], {}, "127.8.0.1", 200),
        (["X-Forwarded-For: 203.0.113.5"], {}, "127.0.0.1", 403),
        (["X-Forwarded-For: 127.0.0.1"], {}, "127.0.0.1", 403),
        (["Via: 1.1 proxy"], {}, "127.0.0.1", 403),
        (["X-Forwarded-For: 203.0.113.5"], {"trusted_proxies": ("127.0.0.1",)}, "127.0.0.1", 403),
        (["X-Forwarded-For: 127.0.0.1, 203.0.113.5"], {"trusted_proxies": ("127.0.0.1",)}, "127.0.0.1", 403),
        (["X-Forwarded-For: ::1"], {"trusted_proxies": ("127.0.0.1",)}, "127.0.0.1", 200),
        (["X-Real-IP: 203.0.113.5"], {"trusted_proxies": ("127.0.0.1",)}, "127.0.0.1", 403),
    ],
)
async def test_figures_are_for_clients_on_this_machine(serve, headers, config, source: str, status: int) -> None:
    served = await serve(http=HTTP, **config)
    peer = await served.connect(source)
    peer.write(get("/metrics", *headers))
    assert await peer.refused() == status


async def test_figures_for_everybody(serve) -> None:
    served = await serve(http=Site(metrics=lambda: "up 1\n", metrics_for_all=True))
    assert await status_of(served, get("/metrics", "X-Forwarded-For: 203.0.113.5")) == 200


async def test_figures_for_who_comes_by_a_unix_socket(serve, tmp_path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "chat.sock"))
        listener.listen()
        served = await serve(http=HTTP, listener=listener)
        peer = Peer(*await asyncio.open_unix_connection(str(tmp_path / "chat.sock")))
        served.peers.append(peer)
        peer.write(get("/metrics"))
        assert await peer.refused() == 200
