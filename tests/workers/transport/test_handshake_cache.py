"""A handshake that was seen before gets the same answer as it would get anew."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.transport.serving import DEFLATE, KEY, until, upgrade
from workers.transport.handshake_cache import MOST, HandshakeCache
from workers.transport.negotiation import Agreed, Negotiator, parse_request

HEADERS = [
    [],
    [DEFLATE],
    ["Sec-WebSocket-Protocol: a, b"],
    ["Origin: http://localhost", "User-Agent: one", "X-Forwarded-For: 1.2.3.4"],
]


def negotiator() -> Negotiator:
    return Negotiator(paths=None, origins=(), subprotocols=("b",), deflate=True)


def agreed_on(block: bytes) -> Agreed:
    agreed = negotiator().negotiate(parse_request(block))
    assert isinstance(agreed, Agreed)
    return agreed


@given(st.sampled_from(HEADERS), st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_what_is_recalled_is_what_would_be_agreed_on(headers, first: bytes, second: bytes) -> None:
    handshake_cache = HandshakeCache()
    before = upgrade(*headers, key=b64encode(first).decode())
    again = upgrade(*headers, key=b64encode(second).decode())
    assert handshake_cache.get(again) is None
    handshake_cache.put(before, agreed_on(before))
    assert handshake_cache.get(again) == agreed_on(again)


def test_another_block_is_not_familiar() -> None:
    handshake_cache = HandshakeCache()
    handshake_cache.put(upgrade(), agreed_on(upgrade()))
    assert handshake_cache.get(upgrade(path="/ws")) is None
    assert handshake_cache.get(upgrade("X: y")) is None
    assert handshake_cache.get(upgrade(key="short")) is None
    assert handshake_cache.get(upgrade(f"Sec-WebSocket-Key: {KEY}")) is None


@pytest.mark.parametrize("header", ["Cookie: secret", "cookie:secret", "Authorization: Bearer x", "COOKIE : x"])
def test_blocks_with_secrets_are_not_kept(header: str) -> None:
    handshake_cache = HandshakeCache()
    block = upgrade().replace(b"\r\n\r\n", f"\r\n{header}\r\n\r\n".encode())
    handshake_cache.put(block, agreed_on(upgrade()))
    handshake_cache.put(upgrade(path="/ws?token=secret"), agreed_on(upgrade()))
    assert handshake_cache.get(block) is None
    assert handshake_cache.get(upgrade(path="/ws?token=secret")) is None


def test_it_never_keeps_more_than_so_many() -> None:
    handshake_cache = HandshakeCache()
    for number in range(3 * MOST):
        block = upgrade(f"X: {number}")
        handshake_cache.put(block, agreed_on(upgrade()))
        assert handshake_cache.get(block) is not None
        assert len(handshake_cache._kinds) <= MOST


async def test_the_second_of_a_kind_is_a_client_of_its_own(serve) -> None:
    served = await serve(trusted_proxies=("127.0.0.1",))
    for key in (KEY, b64encode(bytes(16)).decode()):
        peer = await served.connect()
        peer.write(upgrade("X-Forwarded-For: 203.0.113.7", key=key))
        await peer.accepted()
    await until(lambda: len(served.app.seen) == 2)
    first, second = (seen.ws for seen in served.app.seen)
    assert first.handshake is second.handshake
    assert first.remote == second.remote == ("203.0.113.7", 0)
    refused = await served.connect()
    refused.write(upgrade("X-Forwarded-For: 203.0.113.7", key="short"))
    assert await refused.refused() == 400
