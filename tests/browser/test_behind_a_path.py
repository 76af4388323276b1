"""The page behind a proxy that serves it under a path, whether the proxy passes the path on or takes it off."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import processes, wait
from tests.support.server import Chatmaster

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CONFIGURATION = """daemon off; pid {place}/pid; events {{}} http {{ access_log off; {temporary}
server {{ listen 127.0.0.1:{port}; location /chat{end} {{
    proxy_pass http://127.0.0.1:{upstream}{end}; proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_set_header Host $http_host;
}} }} }}
"""


@contextmanager
def nginx(place: Path, upstream: int, end: str) -> Iterator[int]:
    """Serves the upstream under /chat; returns its port. `end`: "/" takes the path off, "" passes it on."""
    port = processes.free_port()
    temporary = "".join(
        f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = CONFIGURATION.format(place=place, port=port, upstream=upstream, end=end, temporary=temporary)
    (place / "nginx.conf").write_text(text)
    running = subprocess.Popen(["nginx", "-e", f"{place}/errors", "-p", str(place), "-c", f"{place}/nginx.conf"])
    try:
        wait.until(lambda: _listens(port), 20, "nginx listens")
        yield port
    finally:
        running.terminate()
        running.wait(20)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(shutil.which("nginx") is None, reason="there is no nginx on this machine")
@pytest.mark.parametrize("end", ["", "/"], ids=["passed on", "taken off"])
def test_the_page_works_under_a_path(
    chatmaster: Callable[..., Chatmaster], browser: Any, tmp_path: Path, end: str
) -> None:
    server = chatmaster(workers=1, settings={"http.root_path": "/chat"})
    with nginx(tmp_path, server.port, end) as port:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/chat/")
        sync_api.expect(page.locator("#told")).to_have_text("Connected")
        page.close()
