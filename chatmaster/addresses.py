"""The addresses that a server listens on: ``ws://HOST:PORT``, ``wss://HOST:PORT``, ``unix:/PATH``."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Longest path that fits sockaddr_un.sun_path, which has 108 bytes and a NUL at the end (unix(7)).
MAX_UNIX_PATH = 107

_TCP = re.compile(r"(?P<scheme>wss?|websocket)://(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s\[\]:/?#]*):(?P<port>[0-9]{1,5})/?")


@dataclass(frozen=True, slots=True)
class Address:
    """One address to listen on."""

    text: str  # as written
    tls: bool = False
    host: str = ""  # "" means every interface, also written *; IPv6 without brackets
    port: int = 0
    path: str = ""  # of a unix socket, else ""

    @property
    def is_unix(self) -> bool:
        """Whether this is a unix socket."""
        return bool(self.path)

    @property
    def for_people(self) -> str:
        """What one types into a browser; a unix socket as it is written."""
        if self.is_unix:
            return self.text
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}/"


def parse(text: str) -> Address:
    """Parse an address. Raises ValueError with what is allowed instead.

    ``websocket://`` is the same as ``ws://``: that is how Workerman's users write it.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path.startswith("/"):
            raise ValueError("allowed: unix: with an absolute path, as unix:/run/chat.sock")
        if len(path.encode()) > MAX_UNIX_PATH:
            raise ValueError(f"a unix socket's path may have {MAX_UNIX_PATH} bytes, this one has {len(path.encode())}")
        return Address(text, path=path)
    found = _TCP.fullmatch(text)
    if found is None:
        hint = f"; did you mean ws://{text}?" if _TCP.fullmatch(f"ws://{text}") else ""
        raise ValueError(f"allowed: ws://HOST:PORT, wss://HOST:PORT or unix:/PATH{hint}")
    port = int(found["port"])
    if not 1 <= port <= 65535:
        raise ValueError("allowed: a port from 1 to 65535")
    host = "" if found["host"] == "*" else found["host"].strip("[]")
    return Address(text, tls=found["scheme"] == "wss", host=host, port=port)


def complaint(text: str, *, tls: bool) -> str:
    """Why that cannot be listened on, "" where it can; `tls`: a certificate is configured."""
    try:
        address = parse(text)
    except ValueError as error:
        return str(error)
    return "wss needs server.tls_cert and server.tls_key" if address.tls and not tls else ""
