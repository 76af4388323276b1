"""A small web site with a login, run as a process: `python login_site.py PORT CHAT SECRET SECONDS`.

It signs in whoever presses the button at `/login`, by a cookie, and gives the chat at the origin CHAT tokens that count
for SECONDS: behind the address to come back to, and by `/token`. `/end` ends the sessions there, and `/count` tells how
many tokens `/token` gave.
"""

from __future__ import annotations

import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from chatmaster import tokens

FORM = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Site</title>
<form method="post"><input name="user" value="mia"><button>Log in</button></form>"""

PORT, CHAT, SECRET, SECONDS = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
SESSIONS: dict[str, str] = {}
GIVEN: list[str] = []


class Site(BaseHTTPRequestHandler):
    """Answers one request."""

    def do_GET(self) -> None:
        """The pages, the token, and what the test asks."""
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        user = SESSIONS.get(self.headers.get("Cookie", "").partition("sid=")[2].partition(";")[0])
        if path == "/login" and not user:
            self._answer(200, FORM, {"Content-Type": "text/html"})
        elif path == "/login":
            self._go_back(query["return_to"][0], user or "")
        elif path == "/token":
            self._give(user)
        elif path == "/logout":
            SESSIONS.clear()
            self._go_back(query["return_to"][0])
        elif path == "/end":
            SESSIONS.clear()
            self._answer(204)
        else:
            self._answer(200, str(len(GIVEN)))

    def do_POST(self) -> None:
        """Somebody logs in."""
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        user, sid = form["user"][0], secrets.token_hex(8)
        SESSIONS[sid] = user
        query = parse_qs(urlsplit(self.path).query)
        self._go_back(query["return_to"][0], user, {"Set-Cookie": f"sid={sid}; HttpOnly; SameSite=Lax"})

    def _go_back(self, to: str, user: str = "", headers: dict[str, str] | None = None) -> None:
        if not to.startswith(f"{CHAT}/"):
            self._answer(400, "that is not the chat")
            return
        token = _token(user) if user and to.endswith("token=") else ""
        self._answer(303, "", {"Location": to + token, **(headers or {})})

    def _give(self, user: str | None) -> None:
        allowed = {"Access-Control-Allow-Origin": CHAT, "Access-Control-Allow-Credentials": "true"}
        if user:
            GIVEN.append(user)
        body = f'{{"token": "{_token(user)}"}}' if user else "{}"
        self._answer(200 if user else 401, body, allowed | {"Content-Type": "application/json"})

    def _answer(self, status: int, body: str = "", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """The test's output is no access log."""


def _token(user: str) -> str:
    return tokens.sign(user, secret=SECRET, name=user.title(), ttl=SECONDS)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Site).serve_forever()
