"""Another site imports `/chat.js` and chats, as README says: its page comes from another origin."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>elsewhere</title>
<p id="heard"></p>
<script type="module">
  import { connect } from "SERVER/chat.js";
  const chat = connect("SERVER/".replace("http", "ws"), { rooms: ["lobby"], name: "Visitor" });
  chat.on("message", ({ from, text }) => { document.getElementById("heard").textContent = `${from.name}: ${text}`; });
  await chat.say("lobby", "from elsewhere");
</script>
"""


class Site:
    """A web server with one page, at an origin of its own."""

    def __init__(self) -> None:
        self.page = ""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(site.page.encode())

            def log_message(self, *_: object) -> None:
                """The test's output is no access log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever)
    thread.start()
    yield site
    site.server.shutdown()
    thread.join(10)
    site.server.server_close()


def test_a_site_of_another_origin_imports_the_client(chatmaster, visit, site):
    """The browser loads the module, and the server lets in the origin that its settings name."""
    server = chatmaster(workers=1, settings={"http.origins": [site.origin]})
    site.page = PAGE.replace("SERVER", server.http)
    visitor = visit(server)
    visitor.page.goto(site.origin)
    visitor.expect(visitor.page.locator("#heard")).to_have_text("Visitor: from elsewhere")
