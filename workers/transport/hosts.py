"""Which Host and Origin headers are welcome: the lists of the settings, in which only `*` means anything but itself."""

from __future__ import annotations

import re
from ipaddress import ip_address


def matcher(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    """Matches whatever one of the patterns stands for, in any case; None: there are none."""
    if not patterns:
        return None
    words = ("".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", one)) for one in patterns)
    return re.compile("|".join(f"(?:{word})" for word in words), re.IGNORECASE)


class Hosts:
    """The names that this server answers to: `http.hosts`, with or without a port. Without any, to every name.

    A page of a stranger whose name suddenly stands for an address of ours ("DNS rebinding") is of the same origin as
    what it connects to; only the name in the Host header is wrong then. The machine's own names cannot be made to.
    """

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._match = matcher(patterns)

    def welcome(self, host: str) -> bool:
        """Whether requests to that Host are answered."""
        if self._match is None:
            return True
        name, port = split_port(host)
        if _is_own(name):
            return True
        return any(self._match.fullmatch(one) for one in (name, f"{name}:{port}") if one)


def split_port(host: str) -> tuple[str, str]:
    """A Host header's name, in lower case and without the dot at its end, and its port."""
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
