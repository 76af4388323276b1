"""The one spelling of a client's address, so that one client is one address wherever limits and bans count it."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address


def canonical(address: str) -> str:
    """`address` as text in its one spelling: an IPv4 address mapped into IPv6 (RFC 4291, 2.5.5.2) is that IPv4 address.

    A listener on `::` sees IPv4 clients as `::ffff:1.2.3.4`, one on `0.0.0.0` as `1.2.3.4`. Raises ValueError for what
    is no address.
    """
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


def is_loopback(address: str) -> bool:
    """Whether that is this machine by its loopback; False for what is no address."""
    try:
        return ip_address(canonical(address)).is_loopback
    except ValueError:
        return False


def of_peer(peername: object) -> tuple[str, int]:
    """Address and port of a socket's peer, from its `peername`; `("", 0)` for a unix socket."""
    if not isinstance(peername, tuple):
        return ("", 0)
    host, port = str(peername[0]), int(peername[1])
    return (canonical(host) if host[:7].lower() == "::ffff:" else host, port)


@lru_cache(maxsize=8192)
def network_of(address: str, ipv6_prefix: int) -> str:
    """What limits and sanctions count for: an IPv4 address, or the IPv6 network of that many bits around an address.

    One IPv6 client has a whole network, of 64 bits as a rule (RFC 6177), and may come from any address of it. What is
    no address, "" for a unix socket, is returned as it is, and so is what is a network already.
    """
    try:
        parsed = ip_address(canonical(address))
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address) or ipv6_prefix == 128:
        return str(parsed)
    return str(IPv6Network((int(parsed), ipv6_prefix), strict=False))
