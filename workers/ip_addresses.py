"""One spelling for each client address, so that limits and bans count the same client everywhere."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address


def canonical(address: str) -> str:
    """The canonical text of `address`: an IPv4 address mapped into IPv6 (RFC 4291, 2.5.5.2) becomes that IPv4 address.

    A listener on `::` sees IPv4 clients as `::ffff:1.2.3.4`, a listener on `0.0.0.0` as `1.2.3.4`. Raises ValueError
    for a text that is not an address.
    """
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


def is_loopback(address: str) -> bool:
    """Whether `address` is a loopback address; False for a text that is not an address."""
    try:
        return ip_address(canonical(address)).is_loopback
    except ValueError:
        return False


def of_peer(peername: object) -> tuple[str, int]:
    """Address and port of a socket's peer, from its `peername`; `("", 0)` for a unix socket."""
    if not isinstance(peername, tuple):
        return ("", 0)
    host, port = peername[:2]
    return (canonical(host) if host[:1] == ":" and host[:7].lower() == "::ffff:" else host, port)


@lru_cache(maxsize=8192)
def network_of(address: str, ipv6_prefix: int) -> str:
    """What limits and sanctions count: an IPv4 address, or the IPv6 network of `ipv6_prefix` bits that holds `address`.

    An IPv6 client usually has a whole network of 64 bits (RFC 6177) and may connect from any address in it. A text that
    is not an address, such as "" for a unix socket or a network, is returned unchanged.
    """
    try:
        parsed = ip_address(canonical(address))
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address) or ipv6_prefix == 128:
        return str(parsed)
    return str(IPv6Network((int(parsed), ipv6_prefix), strict=False))
