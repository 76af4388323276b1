"""`/chat.js` in a real browser against a server that plays scenes: lost connections, holes, close codes, retries.

The scenes are those of the Python client's tests; the page at the real server is tested beside this.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from tests.support import wait
from workers.http.page import build

Scene = Callable[[ServerConnection], None]

FOR_GOOD = (1000, 1002, 1003, 1007, 1008, 1009, 4003)
COMES_BACK = (1001, 1011, 1012, 4002, 4004, 4008, 4009, 4010)


@contextmanager
def playing(*scenes: Scene) -> Iterator[str]:
    """A server whose n-th connection plays the n-th scene, the last one again and again; gives its URL."""
    left = list(scenes)

    def play(ws: ServerConnection) -> None:
        scene = left.pop(0) if len(left) > 1 else left[0]
        try:
            scene(ws)
        except ConnectionClosed:
            pass

    with serve(play, "127.0.0.1", 0, subprotocols=["chat.v1.json"]) as server:  # type: ignore[list-item]  # a NewType
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        server.shutdown()
        thread.join(10)


def hear(ws: ServerConnection, kind: str) -> dict[str, Any]:
    """The next request of that kind."""
    while True:
        message: dict[str, Any] = json.loads(ws.recv(timeout=10))
        if message["type"] == kind:
            return message


def tell(ws: ServerConnection, kind: str, **fields: Any) -> None:
    ws.send(json.dumps({"type": kind, **fields}))


def greet(ws: ServerConnection, offset: int = 0, **more: Any) -> dict[str, Any]:
    """Answer the hello, whose rooms stand at `offset`."""
    hello = hear(ws, "hello")
    rooms = [{"room": one["room"], "epoch": "e", "offset": offset} for one in hello["rooms"]]
    tell(ws, "welcome", id=hello["id"], connection="c", user="u1", name="Ada", server_time=1, rooms=rooms, **more)
    return hello


def entry(ws: ServerConnection, offset: int) -> None:
    sender = {"user": "u2", "name": "B"}
    tell(ws, "message", room="lobby", epoch="e", offset=offset, time=1, text=f"m{offset}", **{"from": sender})


def cut(ws: ServerConnection) -> None:
    """End the connection without a word."""
    ws.socket.shutdown(2)


def linger(ws: ServerConnection) -> None:
    """Stay until the client goes."""
    for _ in ws:
        pass


START = """async ([address, url, options]) => {
    const { connect } = await import(address);
    const told = (window.told = []);
    const kept = new Map();
    const storage = {
        getItem: (name) => kept.get(name) ?? null,
        setItem: (name, value) => kept.set(name, value),
        removeItem: (name) => kept.delete(name),
    };
    const usual = { rooms: ["lobby"], random: () => 0.01, storage };
    const chat = (window.chat = connect(url, { ...usual, ...options }));
    const types = ["welcome", "message", "gap", "reset", "caughtup", "state", "error", "left", "retrying"];
    for (const type of types) chat.on(type, (detail) => told.push([type, detail]));
}"""


class Client:
    """A client of `/chat.js` in the browser, and what it told."""

    def __init__(self, page: Any, url: str, options: dict[str, Any]) -> None:
        self.page = page
        address = "data:text/javascript;base64," + base64.b64encode(build().script).decode()
        page.evaluate(START, [address, url, options])

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [detail for told, detail in self.page.evaluate("() => window.told") if told == kind]

    def offsets(self) -> list[int]:
        return [message["offset"] for message in self.told("message")]

    def state(self) -> str:
        state: str = self.page.evaluate("() => chat.state.state")
        return state


@pytest.fixture
def client(browser: Any) -> Iterator[Callable[..., Client]]:
    page = browser.new_page()
    yield lambda url, **options: Client(page, url, options)
    page.close()


def test_it_resumes_where_it_was(client):
    """What it has is not shown again, what it missed is, and it says when it has caught up."""
    hellos = []

    def first(ws: ServerConnection) -> None:
        hellos.append(greet(ws))
        entry(ws, 1)
        entry(ws, 2)
        cut(ws)

    def second(ws: ServerConnection) -> None:
        hellos.append(greet(ws, offset=4))
        for offset in (2, 3, 4):
            entry(ws, offset)
        linger(ws)

    with playing(first, second) as url:
        chat = client(url)
        wait.until(lambda: chat.offsets() == [1, 2, 3, 4])
        wait.until(lambda: chat.told("caughtup") == [{"recovered": 2, "lost": 0, "resets": 0}])
    assert hellos[1]["rooms"] == [{"room": "lobby", "since": {"epoch": "e", "offset": 2}}]


def test_a_hole_is_resumed_and_then_told(client):
    """First it asks again; where the same is missing once more, it is a gap."""

    def holey(ws: ServerConnection) -> None:
        hello = greet(ws, offset=3)
        if "since" not in hello["rooms"][0]:
            entry(ws, 4)
        entry(ws, 6)
        linger(ws)

    with playing(holey) as url:
        chat = client(url)
        wait.until(lambda: chat.offsets() == [4, 6])
    assert [(gap["from"], gap["to"]) for gap in chat.told("gap")] == [(5, 5)]


def test_gap_and_reset_move_on(client):
    """After both, delivery goes on where the server says."""

    def scene(ws: ServerConnection) -> None:
        greet(ws)
        tell(ws, "gap", room="lobby", epoch="e", **{"from": 1, "to": 5})
        entry(ws, 6)
        tell(ws, "reset", room="lobby", epoch="f", offset=0)
        entry(ws, 1)
        linger(ws)

    with playing(scene) as url:
        chat = client(url)
        wait.until(lambda: chat.offsets() == [6, 1])


def test_bye_says_when_to_come_back(client):
    """Not before, although its own back-off would be shorter."""
    times = []

    def goodbye(ws: ServerConnection) -> None:
        greet(ws)
        times.append(time.monotonic())
        tell(ws, "bye", code=1012, reason="restart", retry_after_ms=600)
        ws.close(1012, "restart")

    def again(ws: ServerConnection) -> None:
        times.append(time.monotonic())
        greet(ws)
        linger(ws)

    with playing(goodbye, again) as url:
        chat = client(url)
        wait.until(lambda: len(times) == 2 and chat.state() == "connected")
    assert times[1] - times[0] >= 0.59


@pytest.mark.parametrize("code", [*FOR_GOOD, *COMES_BACK])
def test_close_codes(client, code):
    """The table of the protocol: whether to come back at all."""

    def close(ws: ServerConnection) -> None:
        greet(ws)
        tell(ws, "bye", code=code, reason="so", retry_after_ms=0)
        linger(ws)

    def goodbye(ws: ServerConnection) -> None:
        greet(ws)
        tell(ws, "bye", code=code, reason="so", retry_after_ms=0)
        cut(ws)

    with playing(goodbye, close) as url:
        chat = client(url)
        wait.until(lambda: chat.told("state")[1:])
        state = chat.told("state")[-1]
        assert state["state"] in (("closed",) if code in FOR_GOOD else ("waiting", "connecting", "connected"))
        assert next(one["code"] for one in chat.told("state") if "code" in one) == code


def test_a_request_is_sent_again_under_its_key(client):
    """Over a lost connection and over an answer that is worth a retry; it resolves once."""
    heard: list[dict[str, Any]] = []

    def deaf(ws: ServerConnection) -> None:
        greet(ws)
        heard.append(hear(ws, "say"))
        cut(ws)

    def away(ws: ServerConnection) -> None:
        greet(ws)
        heard.append(hear(ws, "say"))
        tell(ws, "error", id=heard[-1]["id"], code="unavailable", message="the store is away", retry_after_ms=50)
        heard.append(hear(ws, "say"))
        tell(ws, "ack", id=heard[-1]["id"], room="lobby", epoch="e", offset=1)
        linger(ws)

    with playing(deaf, away) as url:
        chat = client(url)
        ack = chat.page.evaluate("() => chat.say('lobby', 'hello')")
    assert ack["offset"] == 1 and len(heard) == 3
    assert len({(one["key"], one["id"], one["text"]) for one in heard}) == 1


def test_a_room_is_a_lane(client):
    """What was said second is not sent before the first has its answer; another room does not wait."""
    heard: list[str] = []

    def scene(ws: ServerConnection) -> None:
        greet(ws)
        first, other = hear(ws, "say"), hear(ws, "say")
        heard.extend((first["text"], other["text"]))
        tell(ws, "error", id=first["id"], code="rate_limited", message="slower", retry_after_ms=30)
        tell(ws, "ack", id=other["id"], room="garden", epoch="e", offset=1)
        for _ in range(2):
            say = hear(ws, "say")
            heard.append(say["text"])
            tell(ws, "ack", id=say["id"], room="lobby", epoch="e", offset=len(heard))
        linger(ws)

    with playing(scene) as url:
        chat = client(url)
        said = [["lobby", "one"], ["lobby", "two"], ["garden", "other"]]
        chat.page.evaluate("(said) => Promise.all(said.map(([room, text]) => chat.say(room, text)))", said)
    assert heard == ["one", "other", "one", "two"]


def test_refusals_and_limits_reject(client):
    """With the server's code, or the client's own."""

    def scene(ws: ServerConnection) -> None:
        greet(ws)
        join = hear(ws, "join")
        tell(ws, "error", id=join["id"], code="forbidden", message="not for you", field="room")
        linger(ws)

    with playing(scene) as url:
        chat = client(url, queue=2)
        wait.until(lambda: chat.state() == "connected")
        code = "async (ask) => { try { await eval(ask)() } catch (error) { return [error.code, error.field] } }"
        assert chat.page.evaluate(code, "() => chat.join('secret')") == ["forbidden", "room"]
        chat.page.evaluate("() => { chat.say('lobby', '1').catch(() => {}); chat.say('lobby', '2').catch(() => {}) }")
        assert chat.page.evaluate(code, "() => chat.say('lobby', '3')") == ["queue_full", None]
        chat.page.evaluate("() => { chat.core.requests.pending.clear() }")
        assert chat.page.evaluate(code, "() => chat.say('lobby', '4', { timeout: 0.05 })") == ["outcome_unknown", None]
        said = chat.page.evaluate_handle("() => ({ failed: chat.say('lobby', '5').catch((error) => error.code) })")
        chat.page.evaluate("() => chat.close()")
        assert said.evaluate("({ failed }) => failed") == "ended"
        assert chat.state() == "closed"


def test_the_guest_stays_the_same_while_known(client):
    """The token of the welcome comes with the next hello; refused, another guest begins."""
    tokens = []

    def first(ws: ServerConnection) -> None:
        tokens.append(greet(ws, token="guest.1").get("token"))
        cut(ws)

    def second(ws: ServerConnection) -> None:
        tokens.append(hear(ws, "hello").get("token"))
        tell(ws, "bye", code=4001, reason="not valid", retry_after_ms=0)
        cut(ws)

    def third(ws: ServerConnection) -> None:
        tokens.append(greet(ws, token="guest.2").get("token"))
        linger(ws)

    with playing(first, second, third) as url:
        chat = client(url)
        wait.until(lambda: len(tokens) == 3 and chat.state() == "connected")
    assert tokens == [None, "guest.1", None]


def test_a_name_that_is_refused_costs_only_the_name(client):
    """It comes in without it."""
    names = []

    def scene(ws: ServerConnection) -> None:
        hello = hear(ws, "hello")
        names.append(hello.get("name"))
        tell(ws, "error", id=hello["id"], code="bad_request", message="too long", field="name")
        names.append(greet(ws).get("name"))
        linger(ws)

    with playing(scene) as url:
        chat = client(url, name="x" * 99)
        wait.until(lambda: chat.state() == "connected")
    assert names == ["x" * 99, None]


def test_a_hello_that_found_no_store_is_said_again(client):
    """On the same connection, when the server says; requests wait for the welcome."""
    heard: list[str] = []

    def scene(ws: ServerConnection) -> None:
        hello = hear(ws, "hello")
        tell(ws, "error", id=hello["id"], code="unavailable", message="the store is away", retry_after_ms=50)
        greet(ws)
        say = hear(ws, "say")
        heard.append(say["text"])
        tell(ws, "ack", id=say["id"], room="lobby", epoch="e", offset=1)
        linger(ws)

    with playing(scene) as url:
        chat = client(url)
        chat.page.evaluate("() => chat.say('lobby', 'hello')")
    assert heard == ["hello"]
    assert chat.told("retrying")[0]["kind"] == "hello"
