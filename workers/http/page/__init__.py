"""The web page of the chat and the client that other sites can use: read once, joined, and ready to be served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, reduce
from html import escape
from importlib import resources

from workers.http.documents import content_security_policy, digest_of
from workers.http.page.modules import LATER, bundle, stripped

SCRIPT_ADDRESS = "./chat.js"  # beside the page, under whatever path a proxy has it
STYLES = ("base", "frame", "sidebar", "messages", "composer", "panels", "forced", "print")
# What is loaded when it is first needed, if `npm run build` in etc/javascript has made it.
PARTS = ("emoji", "highlight")
SHELL = ("sw.js", "manifest.webmanifest", "icon-192.png", "icon-512.png")  # what makes the page installable
WORDS = ("de", "ja", "zh-Hans")  # languages with a catalogue: the page itself is English


@dataclass(frozen=True, slots=True)
class PageFiles:
    """The bytes of `/` with its Content-Security-Policy, of `/chat.js`, and of the files that are loaded later."""

    html: bytes
    csp: str
    script: bytes
    parts: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class SiteLinks:
    """Addresses at the site that the chat belongs to, "" for none: where people sign in and out, what gives tokens."""

    login: str = ""
    logout: str = ""
    token: str = ""


@cache
def build(links: SiteLinks = SiteLinks()) -> PageFiles:
    """Read the files of this package and put them together."""
    parts = {f"{name}.js": part for name in PARTS if (part := _part(name)) is not None}
    style = "".join(stripped(_read(f"style/{name}.css")) for name in STYLES)
    script = bundle("chat/chat.js", _read).script.encode()
    app = bundle("app/main.js", _read, keep=SCRIPT_ADDRESS)
    later = app.later.encode()
    addresses = {SCRIPT_ADDRESS: f"assets/chat-{digest_of(script)}.js", LATER: f"assets/later-{digest_of(later)}.js"}
    html = _read("index.html")
    for mark, text in (
        ("<!-- parts -->", "".join(f'<meta name="{name.removesuffix(".js")}" content="./{name}">' for name in parts)),
        ("<!-- links -->", "".join(_link(name, getattr(links, name)) for name in ("login", "logout", "token"))),
        ("/* style */", style),
        ("/* early */", _read("app/early.js")),
        ("/* app */", reduce(_with_address, addresses.items(), app.script)),
    ):
        html = html.replace(mark, text, 1)
    page = html.encode()
    parts[addresses[LATER]] = later
    return PageFiles(page, content_security_policy(page), script, parts | _catalogues() | _shell())


def _with_address(script: str, names: tuple[str, str]) -> str:
    return script.replace(f'"{names[0]}"', f'"./{names[1]}"')


def _link(name: str, url: str) -> str:
    return f'<meta name="{name}-url" content="{escape(url)}">' if url else ""


def _catalogues() -> dict[str, bytes]:
    return {f"words/{language}.json": _read(f"words/{language}.json").encode() for language in WORDS}


def _shell() -> dict[str, bytes]:
    return {name: resources.files(__package__).joinpath(f"shell/{name}").read_bytes() for name in SHELL}


def _part(name: str) -> bytes | None:
    file = resources.files(__package__).joinpath(f"loaded/{name}.js")
    return file.read_bytes() if file.is_file() else None


def _read(path: str) -> str:
    return resources.files(__package__).joinpath(path).read_text(encoding="utf-8")
