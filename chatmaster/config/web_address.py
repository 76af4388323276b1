"""The web addresses that a server asks: what may be one, and its host. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

_ALLOWED: Final = "allowed: a URL as https://example.org/path"


def complaint(url: str) -> str:
    """What is wrong with the URL of a server that is to be asked; "" if nothing is."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return f"{_ALLOWED}, in printable characters of ASCII without spaces"
    parts = _split(url)
    if parts is None or parts.scheme not in ("https", "http"):
        return f"{_ALLOWED}; http:// within one machine or network"
    if not parts.hostname:
        return f"{_ALLOWED}; the host is missing"
    if parts.username is not None or parts.password is not None:
        return "a user and a password do not belong into the URL: logs and lists show it"
    if parts.fragment:
        return f"{_ALLOWED}, without #{parts.fragment}, which no server gets"
    return ""


def host(url: str) -> str:
    """The host of a URL; "" where there is none."""
    parts = _split(url)
    return (parts.hostname or "") if parts else ""


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        if parts.port == 0:
            return None
    except ValueError:
        return None
    return parts
