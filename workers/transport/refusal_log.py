"""RefusalLog: warnings about refused connections and requests, each once per cause: what is wrong, and what to do."""

from __future__ import annotations

import logging
from typing import Final

log = logging.getLogger(__name__)

MOST: Final = 64  # causes of one kind; what a stranger can vary must fill neither the log nor the memory
LONGEST: Final = 200  # characters of what a stranger sent


class RefusalLog:
    """The refusals that one worker has warned of."""

    __slots__ = ("_logged",)

    def __init__(self) -> None:
        self._logged: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._logged.values()))

    def _warn(self, kind: str, cause: str, message: str) -> None:
        """Log `message` unless this cause was logged before. `kind` is for people."""
        logged = self._logged.setdefault(kind, set())
        cause = cause[:LONGEST]
        if cause in logged or len(logged) > MOST:
            return
        logged.add(cause)
        if len(logged) > MOST:
            log.warning("there are more of these, which are not logged any more: %s", kind)
        else:
            log.warning("%s", message)

    def foreign_origin(self, origin: str, host: str) -> None:
        """A page of `origin` asked this Host for a WebSocket."""
        self._warn(
            "foreign origins",
            origin,
            f"a page of {_shown(origin)} was refused a WebSocket (403): it is not of the Host that it asked for, "
            f"{_shown(host)}. http.origins = [{_toml(origin)}] lets it in; a proxy in between has to pass the Host "
            "header on, with its port (see etc/proxy)",
        )

    def foreign_host(self, host: str) -> None:
        """A request named a Host that is not one of this server's."""
        self._warn(
            "foreign hosts", host, f"a request for the Host {_shown(host)} was refused (421): it is not in http.hosts"
        )

    def no_upgrade(self, address: str) -> None:
        """A WebSocket handshake arrived without its Upgrade header."""
        self._warn(
            "handshakes without Upgrade",
            address,
            f"a WebSocket handshake came from {_place(address)} without the headers Upgrade and Connection "
            "(426): the proxy has to pass them on (see etc/proxy)",
        )

    def unknown_path(self, path: str) -> None:
        """A WebSocket was asked for at a path that serves none."""
        self._warn(
            "WebSockets at other paths",
            path,
            f"a WebSocket was asked for at {_shown(path)} (404), and is served at / and /ws: where a proxy serves this "
            "under a path, http.root_path names it",
        )

    def large_header(self, address: str, limit: int) -> None:
        """A request's header is larger than `limit` bytes."""
        self._warn(
            "large headers",
            address,
            f"a request from {_place(address)} with a header of more than {limit} bytes was refused (431): "
            "cookies may be large; limits.header_size allows more",
        )

    def unexpected_proxy_header(self, address: str) -> None:
        """A trusted proxy sends a PROXY header that the settings do not expect."""
        self._warn(
            "PROXY headers",
            address,
            f"the proxy at {_place(address)} sends a PROXY header (400): "
            'server.forwarded_header = "proxy-protocol" has it read',
        )

    def crowded_address(self, address: str, share: int) -> None:
        """One address has as many connections as any may have."""
        self._warn(
            "addresses with too many connections",
            address,
            f"{address} has {share} connections, and the rest are reserved for other addresses: its oldest connection "
            "without a hello is dropped for each new one (if the address is a proxy, add it to server.trusted_proxies)",
        )


def _place(address: str) -> str:
    return address or "a unix socket"


def _shown(text: str) -> str:
    """What a stranger sent, harmless in a log line."""
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def _toml(text: str) -> str:
    """A string that can be copied into the configuration."""
    return '"' + "".join(char if char.isprintable() and char not in '"\\' else "?" for char in text[:LONGEST]) + '"'
