"""One HTTP response as bytes. The server closes after each: this port is for WebSockets."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
SCRIPT = "text/javascript; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Response:
    """Status, body and what is special; the headers that every response has are added by `serialize`."""

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
