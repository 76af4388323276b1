"""`api.listen`: the verbs on a listener of their own, and what is not there."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import free_port
from tests.support.server import Chatmaster
from tests.support.wait import until
from tests.support.ws import RawSocket, Refused

Make = Callable[..., Chatmaster]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: that of a unix socket ends at 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="cm-api-") as name:
        yield Path(name)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("chat", timeout=20)
        self._path = path

    def connect(self) -> None:
        """Connect to the file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


def call(connection: http.client.HTTPConnection, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
    """The status, and the JSON of the answer if it is JSON."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        data = None if body is None else json.dumps(body)
        connection.request("GET" if data is None else "POST", path, data, headers)
        response = connection.getresponse()
        text = response.read()
        return response.status, json.loads(text) if "json" in response.headers["content-type"] else text
    finally:
        connection.close()


def public(server: Chatmaster) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)


async def test_on_a_unix_socket_a_call_needs_no_key_and_nothing_else_is_there(chatmaster: Make, folder: Path) -> None:
    file = folder / "api.sock"
    server = chatmaster(settings={"api.listen": f"unix:{file}", "api.public": False})
    until(lambda: f"the verbs on unix:{file}" in server.log(), 20.0, "the log says where")
    assert stat.S_IMODE(file.stat().st_mode) == 0o660
    assert call(UnixConnection(file), "/api/v1/ban", {"user": "eve"}) == (200, {})
    status, page = call(UnixConnection(file), "/api/v1/audit", {})
    assert status == 200 and [(deed["action"], deed["by"]) for deed in page["deeds"]] == [("ban", "api")]
    status, results = call(UnixConnection(file), "/api/v1/batch", [{"verb": "online"}] * 2)
    assert status == 200 and [one["status"] for one in results] == [200, 200]
    key = server.ctl("apikey", "add", "reader", "--verbs", "read").stdout.strip()
    assert call(UnixConnection(file), "/api/v1/ban", {"user": "eve"}, key)[0] == 403
    assert call(UnixConnection(file), "/api/v1/online", {}, "cm_wrong")[0] == 401
    assert call(UnixConnection(file), "/health")[0] == 200
    assert [call(UnixConnection(file), path)[0] for path in ("/", "/chat.js")] == [404, 404]
    assert call(public(server), "/api/v1/online", {}, key)[0] == 404
    assert call(public(server), "/")[0] == 200
    assert server.ctl("reload").returncode == 0
    assert call(UnixConnection(file), "/api/v1/online", {}) == (200, {"connections": 0})
    assert server.stop() == 0 and not file.exists()


async def test_on_a_port_of_its_own_a_call_needs_a_key(chatmaster: Make) -> None:
    port = free_port()
    server = chatmaster(settings={"api.listen": f"http://127.0.0.1:{port}"})

    def own() -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    key = server.ctl("apikey", "add", "ci").stdout.strip()
    assert call(own(), "/api/v1/online", {})[0] == call(public(server), "/api/v1/online", {})[0] == 401
    for connection in (own(), public(server)):
        assert call(connection, "/api/v1/online", {}, key) == (200, {"connections": 0})
    with pytest.raises(Refused) as refused:
        await asyncio.wait_for(RawSocket.open(f"ws://127.0.0.1:{port}/"), 20)
    assert refused.value.status in (404, 426)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("api.listen=ws://127.0.0.1:9",), "http://HOST:PORT, unix:/PATH"),
        (("api.listen=unix:api.sock",), "http://HOST:PORT, unix:/PATH"),
        (("api.listen=http://127.0.0.1",), "http://HOST:PORT, unix:/PATH"),
        (("api.listen=http://127.0.0.1:8000", "server.listen=ws://127.0.0.1:8000"), "is in server.listen, too"),
        (("api.public=false",), "without api.listen the verbs would be served nowhere"),
    ],
)
def test_check_refuses_what_cannot_be(chatmaster: Make, given: tuple[str, ...], said: str) -> None:
    server = chatmaster(start=False)
    done = server.ctl("check", *(word for one in given for word in ("--set", one)))
    assert done.returncode == 2 and said in done.stderr, done.stderr
