"""`on_handshake` judges a request before the 101, in bounded time; a connection keeps what the program names of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from chatmaster import tokens

PROGRAM = """
import asyncio
from workers import Accept, Reject, Worker

worker = Worker()
SESSIONS = {"s1": "ann"}

@worker.on_handshake
async def judge(request):
    if request.path == "/open":
        return None
    if request.path == "/slow":
        await asyncio.sleep(60)
    if request.path == "/bug":
        raise OSError("secret")
    if request.path == "/other":
        return 7
    user = SESSIONS.get(request.cookies.get("sid"))
    if user is None:
        return Reject(401, {"WWW-Authenticate": "Cookie"}, "log in first")
    seen = {"ip": request.remote_ip, "scheme": request.scheme, "agent": request.headers["x-agent"], "q": request.query}
    return Accept(user=user, session=seen, subprotocol=request.subprotocols[-1] if request.subprotocols else "")

@worker.on_connect
def greet(connection):
    connection.send(repr((connection.user, dict(connection.session))))

@worker.on_message
def echo(connection, data):
    connection.send(data)
"""
COOKIE = {"Cookie": "a=b; sid=s1", "X-Agent": "x"}


@pytest.fixture
def server(chatmaster, tmp_path: Path):
    path = tmp_path / "judged.py"
    path.write_text(PROGRAM)
    settings = {"limits.handshake_timeout": 1.0, "server.trusted_proxies": ["127.0.0.1"]}
    return chatmaster(str(path), workers=1, settings=settings)


async def test_a_cookie_is_the_login_before_the_connection_begins(server) -> None:
    headers = COOKIE | {"X-Forwarded-For": "203.0.113.5", "X-Forwarded-Proto": "https"}
    offered = [Subprotocol("one"), Subprotocol("two")]
    for _ in range(2):  # what the first brought is not remembered for the second
        async with connect(f"{server.url}?room=7", additional_headers=headers, subprotocols=offered) as client:
            assert client.subprotocol == "two"
            seen = {"ip": "203.0.113.5", "scheme": "https", "agent": "x", "q": "room=7"}
            assert await client.recv() == repr(("ann", seen))
            await client.send("hello")
            assert await client.recv() == "hello"
    async with connect(f"{server.url}open") as client:
        assert await client.recv() == repr(("", {}))


@pytest.mark.parametrize(("path", "status"), [("", 401), ("bug", 500), ("other", 500), ("slow", 503)])
async def test_who_is_not_let_in_gets_an_answer_and_no_websocket(server, path: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{server.url}{path}")
    response = refused.value.response
    assert response.status_code == status
    if status == 401:
        assert (response.headers["WWW-Authenticate"], response.body) == ("Cookie", b"log in first\n")
    assert b"secret" not in (response.body or b"")


KEEPER = """
import os
from workers import Worker

worker = Worker()
worker.keep_headers = ["Cookie", "X-Agent"]

@worker.on_connect
def count(connection):
    connection.session["began"] = 1

@worker.on_websocket_connect
def greet(connection, request):
    connection.send(repr((request.path, request.query, dict(request.headers), request.cookies)))

@worker.on_message
def tell(connection, data):
    request = connection.request
    shown = repr((request.path, request.query, dict(request.headers), request.cookies))
    connection.send(f"{os.getpid()} {shown}")
"""


async def test_a_connection_keeps_what_the_program_names_of_its_request_over_a_reload_and_an_upgrade(
    chatmaster, tmp_path: Path
) -> None:
    path = tmp_path / "keeper.py"
    path.write_text(KEEPER)
    server = chatmaster(str(path), workers=1)
    headers = [
        ("Cookie", "a=b"),
        ("X-Agent", "one"),
        ("X-Agent", "two"),
        ("Authorization", "secret"),
        ("Cookie", "c=d"),
    ]
    async with (
        connect(f"{server.url}rooms/7?x=1", additional_headers=headers) as client,
        connect(server.url) as bare,
    ):
        kept = {"cookie": "a=b; c=d", "x-agent": "one, two"}
        told = repr(("/rooms/7", "x=1", kept, {"a": "b", "c": "d"}))
        nothing = repr(("/", "", {}, {}))
        assert (await client.recv(), await bare.recv()) == (told, nothing)
        pids = set()
        for order in ("reload", "reload", "upgrade", ""):
            await client.send("")
            await bare.send("")
            pid, shown = str(await client.recv()).split(" ", 1)
            assert shown == told
            assert await bare.recv() == f"{pid} {nothing}"
            pids.add(pid)
            if order:
                done = await asyncio.to_thread(server.ctl, order)
                assert done.returncode == 0, done.stderr
        assert len(pids) == 4


async def test_what_a_header_says_is_not_remembered_for_another_client(chatmaster, tmp_path: Path) -> None:
    path = tmp_path / "keeper.py"
    path.write_text(KEEPER)
    server = chatmaster(str(path), workers=1)
    for agent in ("one", "two", "one"):  # without a cookie and a query clients share one judgement
        async with connect(server.url, additional_headers={"X-Agent": agent}) as client:
            assert await client.recv() == repr(("/", "", {"x-agent": agent}, {}))


CHAT = """
from workers import Accept, Reject
from workers.chat import Chat, Refuse

chat = Chat()
worker = chat.worker
worker.keep_headers = ["cookie", "x-agent"]
SESSIONS = {"s1": ("ann", {"name": "Ann", "role": "moderator"}), "s2": ("bob", {"rol": "admin"}), "s3": ("guest:1", {})}

@worker.on_handshake
def judge(request):
    if "sid" not in request.cookies:
        return None
    if request.cookies["sid"] not in SESSIONS:
        return Reject(401)
    user, claims = SESSIONS[request.cookies["sid"]]
    return Accept(user=user, session=claims)

@chat.on_hello
def seen(hello):
    request = hello.request
    if "no-hello" in request.query:
        return Refuse(repr((hello.person.user, request.path, request.query, dict(request.headers), request.cookies)))
"""
SECRET = "a secret of more than thirty-two characters"


@pytest.fixture
def chat(chatmaster, tmp_path: Path):
    path = tmp_path / "site.py"
    path.write_text(CHAT)
    settings = {"auth.mode": "token", "auth.secret": SECRET, "limits.hello_timeout": 60.0}
    return chatmaster(str(path), workers=1, settings=settings)


async def welcomed(client, **hello: object) -> dict[str, Any]:
    await client.send(json.dumps({"type": "hello", **hello}))
    answer: dict[str, Any] = json.loads(await client.recv())
    assert answer["type"] == "welcome", answer
    return answer


async def test_a_sites_cookie_is_the_login_of_the_chat_also_after_a_reload(chat) -> None:
    headers = {"Cookie": "sid=s1"}
    async with (
        connect(f"{chat.url}ws", additional_headers=headers) as early,
        connect(f"{chat.url}ws", additional_headers=headers) as late,
        connect(f"{chat.url}ws", additional_headers=headers) as silent,
    ):
        known = await welcomed(early, rooms=[{"room": "hall"}])
        assert (known["user"], known["name"], known["role"]) == ("ann", "Ann", "moderator")
        done = await asyncio.to_thread(chat.ctl, "reload")
        assert done.returncode == 0, done.stderr
        known = await welcomed(late, token="guest.guest:0123456789abcdef.0123456789012345678901")
        assert (known["user"], known["role"]) == ("ann", "moderator")
        await early.send('{"type":"say","id":1,"room":"hall","text":"still ann"}')
        while (told := json.loads(await early.recv()))["type"] != "message":
            pass
        assert (told["from"]["user"], told["text"]) == ("ann", "still ann")
        await silent.send('{"type":"join","room":"hall"}')  # no token, no hello
        assert json.loads(await silent.recv())["user"] == "ann"


async def test_a_token_beside_the_handshake_is_of_the_same_user(chat) -> None:
    headers = {"Cookie": "sid=s1"}
    async with connect(f"{chat.url}ws", additional_headers=headers) as client:
        known = await welcomed(client, token=tokens.sign("ann", secret=SECRET, role="admin", ttl=60))
        assert (known["user"], known["role"]) == ("ann", "admin")
    async with connect(f"{chat.url}ws", additional_headers=headers) as client:
        await client.send(json.dumps({"type": "hello", "token": tokens.sign("bob", secret=SECRET, ttl=60)}))
        with pytest.raises(ConnectionClosed):
            while True:
                assert json.loads(await client.recv())["type"] != "welcome"


async def test_the_chat_lets_nobody_in_by_a_handshake_that_names_nobody(chat) -> None:
    with pytest.raises(InvalidStatus):
        await connect(f"{chat.url}ws", additional_headers={"Cookie": "sid=old"})
    for headers in ({}, {"Cookie": "sid=s2"}):  # no session; and a claim that does not exist
        async with connect(f"{chat.url}ws", additional_headers=headers) as client:
            with pytest.raises(ConnectionClosed):
                await client.send('{"type":"hello"}')
                while True:
                    assert json.loads(await client.recv())["type"] != "welcome"
    async with connect(f"{chat.url}ws", additional_headers={"Cookie": "sid=s3"}) as client:
        assert (await welcomed(client))["user"] == "guest%3A1"  # nobody becomes a guest so
    assert "has name, role and rooms, not rol" in chat.log()


async def test_on_hello_sees_path_query_and_what_is_kept_also_after_a_reload(chat) -> None:
    headers = {"Cookie": "sid=s1; a=b", "X-Agent": "x", "X-Other": "y"}
    async with connect(f"{chat.url}ws?no-hello=1", additional_headers=headers) as client:
        for _ in range(2):
            await client.send('{"type":"hello"}')
            told = json.loads(await client.recv())["message"]
            kept = {"cookie": "sid=s1; a=b", "x-agent": "x"}
            assert told == repr(("ann", "/ws", "no-hello=1", kept, {"sid": "s1", "a": "b"}))
            done = await asyncio.to_thread(chat.ctl, "reload")
            assert done.returncode == 0, done.stderr
