"""Which Host and Origin headers are allowed: the lists of the settings, in which only `*` is a wildcard."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class AllowedHosts:
    """The names that this server answers to: `http.hosts`, with or without a port; every name where it is empty.

    In DNS rebinding, a stranger's page whose name suddenly resolves to an address of this server has the same origin as
    what it connects to; only the name in the Host header is wrong. The machine's own names cannot be rebound.
    """

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._match = _matcher(patterns)

    def allows(self, host: str) -> bool:
        """Whether requests to that Host are answered."""
        if self._match is None:
            return True
        name, port = _split_port(host)
        if _is_own(name):
            return True
        return any(self._match.fullmatch(one) for one in (name, f"{name}:{port}") if one)


class AllowedOrigins:
    """The origins whose pages may open a WebSocket: that of the Host itself, and `http.origins`."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._match = _matcher(patterns)

    def allows(self, origin: str, host: str) -> bool:
        """Whether a page of `origin` may connect to this Host."""
        return _same_origin(origin, host) or (self._match is not None and bool(self._match.fullmatch(origin)))


def _matcher(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    """Match whatever one of the patterns stands for, ignoring case; None where there are none."""
    if not patterns:
        return None
    words = ("".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", one)) for one in patterns)
    return re.compile("|".join(f"(?:{word})" for word in words), re.IGNORECASE)


def _same_origin(origin: str, host: str) -> bool:
    """Whether the page comes from the host that it connects to; a proxy may change the scheme."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    port = _DEFAULT_PORTS.get(parts.scheme, "")
    host = host.lower().removesuffix(port)
    return bool(host) and parts.netloc.lower().removesuffix(port) == host


def _split_port(host: str) -> tuple[str, str]:
    """Name and port of a Host header; the name in lower case and without a final dot."""
    name, port = host.strip(), ""
    if not name.endswith("]") and ":" in name:
        name, _, port = name.rpartition(":")
    return name.lower().removesuffix("."), port


def _is_own(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
