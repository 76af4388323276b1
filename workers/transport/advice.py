"""What the log says of requests that are refused for a setting, here or in a proxy: the cause, and what to do."""

from __future__ import annotations

from workers.transport.notices import shown


def foreign_origin(origin: str, host: str) -> str:
    """A page of that origin wanted a WebSocket of this Host."""
    return (
        f"a page of {shown(origin)} was refused a WebSocket (403): it is not of the Host that it asked for, "
        f"{shown(host)}. http.origins = [{toml(origin)}] lets it in; a proxy in between has to pass the Host header "
        "on, with its port (see etc/proxy)"
    )


def foreign_host(host: str) -> str:
    """A request was for a name that is not ours."""
    return f"a request for the Host {shown(host)} was refused (421): it is not in http.hosts"


def no_upgrade(address: str) -> str:
    """A WebSocket's handshake came without its Upgrade."""
    return (
        f"a WebSocket handshake came from {address or 'a unix socket'} without the headers Upgrade and Connection "
        "(426): the proxy has to pass them on (see etc/proxy)"
    )


def unknown_path(path: str) -> str:
    """A WebSocket was wanted at a path that has none."""
    return (
        f"a WebSocket was asked for at {shown(path)} (404), and is served at / and /ws: where a proxy serves this "
        "under a path, http.root_path names it"
    )


def large_header(address: str, limit: int) -> str:
    """A request's header did not fit."""
    return (
        f"a request from {address or 'a unix socket'} with a header of more than {limit} bytes was refused (431): "
        "cookies may be large; limits.header_size allows more"
    )


def unexpected_proxy_header(address: str) -> str:
    """A trusted proxy speaks the PROXY protocol, and is not believed."""
    return (
        f"the proxy at {address or 'a unix socket'} sends a PROXY header (400): "
        'server.forwarded_header = "proxy-protocol" has it read'
    )


def toml(text: str) -> str:
    """A string that can be copied into the configuration."""
    return '"' + "".join(char if char.isprintable() and char not in '"\\' else "?" for char in text[:200]) + '"'
