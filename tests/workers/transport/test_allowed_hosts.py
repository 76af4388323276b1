"""Hosts and origins: only `*` is a wildcard, and a page of the Host itself may always connect."""

from __future__ import annotations

import pytest

from workers.transport.allowed_hosts import AllowedHosts, AllowedOrigins


@pytest.mark.parametrize(
    ("patterns", "host", "allowed"),
    [
        ((), "anything.example", True),
        (("chat.example",), "chat.example", True),
        (("chat.example",), "CHAT.example.:8000", True),
        (("chat.example",), "chat.example.evil", False),
        (("chat.example",), "chatxexample", False),
        (("*.example",), "chat.example:1", True),
        (("chat.example:8000",), "chat.example:8000", True),
        (("chat.example:8000",), "chat.example:8001", False),
        (("chat.example",), "localhost:8000", True),
        (("chat.example",), "page.localhost", True),
        (("chat.example",), "127.0.0.1:8000", True),
        (("chat.example",), "[::1]:8000", True),
        (("chat.example",), "10.0.0.1", False),
        (("chat.example",), "", False),
    ],
)
def test_hosts(patterns: tuple[str, ...], host: str, allowed: bool) -> None:
    assert AllowedHosts(patterns).allows(host) is allowed


@pytest.mark.parametrize(
    ("patterns", "origin", "host", "allowed"),
    [
        ((), "https://chat.example", "chat.example", True),
        ((), "https://chat.example", "chat.example:443", True),
        ((), "https://Chat.example:8000", "chat.EXAMPLE:8000", True),
        ((), "https://chat.example:8000", "chat.example:8001", False),
        ((), "https://evil.example", "chat.example", False),
        ((), "https://", "", False),
        ((), "https://[", "chat.example", False),
        (("https://*.example",), "https://shop.example", "chat.example", True),
        (("https://shop.example",), "http://shop.example", "chat.example", False),
        (("https://shop.example",), "https://shop.example.evil", "chat.example", False),
    ],
)
def test_origins(patterns: tuple[str, ...], origin: str, host: str, allowed: bool) -> None:
    assert AllowedOrigins(patterns).allows(origin, host) is allowed
