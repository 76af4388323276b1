"""The TLS context of a wss:// listener."""

from __future__ import annotations

import ssl


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """A server's context with Python's defaults, for HTTP/1.1. `key` may be empty if the file has both.

    Raises OSError for files that cannot be read, ssl.SSLError for what they hold.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key or None)
    context.set_alpn_protocols(["http/1.1"])
    return context
