"""`[hooks]`: a server that asks a web application, which answers, refuses, hangs, dies and talks nonsense."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.backend import Backend
from tests.support.server import ROOT, Chatmaster
from tests.support.ws import ChatSocket

Make = Callable[..., Chatmaster]
SECRET = "a secret of thirty-two characters"
HOOKS = ("handshake", "hello", "join", "say")
PROGRAM = """
from workers.chat import Chat

chat = Chat()


@chat.on_say
def louder(message):
    return message.text.upper()


worker = chat.worker
"""


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend() as made:
        yield made


@pytest.fixture(autouse=True)
def willing(backend: Backend) -> None:
    """The application allows everything, unless a test says otherwise."""
    for hook in HOOKS:
        backend.answers(f"/{hook}", {"allow": True})


def settings(backend: Backend, *hooks: str) -> dict[str, Any]:
    return {
        **{f"hooks.{hook}": backend.url(f"/{hook}") for hook in hooks},
        "hooks.secret": SECRET,
        "hooks.timeout": 2.0,
        "hooks.headers": ["cookie"],
    }


@pytest.fixture(scope="module")
def server(backend: Backend) -> Iterator[Chatmaster]:
    environment = {"NO_PROXY": "*"}
    with Chatmaster(workers=1, settings=settings(backend, *HOOKS), environment=environment) as made:
        yield made


def asked(backend: Backend, hook: str) -> dict[str, Any]:
    """The last question of a hook."""
    found: dict[str, Any] = json.loads(backend.requests(f"/{hook}")[-1]["body"])
    return found


async def test_the_application_hears_of_everything_and_may_change_a_text(server: Chatmaster, backend: Backend) -> None:
    backend.answers("/say", {"allow": True, "text": "changed"})
    async with await ChatSocket.enter(server.url, "lobby", name="Ada") as ada:
        person = {"user": ada.user, "name": "Ada", "role": "user", "address": "127.0.0.1", "guest": True}
        assert asked(backend, "hello") == {
            "hook": "hello", "server": "chat", "person": person, "request": {"path": "/", "query": ""},
        }  # fmt: skip
        assert asked(backend, "join") == {"hook": "join", "server": "chat", "person": person, "room": "lobby"}
        await ada.ask(type="say", room="lobby", text="hello")
        assert (await ada.expect("message"))["text"] == "changed"
        assert asked(backend, "say") == {
            "hook": "say", "server": "chat", "person": person,
            "room": "lobby", "to": "", "text": "hello", "data": None, "offset": None,
        }  # fmt: skip


async def test_questions_leave_no_lines_in_the_log(server: Chatmaster, backend: Backend) -> None:
    before, asked_before = len(server.log()), len(backend.requests("/say"))
    async with await ChatSocket.enter(server.url, "lobby") as ada:
        for number in range(3):
            await ada.ask(type="say", room="lobby", text=str(number))
    assert len(backend.requests("/say")) == asked_before + 3
    assert backend.url("/") not in server.log()[before:], "the level is info, the default"


async def test_the_application_refuses_with_a_code_and_a_reason(server: Chatmaster, backend: Backend) -> None:
    async with await ChatSocket.enter(server.url, "lobby") as ada:
        backend.answers("/say", {"allow": False, "code": "rate_limited", "reason": "pay first"})
        error = await ada.ask(type="say", room="lobby", text="x")
        assert (error["code"], error["message"]) == ("rate_limited", "pay first")
        backend.answers("/join", {"allow": False, "code": "teapot"})
        error = await ada.ask(type="join", room="cellar")
        assert (error["code"], error["message"]) == ("forbidden", "the application refuses this")
        backend.answers("/hello", {"allow": False, "reason": "no such name"})
        assert (await ada.ask(type="rename", name="Bob"))["message"] == "no such name"
        assert (await ada.ask(type="ping"))["type"] == "pong"


@pytest.mark.parametrize(
    "answer",
    [
        {"body": "", "how": "hang"},
        {"body": "", "how": "close"},
        {"body": {"allow": True}, "how": "cut"},
        {"body": {"allow": True}, "status": 500},
        {"body": "<html>"},
    ],
    ids=["hangs", "dies", "breaks off", "500", "garbage"],
)
async def test_an_application_that_fails_lets_nothing_through(
    server: Chatmaster, backend: Backend, answer: dict[str, Any]
) -> None:
    async with await ChatSocket.enter(server.url, "lobby") as ada, await ChatSocket.enter(server.url, "lobby") as bob:
        backend.answers("/say", **answer)
        error = await ada.ask(type="say", room="lobby", text="lost")
        assert (error["code"], error["message"]) == ("unavailable", "the application does not answer")
        assert error["retry_after_ms"]
        backend.answers("/say", {"allow": True})
        assert (await ada.ask(type="say", room="lobby", text="heard"))["type"] == "ack"
        assert (await bob.expect("message"))["text"] == "heard"
    backend.answers("/hello", **answer)
    async with await ChatSocket.open(server.url) as eve:
        eve.send_json({"type": "hello", "id": 1})
        assert (await eve.receive_json(20))["code"] == "unavailable"
        backend.answers("/hello", {"allow": True})
        assert (await eve.ask(type="hello"))["type"] == "welcome"
    assert "does not answer within 2 s" in server.log() or answer.get("how") != "hang"


@asynccontextmanager
async def opened(server: Chatmaster, **headers: str) -> Any:
    async with connect(server.url, proxy=None, additional_headers=headers, open_timeout=20) as socket:
        yield socket


async def test_a_sites_cookie_is_the_login(server: Chatmaster, backend: Backend) -> None:
    backend.answers("/handshake", {"allow": True, "user": "u7", "session": {"name": "Ada", "role": "moderator"}})
    async with opened(server, Cookie="sid=s1") as socket:
        await socket.send('{"type": "hello", "id": 1}')
        welcome = json.loads(await socket.recv())
        assert (welcome["user"], welcome["name"], welcome["role"]) == ("u7", "Ada", "moderator")
    for hook in ("handshake", "hello"):
        assert backend.requests(f"/{hook}")[-1]["headers"]["cookie"] == "sid=s1", "as a header: the site's own session"
    question = asked(backend, "handshake")["request"]
    assert (question["path"], question["scheme"], question["address"]) == ("/", "http", "127.0.0.1")
    assert asked(backend, "hello")["person"]["user"] == "u7"


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        ({"body": {"allow": False, "status": 401, "reason": "log in first"}}, 401, b"log in first"),
        ({"body": {"allow": False}}, 403, b"Forbidden"),
        ({"body": {"allow": False, "status": 200}}, 503, b"the application does not answer"),
        ({"body": {"allow": True, "user": "@x"}}, 503, b"the application does not answer"),
        ({"body": "", "how": "hang"}, 503, b"the application does not answer"),
        ({"body": "", "how": "close"}, 503, b"the application does not answer"),
        ({"body": [], "status": 404}, 503, b"the application does not answer"),
    ],
    ids=["401", "403", "no refusal", "no user", "hangs", "dies", "404"],
)
async def test_a_handshake_is_refused(
    server: Chatmaster, backend: Backend, answer: dict[str, Any], status: int, body: bytes
) -> None:
    backend.answers("/handshake", **answer)
    with pytest.raises(InvalidStatus) as refused:
        async with opened(server):
            pass
    assert refused.value.response.status_code == status
    assert (refused.value.response.body or b"").strip() == body


PHP = """<?php
$_SERVER += ['HTTP_WEBHOOK_ID' => $argv[1], 'HTTP_WEBHOOK_TIMESTAMP' => $argv[2], 'HTTP_WEBHOOK_SIGNATURE' => $argv[3]];
$secret = $argv[4];
SNIPPET
echo $good ? 'good' : 'bad';
"""


@pytest.mark.skipif(shutil.which("php") is None, reason="php is not installed")
async def test_the_documents_php_verifies_a_question(server: Chatmaster, backend: Backend, tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```php\n(.*?)```", (ROOT / "etc/doc/hooks.md").read_text(), re.DOTALL)
    (tmp_path / "a.php").write_text(PHP.replace("SNIPPET", snippet.replace("php://input", "php://stdin")))
    async with await ChatSocket.enter(server.url, "lobby"):
        question = backend.requests("/join")[-1]
    signed = [question["headers"][f"webhook-{name}"] for name in ("id", "timestamp", "signature")]
    secret = "whsec_" + base64.b64encode(SECRET.encode()).decode()
    for body, said in ((question["body"], "good"), (question["body"] + " ", "bad")):
        command = ["php", str(tmp_path / "a.php"), *signed, secret]
        done = subprocess.run(command, input=body, capture_output=True, text=True, timeout=20)
        assert done.stdout == said, done.stdout + done.stderr


async def test_the_programs_own_hook_is_asked_first(chatmaster: Make, backend: Backend, tmp_path: Any) -> None:
    (tmp_path / "app.py").write_text(PROGRAM)
    server = chatmaster(
        str(tmp_path / "app.py"), workers=1, environment={"NO_PROXY": "*"},
        settings={**settings(backend, "say"), "server.dev": True},
    )  # fmt: skip
    async with await ChatSocket.enter(server.url, "lobby") as ada:
        await ada.ask(type="say", room="lobby", text="hello")
        assert (await ada.expect("message"))["text"] == "HELLO" and asked(backend, "say")["text"] == "HELLO"
        backend.answers("/say", {"allow": True}, status=500)
        error = await ada.ask(type="say", room="lobby", text="hello")
        assert error["message"] == "the application does not answer: answers with 500", "a developer is told why"
