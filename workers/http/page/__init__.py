"""The web page of the chat and the client that other sites can use: read once, joined, and ready to be served."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

from workers.http.page.modules import bundle
from workers.http.response import content_security_policy

SCRIPT_ADDRESS = "./chat.js"  # beside the page, under whatever path a proxy has it
STYLES = ("base", "frame", "sidebar", "messages", "composer", "panels", "print")


@dataclass(frozen=True, slots=True)
class Page:
    """The bytes of `/` with its Content-Security-Policy, and those of `/chat.js`."""

    html: bytes
    csp: str
    script: bytes


@cache
def build() -> Page:
    """Read the files of this package and put them together."""
    style = "\n".join(_read(f"style/{name}.css") for name in STYLES)
    html = _read("index.html")
    for mark, text in (
        ("/* style */", style),
        ("/* early */", _read("app/early.js")),
        ("/* app */", bundle("app/main.js", _read, keep=SCRIPT_ADDRESS)),
    ):
        html = html.replace(mark, text, 1)
    page = html.encode()
    return Page(page, content_security_policy(page), bundle("chat/chat.js", _read).encode())


def _read(path: str) -> str:
    return resources.files(__package__).joinpath(path).read_text(encoding="utf-8")
