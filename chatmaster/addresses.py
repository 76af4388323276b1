"""The addresses that a server listens on: ``websocket://HOST:PORT``, ``wss://HOST:PORT``, ``unix:/PATH``.

``ws://`` is the same as ``websocket://``, which is how users of Workerman write an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# sockaddr_un.sun_path has 108 bytes with the NUL at the end (unix(7)).
MAX_UNIX_PATH = 107

API_FORMS = "http://HOST:PORT, unix:/PATH"
FORMS = "websocket://HOST:PORT (or ws://HOST:PORT), wss://HOST:PORT, unix:/PATH"

_TCP = re.compile(r"(?P<scheme>wss?|websocket)://(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s\[\]:/?#]*):(?P<port>[0-9]{1,5})/?")


@dataclass(frozen=True, slots=True)
class Address:
    """One address to listen on."""

    text: str  # as written
    tls: bool = False
    host: str = ""  # "" is every interface, also written *; IPv6 without brackets
    port: int = 0
    path: str = ""  # path of a unix socket, else ""

    @property
    def is_unix(self) -> bool:
        """True for a unix socket."""
        return bool(self.path)

    @property
    def page_url(self) -> str:
        """The URL of the chat page for a browser on this machine; a unix socket as written."""
        return self._url("https" if self.tls else "http")

    @property
    def client_url(self) -> str:
        """The URL that a WebSocket client on this machine connects to; a unix socket as written."""
        return self._url("wss" if self.tls else "ws")

    def _url(self, scheme: str) -> str:
        if self.is_unix:
            return self.text
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{scheme}://{host}:{self.port}/"


def parse(text: str) -> Address:
    """Parse an address. Raises ValueError that names the allowed forms, and the form that was probably meant."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path.startswith("/"):
            raise ValueError("allowed: unix: with an absolute path, as unix:/run/chat.sock")
        if len(path.encode()) > MAX_UNIX_PATH:
            raise ValueError(
                f"the path of a unix socket may have {MAX_UNIX_PATH} bytes, this one has {len(path.encode())}"
            )
        return Address(text, path=path)
    found = _TCP.fullmatch(text)
    if found is None:
        meant = next(_meant(text), "")
        raise ValueError(f"allowed: {FORMS}" + (f"; did you mean {meant}?" if meant else ""))
    port = int(found["port"])
    if not 1 <= port <= 65535:
        raise ValueError("allowed: a port from 1 to 65535")
    host = "" if found["host"] == "*" else found["host"].strip("[]")
    return Address(text, tls=found["scheme"] == "wss", host=host, port=port)


def _meant(text: str) -> Iterator[str]:
    """Good addresses that resemble a bad one: without a scheme, with another scheme, without a port, only a port."""
    scheme, separator, rest = text.partition("://")
    rest = rest if separator else text
    known = "wss" if scheme in ("wss", "https") else "websocket"
    if not rest:
        return
    host = "127.0.0.1:" if rest.isdigit() else ""
    for candidate in (f"{known}://{host}{rest}", f"{known}://{rest.rstrip('/')}:8000", f"unix:{text}"):
        if _TCP.fullmatch(candidate) or candidate.startswith("unix:/"):
            yield candidate


def complaint(text: str, *, tls: bool) -> str:
    """Why the server cannot listen on `text`; "" where it can. `tls`: a certificate is configured."""
    try:
        address = parse(text)
    except ValueError as error:
        return str(error)
    return "wss needs server.tls_cert and server.tls_key" if address.tls and not tls else ""
