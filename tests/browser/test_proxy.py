"""The page behind a proxy: under a path, and where the proxy does not pass a WebSocket on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.support.server import Chatmaster

PREFIX = "/deep/chat"


class Proxy:
    """Takes the prefix off each path and passes bytes on both ways; `change` may alter the head of a request."""

    def __init__(self, port: int, change: Callable[[bytes], bytes]) -> None:
        self._port = port
        self._change = change
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(65_536)
                if not data:
                    return
                head += data
            head = head.replace(PREFIX.encode(), b"", 1).replace(b"Connection: keep-alive", b"Connection: close")
            server.sendall(self._change(head))  # one request a connection
            back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
            back.start()
            _pass_on(client, server)
            back.join(10)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def without(*names: bytes) -> Callable[[bytes], bytes]:
    """Drop header lines, as a proxy does that was not told of them."""

    def change(head: bytes) -> bytes:
        lines = head.split(b"\r\n")
        return b"\r\n".join(line for line in lines if line.partition(b":")[0].lower() not in names)

    return change


@pytest.fixture
def behind(chatmaster: Callable[..., Chatmaster]) -> Iterator[Callable[[Callable[[bytes], bytes]], str]]:
    """The page's address behind a proxy."""
    proxies: list[Proxy] = []

    def make(change: Callable[[bytes], bytes] = lambda head: head) -> str:
        proxies.append(Proxy(chatmaster(workers=1).port, change))
        return f"{proxies[-1].origin}{PREFIX}"

    yield make
    for proxy in proxies:
        proxy.close()


def test_the_page_works_under_a_path(behind, visit, server):
    """All its addresses are relative: the script and the connection are found beside it."""
    ada = visit(server, "Ada")
    ada.url = behind(lambda head: head)
    ada.come()
    ada.say("from below")
    ada.kept("from below")


@pytest.mark.parametrize("lost", [(b"upgrade", b"connection"), (b"host",)])
def test_the_page_says_what_a_proxy_lacks(behind, visit, server, lost):
    """Instead of counting down for ever."""

    def change(head: bytes) -> bytes:
        if b"\r\nUpgrade:" not in head:
            return head
        kept = without(*lost)(head)
        return kept if b"host" not in lost else kept.replace(b"\r\n\r\n", b"\r\nHost: inner:8080\r\n\r\n")

    ada = visit(server, "Ada", width=360, height=640)
    ada.page.goto(f"{behind(change)}/")
    trouble = ada.page.locator("#trouble")
    ada.expect(trouble).to_be_visible(timeout=30_000)
    for word in ("Upgrade", "Connection", "Host"):
        ada.expect(trouble).to_contain_text(word)
    ada.state("No connection is let through")
    assert ada.page.locator("html").evaluate("(node) => node.scrollWidth <= node.clientWidth")
