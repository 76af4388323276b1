"""The client's address behind a proxy, from one header of the request or from the PROXY protocol.

Anyone can make such claims. So they are believed only from peers within the configured networks, and only the
configured header counts, since a proxy passes other headers on as the client sent them. A chain of addresses is read
from its end: each proxy appends the address that it saw (RFC 7239, 7.4).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Final

from websockets.datastructures import Headers

from workers.ip_addresses import canonical

Remote = tuple[str, int]

PROXY_PROTOCOL: Final = "proxy-protocol"
V1_PREFIX: Final = b"PROXY "
V1_LONGEST: Final = 107  # bytes, with the line's end (haproxy's proxy-protocol.txt, 2.1)
V2_PREFIX: Final = b"\r\n\r\n\0\r\nQUIT\n"
V2_HEADER: Final = 16
V2_LONGEST: Final = 4096  # bytes: addresses take at most 216, the rest is options, which are skipped

_SCHEMES: Final = {"https": "https", "wss": "https", "http": "http", "ws": "http"}

_forwarded_for = re.compile(r'\s*for\s*=\s*(?:"([^"]*)"|([^;"\s]+))\s*', re.IGNORECASE)
_forwarded_proto = re.compile(r'(?:^|[;,])\s*proto\s*=\s*"?([A-Za-z]+)', re.IGNORECASE)


class BadProxyHeader(ValueError):
    """A trusted peer sent a malformed PROXY header."""


class TrustedProxies:
    """The networks of trusted proxies, with `"unix"` for peers behind a unix socket, and the header that they write.

    `header` is the name of a header, or `"proxy-protocol"`. Raises ValueError for a text that is not a network.
    """

    def __init__(self, networks: tuple[str, ...], header: str = "x-forwarded-for") -> None:
        self.by_protocol = header.lower() == PROXY_PROTOCOL
        self.header = header
        self._split = _forwarded_chain if header.lower() == "forwarded" else _split
        self.unix = "unix" in networks
        self.networks = [ip_network(network, strict=False) for network in networks if network != "unix"]
        self._configured = bool(networks)

    def __bool__(self) -> bool:
        return self._configured

    def trusts(self, address: str) -> bool:
        """Whether the peer at `address` is a trusted proxy; `""` is a unix socket."""
        if not address:
            return self.unix
        try:
            ip = ip_address(canonical(address))
        except ValueError:
            return False
        return any(ip in network for network in self.networks)

    def client(self, peer: Remote, headers: Headers) -> Remote:
        """The client behind `peer`: the last address of the chain that is not a trusted proxy's."""
        return self.behind(peer, self.claims(headers)) if self.trusts(peer[0]) else peer

    def claims(self, headers: Headers) -> list[str]:
        """The values of the configured header; none where the PROXY protocol is configured."""
        return [] if self.by_protocol else headers.get_all(self.header)

    def scheme(self, values_of: Callable[[str], list[str]]) -> str:
        """`http` or `https`, as a trusted peer reports it; "" where it does not. `values_of` gives a header's values.

        The proxy that is nearest has the last word.
        """
        if self.header.lower() == "forwarded":
            said = [match[1] for value in values_of("forwarded") for match in _forwarded_proto.finditer(value)]
        else:
            said = _split(values_of("x-forwarded-proto"))
        return (
            {"https": "https", "wss": "https", "http": "http", "ws": "http"}.get(said[-1].lower(), "") if said else ""
        )

    def behind(self, peer: Remote, claims: list[str]) -> Remote:
        """The client as a trusted `peer` reports it."""
        return self._last_untrusted(self._split(claims)) or peer

    def _last_untrusted(self, chain: list[str]) -> Remote | None:
        remote: Remote | None = None
        for text in reversed(chain):
            node = _parse_node(text)
            if node is None:
                break
            remote = node
            if not self.trusts(node[0]):
                break
        return remote


def _split(values: list[str]) -> list[str]:
    return [item.strip() for value in values for item in value.split(",") if item.strip()]


def _forwarded_chain(values: list[str]) -> list[str]:
    elements = [element for value in values for element in reversed(list(_divided(value, ","))) if element.strip()]
    return [_for_of(element) for element in elements]


def _for_of(element: str) -> str:
    """The address that one proxy saw; "" where the element has none."""
    found = [match for pair in _divided(element, ";") if (match := _forwarded_for.fullmatch(pair))]
    return (found[-1][1] or found[-1][2] or "") if found else ""


def _divided(value: str, separator: str) -> Iterator[str]:
    """The parts of a value, last part first; quoted text is not split (RFC 7239, 4).

    The client may have written the beginning of the value, with quotes in it. The proxy has written the end, so the
    value is read from there, and no quote of the client can hide or forge what follows it.
    """
    end, quoted = len(value), False
    for at in range(len(value) - 1, -1, -1):
        if value[at] == '"' and not (quoted and value[at - 1 : at] == "\\"):
            quoted = not quoted
        elif value[at] == separator and not quoted:
            yield value[at + 1 : end]
            end = at
    yield value[:end]


def _parse_node(text: str) -> Remote | None:
    """`1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]` or `[::1]:80`; None for `unknown` and the like."""
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, port = text.split(":")
    try:
        return canonical(host), int(port) if port.isascii() and port.isdigit() else 0
    except ValueError:
        return None


def parse_proxy_header(data: bytes) -> tuple[Remote | None, int] | None:
    """The client in a PROXY header at the start of `data`, and the header's length in bytes.

    The length is 0 if there is no such header; the client is None if the header names none (`UNKNOWN`, `LOCAL`). The
    result is None if more bytes are needed. Raises BadProxyHeader.
    """
    for prefix, parse in ((V1_PREFIX, _parse_v1), (V2_PREFIX, _parse_v2)):
        if data.startswith(prefix):
            return parse(data)
        if prefix.startswith(data):
            return None
    return None, 0


def _parse_v1(data: bytes) -> tuple[Remote | None, int] | None:
    end = data.find(b"\r\n", 0, V1_LONGEST)
    if end < 0:
        if len(data) >= V1_LONGEST:
            raise BadProxyHeader("a PROXY line of more than 107 bytes")
        return None
    words = data[:end].decode("latin-1").split(" ")
    if words[1] == "UNKNOWN":
        return None, end + 2
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise BadProxyHeader("a malformed PROXY line")
    remote = _parse_node(f"[{words[2]}]:{words[4]}")
    if remote is None:
        raise BadProxyHeader("a PROXY line without an address")
    return remote, end + 2


def _parse_v2(data: bytes) -> tuple[Remote | None, int] | None:
    if len(data) < V2_HEADER:
        return None
    version, command, family = data[12] >> 4, data[12] & 0x0F, data[13]
    size = V2_HEADER + int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1 or size > V2_LONGEST:
        raise BadProxyHeader("a malformed PROXY header, version 2")
    if len(data) < size:
        return None
    body = data[V2_HEADER:size]
    if command == 0:  # LOCAL: the proxy itself, for example its health check
        return None, size
    if family == 0x11 and len(body) >= 12:
        return (str(ip_address(body[:4])), int.from_bytes(body[8:10], "big")), size
    if family == 0x21 and len(body) >= 36:
        return (canonical(str(ip_address(body[:16]))), int.from_bytes(body[32:34], "big")), size
    return None, size
