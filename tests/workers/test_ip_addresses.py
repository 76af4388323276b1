"""A client's address has one spelling, and an IPv6 client is its network."""

from __future__ import annotations

import pytest

from workers.ip_addresses import canonical, is_loopback, network_of, of_peer


@pytest.mark.parametrize(
    ("address", "spelling"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::FFFF:102:304", "1.2.3.4"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
    ],
)
def test_each_address_has_one_spelling(address: str, spelling: str) -> None:
    assert canonical(address) == spelling


def test_a_text_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match="localhost"):
        canonical("localhost")


@pytest.mark.parametrize(
    ("address", "local"),
    [("127.0.0.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False), ("", False), ("unix", False)],
)
def test_loopback(address: str, local: bool) -> None:
    assert is_loopback(address) is local


@pytest.mark.parametrize(
    ("peername", "found"),
    [
        (("::ffff:1.2.3.4", 80, 0, 0), ("1.2.3.4", 80)),
        (("1.2.3.4", 80), ("1.2.3.4", 80)),
        (("fe80::1%lo", 80, 0, 1), ("fe80::1%lo", 80)),
        ("", ("", 0)),
        (None, ("", 0)),
    ],
)
def test_the_peer_of_a_socket(peername: object, found: tuple[str, int]) -> None:
    assert of_peer(peername) == found


@pytest.mark.parametrize(
    ("address", "prefix", "network"),
    [
        ("1.2.3.4", 64, "1.2.3.4"),
        ("::ffff:1.2.3.4", 64, "1.2.3.4"),
        ("2001:db8:1:2:3::4", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3::4", 48, "2001:db8:1::/48"),
        ("2001:db8:1:2:3::4", 128, "2001:db8:1:2:3::4"),
        ("2001:db8:1:2::/64", 64, "2001:db8:1:2::/64"),
        ("", 64, ""),
    ],
)
def test_limits_count_an_ipv6_client_by_its_network(address: str, prefix: int, network: str) -> None:
    assert network_of(address, prefix) == network
