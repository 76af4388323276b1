"""Documents: bytes that stay the same while the server runs, as ASGI endpoints: ETag, gzip, brotli, HEAD, 405.

A representation is compressed at its first request, once in each worker; the page takes 30 ms.

The Content-Security-Policy of a page allows its own inline scripts and styles by their hashes, and nothing else.
Messages of strangers are shown on the page. If one ever ends up as markup, the browser runs nothing that was not in the
file when the server started (CSP Level 3, 6.7).
"""

from __future__ import annotations

import gzip
import hashlib
import re
from base64 import b64encode
from collections.abc import Callable
from typing import Final

import brotli
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

NOSNIFF: Final = {"X-Content-Type-Options": "nosniff"}
NEVER_CACHED: Final = NOSNIFF | {"Cache-Control": "no-store"}
SMALL: Final = 1024  # bytes: what is smaller is not compressed

_BROTLI_QUALITY: Final = 10  # 3 KB less than at 9 for the page, for 80 ms more at its first request
_BROTLI_QUALITY_OF_LARGE: Final = 9
_LARGE: Final = 256 * 1024  # bytes
_GZIP_LEVEL: Final = 6


def _brotli(body: bytes) -> bytes:
    compressed: bytes = brotli.compress(
        body, quality=_BROTLI_QUALITY if len(body) < _LARGE else _BROTLI_QUALITY_OF_LARGE
    )
    return compressed


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, _GZIP_LEVEL, mtime=0)


_CODINGS: Final[dict[str, Callable[[bytes], bytes]]] = {"br": _brotli, "gzip": _gzip}  # best first


class ReadOnly:
    """An ASGI endpoint for GET and HEAD; other methods get 405."""

    def __init__(self, answer: Callable[[Request], Response]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] in ("GET", "HEAD"):
            response = self._answer(Request(scope))
        else:
            allow = NOSNIFF | {"Allow": "GET, HEAD"}
            response = PlainTextResponse("Method Not Allowed\n", status_code=405, headers=allow)
        await response(scope, receive, send)


def digest_of(body: bytes) -> str:
    """The name of these bytes, as in ETags and addresses."""
    return hashlib.sha256(body).hexdigest()[:16]


class Document:
    """One document in all its codings. `headers` are those of each of its responses."""

    def __init__(self, body: bytes, media_type: str, headers: dict[str, str]) -> None:
        self._body = body
        self.digest = digest_of(body)
        self._headers = NOSNIFF | headers | {"Content-Type": media_type, "Vary": "Accept-Encoding"}
        self._coded: dict[str, bytes] = {}

    def answer(self, request: Request, **headers: str) -> Response:
        """The document as the client takes it; 304 where the client has it already."""
        coding = _accepted(request.headers) if len(self._body) >= SMALL else ""
        tag = f'"{self.digest}{"-" if coding else ""}{coding}"'
        fields = {**self._headers, **headers, "ETag": tag}
        if _knows(request.headers, tag):
            return Response(status_code=304, headers=fields)
        if coding:
            fields["Content-Encoding"] = coding
            if coding not in self._coded:
                self._coded[coding] = _CODINGS[coding](self._body)
        return Response(self._coded[coding] if coding else self._body, headers=fields)


def _accepted(headers: Headers) -> str:
    """The best coding that the client takes; "": none (RFC 9110, 12.5.3)."""
    weights: dict[str, str] = {}
    for item in ",".join(headers.getlist("accept-encoding")).split(","):
        name, _, weight = item.partition(";")
        weights[name.strip().lower()] = weight.strip().lower().replace(" ", "")
    for coding in _CODINGS:
        accepted = weights.get(coding, weights.get("*"))
        if accepted is not None and accepted not in ("q=0", "q=0.0", "q=0.00", "q=0.000"):
            return coding
    return ""


def _knows(headers: Headers, tag: str) -> bool:
    """Whether If-None-Match names the tag, weakly compared (RFC 9110, 13.1.2)."""
    known = [item.strip().removeprefix("W/") for item in headers.get("if-none-match", "").split(",")]
    return tag in known or known == ["*"]


# ---- the page's policy ---------------------------------------------------------------------------------

_inline_script = re.compile(rb"<script(?![^>]*\ssrc\s*=)[^>]*>(.*?)</script\s*>", re.DOTALL | re.IGNORECASE)
_inline_style = re.compile(rb"<style[^>]*>(.*?)</style\s*>", re.DOTALL | re.IGNORECASE)


def content_security_policy(page: bytes) -> str:
    """The header's value for a page that loads `/chat.js` and connects to where it came from."""
    # Browsers hash the text after parsing, which turns every line end into \n.
    text = page.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    directives = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *_hashes(_inline_script, text)],
        "style-src": ["'self'", *_hashes(_inline_style, text)],
        "connect-src": ["'self'", *_connects(text)],
        "manifest-src": ["'self'"],
        "worker-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


_token_url = re.compile(rb'<meta name="token-url" content="(https?://[^/"?]+)')


def _connects(page: bytes) -> list[str]:
    """The origin of the site that gives the page its tokens, where that is another one."""
    return [origin.decode() for origin in _token_url.findall(page)]


def _hashes(elements: re.Pattern[bytes], text: bytes) -> list[str]:
    contents = dict.fromkeys(elements.findall(text))
    return [f"'sha256-{b64encode(hashlib.sha256(content).digest()).decode()}'" for content in contents]
