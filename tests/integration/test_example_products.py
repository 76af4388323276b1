"""The examples that are products in small, each run by `chatmaster.testing` as its reader would run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection

from chatmaster import tokens
from chatmaster.testing import LocalServer, wait_for
from tests.support import processes
from tests.support.server import ROOT
from tests.support.store import RedisServer

Serve = Callable[..., LocalServer]
EXAMPLES = ROOT / "etc" / "examples"
SECRET = "a secret of thirty-two characters"
TIMEOUT = 20  # seconds


def read(client: ClientConnection, kind: str = "", **fields: Any) -> dict[str, Any]:
    """The next message of a type that has these fields; others are passed over."""
    while True:
        message = json.loads(client.recv(timeout=TIMEOUT))
        if kind in ("", message["type"]) and all(message.get(name) == value for name, value in fields.items()):
            return dict(message)


def ask(client: ClientConnection, **request: Any) -> dict[str, Any]:
    """A request of the chat, and its answer."""
    client.send(json.dumps({"id": 1, **request}))
    return read(client, id=1)


def get(server: LocalServer, path: str, **options: Any) -> httpx.Response:
    with httpx.Client(base_url=server.http, trust_env=False, timeout=TIMEOUT, follow_redirects=True) as client:
        return client.get(path, **options)


@pytest.fixture
def store(redis_server: Callable[..., RedisServer]) -> str:
    """The URL of a Redis that the server and other programs share, by its environment variable."""
    return redis_server(tcp=True).tcp_url


def test_the_dashboard_shows_the_last_minute_and_then_each_second(serve: Serve) -> None:
    server = serve(EXAMPLES / "dashboard.py", workers=2)
    assert b"<title>Dashboard</title>" in get(server, "/").content
    with server.connect() as one, server.connect() as other:
        samples = [json.loads(client.recv(timeout=TIMEOUT)) for client in (one, other) for _ in range(3)]
        assert all(isinstance(part, list) for part in samples)
        (last,) = wait_for(lambda: counted(one, 2), what="both browsers are counted")
        assert 0 < last["memory"] < 1 and last["load"] >= 0 and last["time"] > 1_700_000_000
    with server.connect() as late:
        assert len(json.loads(late.recv(timeout=TIMEOUT))) >= 2, "the last minute comes at once"


def counted(client: ClientConnection, connections: int) -> list[dict[str, Any]]:
    """The next sample, where it has that many connections."""
    found: list[dict[str, Any]] = json.loads(client.recv(timeout=TIMEOUT))
    return found if found and found[-1]["connections"] == connections else []


def play(client: ClientConnection, cell: int) -> None:
    client.send(json.dumps({"type": "play", "cell": cell}))


def test_two_play_in_the_lobby_over_a_reload_and_a_third_watches(serve: Serve) -> None:
    server = serve(EXAMPLES / "lobby.py")
    assert b"<title>Lobby</title>" in get(server, "/").content
    with ExitStack() as stack:
        ada, bob, eve = (stack.enter_context(server.connect()) for _ in range(3))
        for name, client, side in (("ada", ada, "X"), ("bob", bob, "O"), ("eve", eve, "")):
            client.send(json.dumps({"type": "enter", "name": name, "room": "one"}))
            assert read(client, "entered")["side"] == side
        assert read(ada, "game", players={"X": "ada", "O": "bob"})["moves"] == []
        assert read(ada, "room", players=["ada", "bob"])["room"] == "game-one"
        play(bob, 0)
        assert read(bob, "error")["message"] == "it is not your turn"
        moves = [0, 3, 1, 4]
        for count, cell in enumerate(moves, 1):
            play((ada, bob)[(count - 1) % 2], cell)
            for client in (ada, bob, eve):
                read(client, "game", moves=moves[:count])
            if count == 2:
                server.chatctl("reload")
        play(ada, 4)
        assert read(ada, "error")["message"] == "this cell cannot be taken"
        play(ada, 2)
        assert read(eve, "game", winner="X")["moves"] == [*moves, 2]
        for wrong in (
            "no JSON",
            '{"type": "cheat"}',
            '{"type": "play"}',
            '{"type": "enter", "name": "x y", "room": "r"}',
        ):
            ada.send(wrong)
            read(ada, "error")
        bob.close()
        assert read(ada, "game", players={"X": "ada"})


def chat_token(server: LocalServer, user: str) -> str:
    return str(get(server, "/chat-token", params={"user": user}).json()["token"])


def test_the_support_chat_beside_fastapi_knows_its_user_by_a_token(serve: Serve) -> None:
    server = serve(
        EXAMPLES / "support_fastapi.py",
        settings={"auth.mode": "token"},
        environment={"CHATMASTER_AUTH_SECRET": SECRET},
    )
    assert b"<title>Support</title>" in get(server, "/").content
    assert get(server, "/chat-token", params={"user": "nobody"}).status_code == 401
    with server.connect() as ada, server.connect() as staff, server.connect() as stranger:
        welcome = ask(ada, type="hello", token=chat_token(server, "ada"), rooms=[{"room": "support-ada"}])
        assert (welcome["user"], welcome["name"]) == ("ada", "Ada Lovelace")
        assert ask(ada, type="join", room="support-bob")["code"] == "forbidden"
        ask(staff, type="hello", token=chat_token(server, "staff"), rooms=[{"room": "support-ada"}])
        assert ask(ada, type="say", room="support-ada", text="It is broken")["type"] == "ack"
        assert read(staff, "message")["text"] == "It is broken"
        assert ask(staff, type="say", room="support-ada", text="Turn it off and on")["type"] == "ack"
        answer = next(one for one in iter(lambda: read(ada, "message"), None) if one["from"]["user"] != "ada")
        assert (answer["from"]["name"], answer["text"]) == ("Support", "Turn it off and on")
        assert ask(stranger, type="join", room="support-ada")["code"] == "unauthorized"


@contextmanager
def visitor(server: LocalServer, user: str) -> Iterator[tuple[httpx.Client, str]]:
    """A browser that has logged in, and its cookies as it sends them."""
    with httpx.Client(base_url=server.http, trust_env=False, timeout=TIMEOUT, follow_redirects=True) as client:
        assert client.get("/login", params={"user": user}).status_code == 200
        yield client, "; ".join(f"{name}={value}" for name, value in client.cookies.items())


def test_djangos_session_is_the_login_and_a_view_writes_into_the_chat(store: str, serve: Serve) -> None:
    server = serve(
        EXAMPLES / "support_django.py",
        workers=2,
        environment={"CHATMASTER_STORE_URL": store},
    )
    with pytest.raises(InvalidStatus) as refused, server.connect():
        pass
    assert refused.value.response.status_code == 401
    with pytest.raises(InvalidStatus), server.connect(additional_headers={"Cookie": "sessionid=forged"}):
        pass
    with visitor(server, "ada") as (browser, cookie):
        assert b"<title>Support</title>" in browser.get("/").content
        with server.connect(additional_headers={"Cookie": cookie}) as ada:
            welcome = ask(ada, type="hello", rooms=[{"room": "support-ada"}])
            assert (welcome["user"], welcome["name"]) == ("ada", "Ada Lovelace")
            assert ask(ada, type="join", room="support-bob")["code"] == "forbidden"
            for _ in range(3):  # on whichever worker
                assert browser.get("/order").json() == {"user": "ada"}
                message = read(ada, "message")
                assert (message["from"]["name"], message["text"]) == ("The shop", "Your order is on its way.")
    assert get(server, "/order").status_code == 401
    assert "Traceback" not in server.log()


def test_fastapis_session_is_the_login_until_it_ends(serve: Serve) -> None:
    server = serve(EXAMPLES / "session_fastapi.py", environment={"SESSION_SECRET": SECRET})
    with server.connect() as guest:
        assert ask(guest, type="hello")["user"].startswith("guest:")
    with visitor(server, "ada") as (browser, cookie):
        assert b"chat.js" in browser.get("/chat").content
        with server.connect(additional_headers={"Cookie": cookie}) as ada:
            welcome = ask(ada, type="hello", rooms=[{"room": "lobby"}])
            assert (welcome["user"], welcome["name"]) == ("ada", "Ada Lovelace")
            assert ask(ada, type="rename", name="Ada")["type"] == "ack"
            assert browser.get("/logout").json() == {"connections": 1}
            with pytest.raises(Exception, match="4001"):
                while True:
                    ada.recv(timeout=TIMEOUT)
        forged = cookie.replace("session=", "session=x")
        with server.connect(additional_headers={"Cookie": forged}) as other:
            assert ask(other, type="hello")["user"].startswith("guest:")


@contextmanager
def running(*command: str, environment: dict[str, str]) -> Iterator[None]:
    """A program beside the server, in the folder of the examples."""
    process = subprocess.Popen(
        command, cwd=EXAMPLES, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_django_site_that_is_asked_decides_who_comes_and_what_is_said(serve: Serve) -> None:
    site = f"http://127.0.0.1:{processes.free_port()}"
    server = serve(
        settings={
            "hooks.secret": SECRET, "hooks.headers": ["cookie"], "hooks.timeout": 8.0,
            "hooks.handshake": f"{site}/chat/handshake", "hooks.say": f"{site}/chat/say",
        },
        environment={"NO_PROXY": "*"},
    )  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOOKS_SECRET": SECRET}
    environment["CHAT_URL"] = f"{server.http}/"
    uvicorn = (sys.executable, "-m", "uvicorn", "backend_django:app", "--port", site.rpartition(":")[2])
    with running(*uvicorn, environment=environment), httpx.Client(trust_env=False, timeout=TIMEOUT) as browser:
        wait_for(lambda: answers(browser, site), timeout=30, what="the site is up")
        assert browser.post(f"{site}/chat/handshake", json={}).status_code == 401, "nobody has signed that"
        with pytest.raises(InvalidStatus) as refused, server.connect():
            pass
        assert refused.value.response.status_code == 401
        cookies = {}
        for user in ("ada", "bob"):
            browser.cookies.clear()
            answer = browser.get(f"{site}/login", params={"user": user}, follow_redirects=True)
            assert "<html" in answer.text, "the chat's own page"
            cookies[user] = f"sessionid={browser.cookies['sessionid']}"
        with (
            server.connect(additional_headers={"Cookie": cookies["ada"]}) as ada,
            server.connect(additional_headers={"Cookie": cookies["bob"]}) as bob,
        ):
            assert ask(ada, type="hello", rooms=[{"room": "lobby"}])["role"] == "moderator"
            assert ask(bob, type="hello", rooms=[{"room": "lobby"}])["name"] == "Bob"
            link = {"type": "say", "room": "lobby", "text": "see http://example.org"}
            assert ask(bob, **link)["message"] == "only moderators may post links"
            assert ask(ada, **link)["type"] == "ack"
            assert read(bob, "message")["from"]["user"] == "ada"
            assert ask(bob, type="say", room="lobby", text="nice :)")["type"] == "ack"
            assert read(ada, "message", text="nice 🙂")["from"]["name"] == "Bob"


def answers(client: httpx.Client, url: str) -> bool:
    """Whether somebody listens."""
    try:
        return client.get(url).status_code > 0
    except httpx.TransportError:
        return False


def celery_worker(environment: dict[str, str]) -> AbstractContextManager[None]:
    """A worker of Celery, with a process that runs the tasks."""
    command = [
        sys.executable,
        "-m",
        "celery",
        "--app",
        "notify_celery",
        "worker",
        "--concurrency",
        "1",
        "--loglevel",
        "info",
    ]
    command += ["--without-mingle", "--without-gossip", "--without-heartbeat"]  # it is alone
    return running(*command, environment=environment)


def test_a_task_of_celery_notifies_the_user(store: str, serve: Serve) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CHATMASTER_STORE_URL": store, "PYTHONDONTWRITEBYTECODE": "1"}
    server = serve(environment={"CHATMASTER_STORE_URL": store, "CHATMASTER_AUTH_SECRET": SECRET})
    token = tokens.sign("ada", secret=SECRET)
    with server.connect() as ada, celery_worker(environment):
        assert ask(ada, type="hello", token=token)["user"] == "ada"
        asked = subprocess.run(
            [sys.executable, "notify_celery.py", "ada"],
            cwd=EXAMPLES, env=environment, capture_output=True, text=True, timeout=TIMEOUT,
        )  # fmt: skip
        assert re.fullmatch(r"[0-9a-f-]{36}\n", asked.stdout), asked.stderr
        message = json.loads(ada.recv(timeout=40))
        assert (message["room"], message["text"]) == ("@ada", "Your report of 12 pages is ready.")
        assert message["from"]["user"] == "reports"


def said(client: ClientConnection) -> str:
    """The next message that is not the time."""
    while (text := str(client.recv(timeout=TIMEOUT))).startswith("It is"):
        pass
    return text


def test_the_port_of_the_workerman_program(serve: Serve) -> None:
    server = serve(EXAMPLES / "workerman" / "chat.py", workers=2)
    with server.connect("/?name=ada") as ada:
        assert said(ada) == "ada is here"
        with server.connect("/?name=bob") as bob:
            assert [said(ada), said(bob)] == ["bob is here"] * 2
            bob.send("hello")
            assert [said(ada), said(bob)] == ["bob: hello"] * 2
        assert said(ada) == "bob has left"
        assert re.fullmatch(r"It is \d\d:\d\d:\d\d", str(ada.recv(timeout=TIMEOUT)))


def test_the_port_of_the_gatewayworker_program(store: str, serve: Serve) -> None:
    environment = {"CHATMASTER_STORE_URL": store}
    server = serve(EXAMPLES / "gatewayworker" / "events.py", workers=2, environment=environment)
    with server.connect() as ada, server.connect() as bob:
        for client, user in ((ada, "ada"), (bob, "bob")):
            assert len(read(client, "welcome")["client_id"]) > 10
            client.send(json.dumps({"type": "login", "user": user, "room": "hall"}))
            read(client, "came", user=user)
        ada.send(json.dumps({"type": "say", "text": "hello"}))
        assert read(bob, "said") == {"type": "said", "user": "ada", "text": "hello"}
        bob.send(json.dumps({"type": "whisper", "to": "ada", "text": "psst"}))
        assert read(ada, "whispered")["text"] == "psst"
        ada.send(json.dumps({"type": "who"}))
        assert read(ada, "who")["users"] == ["ada", "bob"]
        for user, why in (("ada", ""), ("nobody", "nobody is not connected\n")):
            done = subprocess.run(
                [sys.executable, EXAMPLES / "gatewayworker" / "notify.py", user, "your build passed"],
                env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
                capture_output=True, text=True, timeout=TIMEOUT,
            )  # fmt: skip
            assert done.stderr == why
        assert read(ada, "notice")["text"] == "your build passed"
        bob.close()
        assert read(ada, "went")["user"] == "bob"


@pytest.mark.skipif(shutil.which("php") is None, reason="php is not installed")
@pytest.mark.parametrize("program", sorted(EXAMPLES.rglob("*.php")), ids=lambda path: path.name)
def test_a_program_in_php_is_php(program: Path) -> None:
    done = subprocess.run(["php", "-l", str(program)], capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout


def test_the_migration_guide_shows_the_programs_as_they_are() -> None:
    guide = (ROOT / "etc" / "doc" / "migrate-workerman.md").read_text()
    shown = re.findall(r"`([\w/]+\.(?:php|py))`:\n\n```(?:php|python)\n(.*?)```", guide, re.DOTALL)
    assert len(shown) == 6
    for name, text in shown:
        assert text == (EXAMPLES / name).read_text(), f"{name} in the guide is not the file"
