"""HTTP responses as bytes, and the Content-Security-Policy of a page. The server closes after each response.

The policy allows the page's own inline scripts and styles by their hashes, and nothing else. Messages of strangers are
shown on the page. If one ever ends up as markup, the browser runs nothing that was not in the file when the server
started (CSP Level 3, 6.7).
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
SCRIPT = "text/javascript; charset=utf-8"

_inline_script = re.compile(rb"<script(?![^>]*\ssrc\s*=)[^>]*>(.*?)</script\s*>", re.DOTALL | re.IGNORECASE)
_inline_style = re.compile(rb"<style[^>]*>(.*?)</style\s*>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Response:
    """Status, body and special headers; `serialize` adds the headers of every response."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def text(cls, status: HTTPStatus, text: str = "", headers: tuple[tuple[str, str], ...] = ()) -> Response:
        """A short sentence for people, by default the name of the status."""
        return cls(status, f"{text or status.phrase}\n".encode(), TEXT, headers)

    def serialize(self, *, head: bool = False) -> bytes:
        """The bytes; for a HEAD request without the body, but with its length (RFC 9110, 9.3.2)."""
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Date: {formatdate(usegmt=True)}",
            "Connection: close",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "X-Content-Type-Options: nosniff",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        block = "\r\n".join((*lines, "", "")).encode("latin-1", errors="replace")
        return block if head else block + self.body


def content_security_policy(page: bytes) -> str:
    """The header's value for a page that loads `/chat.js` and connects to where it came from."""
    # Browsers hash the text after parsing, which turns every line end into \n.
    text = page.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    directives = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *_hashes(_inline_script, text)],
        "style-src": ["'self'", *_hashes(_inline_style, text)],
        "connect-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


def _hashes(elements: re.Pattern[bytes], text: bytes) -> list[str]:
    contents = dict.fromkeys(elements.findall(text))
    return [f"'sha256-{b64encode(hashlib.sha256(content).digest()).decode()}'" for content in contents]
