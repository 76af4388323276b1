"""Whom to believe about the client's address."""

import socket
import struct
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers

from tests.workers.transport.serving import text, until, upgrade
from workers.transport.proxies import V2_PREFIX, BadProxyHeader, TrustedProxies, parse_proxy_header

PEER = ("10.0.0.1", 5)
NETWORKS = ("10.0.0.0/8", "fd00::/8", "192.168.1.1")


@pytest.mark.parametrize(
    ("header", "values", "client"),
    [
        ("x-forwarded-for", [], PEER),
        ("x-forwarded-for", ["1.2.3.4"], ("1.2.3.4", 0)),
        ("X-Forwarded-For", ["6.6.6.6, 1.2.3.4"], ("1.2.3.4", 0)),
        ("x-forwarded-for", ["6.6.6.6", "1.2.3.4, 10.2.2.2"], ("1.2.3.4", 0)),
        ("x-forwarded-for", ["1.2.3.4:99, 192.168.1.1"], ("1.2.3.4", 99)),
        ("x-forwarded-for", ["2001:db8::1"], ("2001:db8::1", 0)),
        ("x-forwarded-for", ["10.9.9.9, 10.8.8.8"], ("10.9.9.9", 0)),
        ("x-forwarded-for", ["1.2.3.4, garbage"], PEER),
        ("x-forwarded-for", ["garbage, 10.3.3.3"], ("10.3.3.3", 0)),
        ("x-forwarded-for", [", ,"], PEER),
        ("x-forwarded-for", ["::ffff:1.2.3.4"], ("1.2.3.4", 0)),
        ("forwarded", ["for=1.2.3.4"], ("1.2.3.4", 0)),
        ("forwarded", ['for=6.6.6.6, For="[2001:db8::1]:47";proto=https;by=10.0.0.1'], ("2001:db8::1", 47)),
        ("forwarded", ['for="[::FFFF:1.2.3.4]:47"'], ("1.2.3.4", 47)),
        ("forwarded", ["proto=http;for=1.2.3.4, for=10.0.0.7"], ("1.2.3.4", 0)),
        ("forwarded", ['for=1.2.3.4;host="x, for=6.6.6.6"'], ("1.2.3.4", 0)),  # the client chooses the host
        ("forwarded", ['host="x;for=6.6.6.6;y";for=1.2.3.4'], ("1.2.3.4", 0)),
        ("forwarded", ['for=1.2.3.4;host="x\\", for=6.6.6.6"'], ("1.2.3.4", 0)),
        ("forwarded", ['for=", for=1.2.3.4;host="x, for=6.6.6.6"'], ("1.2.3.4", 0)),  # and how the value begins
        ("forwarded", ['for="6.6.6.6, for=1.2.3.4'], ("1.2.3.4", 0)),
        ("forwarded", ['for=6.6.6.6;x=", for="[2001:db8::1]:47"'], ("2001:db8::1", 47)),
        ("forwarded", ["for=unknown"], PEER),
        ("forwarded", ["for=_hidden"], PEER),
        ("forwarded", ["proto=https"], PEER),
        ("x-real-ip", ["1.2.3.4"], ("1.2.3.4", 0)),
        ("cf-connecting-ip", ["2001:db8::1"], ("2001:db8::1", 0)),
    ],
)
def test_the_client_behind_trusted_proxies(header: str, values: list[str], client) -> None:
    headers = Headers([(header, value) for value in values])
    assert TrustedProxies(NETWORKS, header).client(PEER, headers) == client


ALL_CLAIMS = {
    "Forwarded": ("for=6.6.6.1", "6.6.6.1"),
    "X-Forwarded-For": ("6.6.6.2", "6.6.6.2"),
    "X-Real-IP": ("6.6.6.3", "6.6.6.3"),
    "CF-Connecting-IP": ("6.6.6.4", "6.6.6.4"),
    "True-Client-IP": ("6.6.6.5", "6.6.6.5"),
}


@pytest.mark.parametrize("header", [*ALL_CLAIMS, "proxy-protocol"])
def test_of_all_claims_only_the_configured_one_counts(header: str) -> None:
    headers = Headers([(name, value) for name, (value, _) in ALL_CLAIMS.items()])
    proxies = TrustedProxies(NETWORKS, header)
    _, expected = ALL_CLAIMS.get(header, ("", PEER[0]))
    assert proxies.client(PEER, headers)[0] == expected
    if header in headers:
        del headers[header]
        assert proxies.client(PEER, headers) == PEER


def test_nobody_elses_claims_count() -> None:
    headers = Headers([(name, value) for name, (value, _) in ALL_CLAIMS.items()])
    assert TrustedProxies(NETWORKS).client(("11.0.0.1", 5), headers) == ("11.0.0.1", 5)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.255.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("fd00::1", True),
        ("11.0.0.1", False),
        ("", False),
        ("x", False),
    ],
)
def test_who_is_trusted(address: str, trusted: bool) -> None:
    assert TrustedProxies(NETWORKS).trusts(address) == trusted


def test_nobody_is_trusted_by_default() -> None:
    assert not TrustedProxies(())
    assert TrustedProxies(("unix",)).trusts("")


def test_what_is_no_network_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        TrustedProxies(("10.0.0.0/8", "proxy.example.com"))


@given(st.sampled_from(["forwarded", "x-forwarded-for"]), st.lists(st.text(max_size=40), max_size=4))
def test_no_header_makes_it_stumble(header: str, values: list[str]) -> None:
    address, port = TrustedProxies(NETWORKS, header).behind(PEER, values)
    assert isinstance(address, str)
    assert isinstance(port, int)


def v2(command: int, family: int, body: bytes) -> bytes:
    return V2_PREFIX + bytes((0x20 | command, family)) + struct.pack("!H", len(body)) + body


IPV4 = bytes((1, 2, 3, 4, 5, 6, 7, 8)) + struct.pack("!HH", 1111, 2222)
IPV6 = bytes(15) + b"\1" + bytes(16) + struct.pack("!HH", 1111, 2222)
MAPPED = bytes(10) + b"\xff\xff\1\2\3\4" + bytes(16) + struct.pack("!HH", 1111, 2222)

HEADERS = [
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n", ("1.2.3.4", 1111)),
    (b"PROXY TCP6 2001:db8::1 ::2 1111 2222\r\n", ("2001:db8::1", 1111)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    (v2(1, 0x11, IPV4), ("1.2.3.4", 1111)),
    (v2(1, 0x11, IPV4 + b"\x04\0\1x"), ("1.2.3.4", 1111)),
    (v2(1, 0x21, IPV6), ("::1", 1111)),
    (v2(1, 0x21, MAPPED), ("1.2.3.4", 1111)),
    (b"PROXY TCP6 ::ffff:1.2.3.4 ::2 1111 2222\r\n", ("1.2.3.4", 1111)),
    (v2(0, 0x00, b""), None),
    (v2(1, 0x31, bytes(216)), None),
]


@pytest.mark.parametrize(("header", "client"), HEADERS)
def test_a_proxy_header_is_read_and_awaited(header: bytes, client) -> None:
    assert parse_proxy_header(header + b"GET /") == (client, len(header))
    for cut in range(len(header)):
        assert parse_proxy_header(header[:cut]) is None


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1", b"PROXX", b"\r\n\r\nx"])
def test_what_is_no_proxy_header_is_left_alone(data: bytes) -> None:
    assert parse_proxy_header(data) == (None, 0)


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 1.2.3.4\r\n",
        b"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 localhost 5.6.7.8 1 2\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4 " + b"1" * 200,
        v2(2, 0x11, IPV4),
        V2_PREFIX + b"\x11\x11\0\x0c" + IPV4,
        V2_PREFIX + b"\x21\x11\xff\xff",
    ],
)
def test_a_malformed_proxy_header_is_refused(header: bytes) -> None:
    with pytest.raises(BadProxyHeader):
        parse_proxy_header(header)


@given(st.binary(max_size=120))
def test_no_bytes_behind_a_prefix_make_it_stumble(data: bytes) -> None:
    for prefix in (b"PROXY ", V2_PREFIX):
        try:
            parse_proxy_header(prefix + data)
        except BadProxyHeader:
            pass


@pytest.mark.parametrize(("header", "client"), HEADERS)
async def test_a_trusted_peer_speaks_for_its_client(serve, header: bytes, client) -> None:
    served = await serve(trusted_proxies=("127.0.0.0/8",), forwarded_header="proxy-protocol")
    peer = await served.connect()
    peer.write(header[:7])
    await peer.writer.drain()
    peer.write(header[7:] + upgrade() + text("hello"))
    await peer.accepted()
    assert await peer.message() == "hello"
    expected = client or peer.writer.get_extra_info("sockname")[:2]
    assert served.app.seen[0].ws.remote == tuple(expected)


async def test_forwarded_for_behind_a_trusted_peer(serve) -> None:
    served = await serve(trusted_proxies=("127.0.0.1",))
    await served.open("X-Forwarded-For: 203.0.113.5")
    await until(lambda: served.app.seen)
    assert served.app.seen[0].ws.remote == ("203.0.113.5", 0)


async def test_the_proxy_protocol_is_refused_where_a_header_is_believed(serve) -> None:
    served = await serve(trusted_proxies=("127.0.0.0/8",))
    peer = await served.connect()
    peer.write(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + upgrade())
    assert await peer.refused() == 400


async def test_one_client_of_two_listeners_is_one_address(serve) -> None:
    addresses = set()
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::")):
        listener = socket.create_server((host, 0), family=family, dualstack_ipv6=family == socket.AF_INET6)
        served = await serve(listener=listener)
        peer = await served.open()
        await until(partial(len, served.app.seen))
        ws = served.app.seen[0].ws
        addresses |= {ws.address, ws.remote[0], peer.writer.get_extra_info("sockname")[0]}
    assert addresses == {"127.0.0.1"}


async def test_strangers_claims_are_ignored(serve) -> None:
    served = await serve(trusted_proxies=("10.0.0.0/8",))
    peer = await served.open("X-Forwarded-For: 203.0.113.5", "Forwarded: for=203.0.113.5")
    await until(lambda: served.app.seen)
    assert served.app.seen[0].ws.remote == peer.writer.get_extra_info("sockname")[:2]
    stranger = await served.connect()
    stranger.write(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + upgrade())
    assert await stranger.refused() == 400


async def test_a_bad_proxy_header_of_a_trusted_peer_is_refused(serve) -> None:
    served = await serve(trusted_proxies=("127.0.0.0/8",), forwarded_header="proxy-protocol")
    peer = await served.connect()
    peer.write(b"PROXY TCP9 \r\n" + upgrade())
    assert await peer.refused() == 400
