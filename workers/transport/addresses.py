"""The one spelling of a client's address, so that one client is one address wherever limits and bans count it."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def canonical(address: str) -> str:
    """`address` as text in its one spelling: an IPv4 address mapped into IPv6 (RFC 4291, 2.5.5.2) is that IPv4 address.

    A listener on `::` sees IPv4 clients as `::ffff:1.2.3.4`, one on `0.0.0.0` as `1.2.3.4`. Raises ValueError for what
    is no address.
    """
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


def of_peer(peername: object) -> tuple[str, int]:
    """Address and port of a socket's peer, from its `peername`; `("", 0)` for a unix socket."""
    if not isinstance(peername, tuple):
        return ("", 0)
    host, port = str(peername[0]), int(peername[1])
    return (canonical(host) if host[:7].lower() == "::ffff:" else host, port)
