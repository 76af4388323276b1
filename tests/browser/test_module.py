"""What only `/chat.js` has, in a real browser against a server that plays a part; the rest is in `tests/scenes`."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from tests.scenes.stage import Stage, playing
from tests.scenes.steps import CUT, GREET, Step, bye, entry, greet, hear, kept, refuse
from tests.support import wait
from workers.http.page import build

START = """async ([address, url, options]) => {
    const { connect } = await import(address);
    const told = (window.told = []);
    const kept = (window.kept = new Map());
    const storage = {
        getItem: (name) => kept.get(name) ?? null,
        setItem: (name, value) => kept.set(name, value),
        removeItem: (name) => kept.delete(name),
    };
    const usual = { rooms: ["lobby"], random: () => 0.01, storage };
    const chat = (window.chat = connect(url, { ...usual, ...options }));
    for (const type of ["caughtup", "state", "retrying"]) chat.on(type, (detail) => told.push([type, detail]));
}"""


class Client:
    """A client of `/chat.js` in the browser, and what it told."""

    def __init__(self, page: Any, url: str, options: dict[str, Any]) -> None:
        self.page = page
        address = "data:text/javascript;base64," + base64.b64encode(build().script).decode()
        page.evaluate(START, [address, url, options])

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [detail for told, detail in self.page.evaluate("() => window.told") if told == kind]

    def state(self) -> str:
        state: str = self.page.evaluate("() => chat.state.state")
        return state

    def failure(self, ask: str) -> str:
        """The code that a call fails with."""
        code: str = self.page.evaluate("async (ask) => { try { await eval(ask) } catch (e) { return e.code } }", ask)
        return code


@pytest.fixture
def client(browser: Any) -> Iterator[Callable[..., Client]]:
    page = browser.new_page()
    yield lambda url, **options: Client(page, url, options)
    page.close()


@contextmanager
def stage(*parts: list[Step]) -> Iterator[str]:
    """Play these parts, without a fault; gives the URL."""
    made = Stage(parts)
    with playing(made) as url:
        yield url
        wait.until(lambda: made.over or made.faults)
    assert not made.faults


def test_it_says_when_it_has_caught_up(client):
    """How much came, and how much is lost."""
    back: list[Step] = [greet(offset=4), *(entry(offset) for offset in (2, 3, 4))]
    with stage([GREET, entry(1), entry(2), CUT], back) as url:
        chat = client(url)
        wait.until(lambda: chat.told("caughtup") == [{"recovered": 2, "lost": 0, "resets": 0}])


def test_too_many_requests_are_refused_at_once(client):
    """Those that wait go on; they end when the client is closed."""
    with stage([GREET, hear("say")]) as url:
        chat = client(url, queue=2)
        wait.until(lambda: chat.state() == "connected")
        chat.page.evaluate("() => { chat.say('lobby', '1').catch(() => {}) }")
        said = chat.page.evaluate_handle("() => ({ failed: chat.say('lobby', '2').catch((error) => error.code) })")
        assert chat.failure("chat.say('lobby', '3')") == "queue_full"
        chat.page.evaluate("() => chat.close()")
        assert said.evaluate("({ failed }) => failed") == "ended"
        assert chat.state() == "closed"
        assert chat.failure("chat.ping()") == "ended"


def test_it_tells_what_it_tries_again(client):
    """A hello and a request, each with the time."""
    hello: list[Step] = [hear("hello"), refuse("unavailable", retry_after_ms=30), GREET]
    with stage([*hello, hear("say"), refuse("rate_limited", retry_after_ms=30), hear("say"), kept(1)]) as url:
        chat = client(url)
        chat.page.evaluate("() => chat.say('lobby', 'hello')")
    told = [(one["kind"], one["code"]) for one in chat.told("retrying")]
    assert told == [("hello", "unavailable"), ("say", "rate_limited")]
    assert all(one["at"] > 0 for one in chat.told("retrying"))


def test_the_guest_is_kept_in_the_storage_while_known(client):
    """So that a reload makes no other; a token that is refused is taken out."""
    stored = "() => [...kept.values()]"
    with stage([greet(token="guest.1")], [hear("hello", token="guest.1"), bye(4001), CUT], [greet()]) as url:
        chat = client(url)
        wait.until(lambda: chat.page.evaluate(stored) == ["guest.1"])
        chat.page.evaluate("() => chat.cut('')")
        wait.until(lambda: chat.state() == "connected" and chat.page.evaluate(stored) == [])


def test_a_server_that_opens_no_connection_to_this_page_is_told_from_one_that_is_away(client):
    """A browser hides the 403 of a refused origin; the client asks for `/health` and says what it found."""

    def forbid(ws: ServerConnection, request: Request) -> Response:
        return ws.respond(200 if request.path == "/health" else 403, "so\n")

    with serve(lambda ws: None, "127.0.0.1", 0, process_request=forbid) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        chat = client(f"ws://127.0.0.1:{server.socket.getsockname()[1]}/")
        try:
            wait.until(lambda: any(state.get("refused") for state in chat.told("state")))
        finally:
            server.shutdown()
            thread.join(10)
    told = next(state for state in chat.told("state") if state.get("refused"))
    assert told["state"] == "waiting" and told["retryAt"] > 0 and "origin" in told["reason"]


def test_a_server_that_is_away_refuses_nobody(client):
    """Nothing answers, so it only tries again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    chat = client(f"ws://127.0.0.1:{port}/")
    wait.until(lambda: [one["state"] for one in chat.told("state")].count("waiting") >= 5)
    assert not any(one.get("refused") for one in chat.told("state"))
