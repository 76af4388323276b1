"""The Content-Security-Policy of the page: its own inline scripts and styles by their hashes, and nothing else.

Messages of strangers are shown on the page. Should one ever end up as markup, the browser still runs nothing
that was not in the file when the server started (CSP Level 3, 6.7).
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode

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
