"""The client over real sockets, against a server that plays scenes: lost connections, close codes, slow readers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection, serve

from tests.support.processes import free_port
from tests.support.wait import until_async
from workers.client import (
    CannotConnect,
    Client,
    ConnectionEnded,
    Message,
    OutcomeUnknown,
    RequestRefused,
    connect,
    reconnect,
)

Scene = Callable[[ServerConnection], Awaitable[None]]


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Nobody waits for a back-off here; its lengths are tested where they are reckoned."""
    monkeypatch.setattr(reconnect, "BASE", 0.01)
    monkeypatch.setattr(reconnect, "LATER_AT_LEAST", 0.01)


@asynccontextmanager
async def playing(*scenes: Scene):
    """A server whose n-th connection plays the n-th scene, the last one again and again; gives its URL."""
    left = list(scenes)

    async def play(ws: ServerConnection) -> None:
        scene = left.pop(0) if len(left) > 1 else left[0]
        try:
            await scene(ws)
        except websockets.ConnectionClosed:
            pass

    async with serve(play, "127.0.0.1", 0, subprotocols=[websockets.Subprotocol("chat.v1.json")]) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def greet(ws: ServerConnection, offset: int = 0, **more: Any) -> dict[str, Any]:
    hello: dict[str, Any] = json.loads(await ws.recv())
    assert hello["type"] == "hello"
    rooms = [{"room": wanted["room"], "epoch": "e", "offset": offset} for wanted in hello["rooms"]]
    fields = {"connection": "c", "user": "u1", "name": "Ada", "server_time": 1, "rooms": rooms, **more}
    await ws.send(json.dumps({"type": "welcome", "id": hello["id"], **fields}))
    return hello


async def answer(ws: ServerConnection, offset: int) -> dict[str, Any]:
    request: dict[str, Any] = json.loads(await ws.recv())
    place = {"room": "lobby", "epoch": "e", "offset": offset}
    await ws.send(json.dumps({"type": "ack", "id": request["id"], **place}))
    return request


def entry(offset: int, text: str = "hi") -> str:
    sender = {"user": "u2", "name": "Bob"}
    fields = {"room": "lobby", "epoch": "e", "offset": offset, "time": 1, "from": sender, "text": text}
    return json.dumps({"type": "message", **fields})


async def json_of(ws: ServerConnection) -> Any:
    return json.loads(await ws.recv())


async def test_no_answer_in_time_leaves_the_key_to_try_again():
    async def silent(ws):
        await greet(ws)
        await ws.wait_closed()

    async with playing(silent) as url, Client(url, rooms=["lobby"]) as chat:
        with pytest.raises(OutcomeUnknown) as caught:
            await chat.say("lobby", "hi", timeout=0.05)
    assert caught.value.key


async def test_a_slow_application_makes_the_server_wait_and_loses_nothing():
    total = 5000
    sent = 0

    async def floods(ws):
        nonlocal sent
        await greet(ws)
        for offset in range(1, total + 1):
            await ws.send(entry(offset, "x" * 8000))  # more than the buffers between the two may grow to
            sent = offset
        await ws.wait_closed()

    async with playing(floods) as url, Client(url, rooms=["lobby"]) as chat:
        before = -1
        while before != sent:  # that it stands still shows only over a time
            before = sent
            await asyncio.sleep(0.2)
        assert sent < total
        seen = []
        async for event in chat.events():
            if isinstance(event, Message):
                seen.append(event.offset)
            if len(seen) == total:
                break
    assert seen == list(range(1, total + 1))


async def test_a_fresh_token_is_asked_for_each_connection():
    tokens = iter(["first", "second"])
    hellos = []

    async def expires(ws):
        hellos.append(await greet(ws))
        await ws.close(4001)

    async def stays(ws):
        hellos.append(await greet(ws))
        await ws.wait_closed()

    async def token() -> str:
        return next(tokens)

    async with playing(expires, stays) as url, Client(url, token=token) as chat:
        await until_async(lambda: len(hellos) == 2 and chat.connected)
    assert [hello["token"] for hello in hellos] == ["first", "second"]


async def test_a_server_that_says_403_is_not_asked_again():
    async def never(ws):
        raise AssertionError

    async def forbid(ws, request):
        return ws.respond(403, "no\n")

    async with serve(never, "127.0.0.1", 0, process_request=forbid) as server:
        with pytest.raises(ConnectionEnded, match="HTTP 403"):
            await connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ws://127.0.0.1:{free}/", "connection refused"),
        ("ws://localhost:{free}/", "connection refused"),
        ("ws://nobody.invalid:8000/", "no such host"),
        ("http://127.0.0.1:{free}/", "isn't a valid URI"),
        ("ws://127.0.0.1:{other}/", "who answers there speaks no HTTP"),
        ("wss://127.0.0.1:{other}/", "it speaks no TLS there"),
    ],
)
async def test_a_start_at_a_wrong_address_says_so_at_once_and_names_it(url, reason):
    async def greets(reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(greets, "127.0.0.1", 0) as other:
        url = url.format(free=free_port(), other=other.sockets[0].getsockname()[1])
        for way in (connect(url), connect(url).__aenter__(), Client(url).start()):
            with pytest.raises(CannotConnect, match=reason) as failed:
                async with asyncio.timeout(15):  # half of what a client waits for an answer
                    await way
            assert str(failed.value).startswith(f"cannot connect to {url}: ")


async def test_a_server_that_is_just_going_away_is_waited_for_and_what_failed_is_said():
    async def cuts(reader, writer):
        writer.close()

    async with await asyncio.start_server(cuts, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(CannotConnect, match=r"it closed the connection, for 0.3 s"):
            await connect(url, timeout=0.3)


async def test_connect_is_awaited_or_entered_or_both():
    async def greets(ws):
        await greet(ws)
        await ws.wait_closed()

    async with playing(greets) as url:
        async with connect(url) as chat:
            assert chat.connected
        assert not chat.connected
        async with await connect(url) as chat:
            assert chat.connected
        chat = await connect(url)
        assert chat.connected
        await chat.close()


async def test_who_is_not_let_in_hears_why_from_start():
    async def refuses(ws):
        hello = await json_of(ws)
        refusal = {"type": "error", "id": hello["id"], "code": "forbidden", "message": "members only"}
        await ws.send(json.dumps(refusal))
        await ws.wait_closed()

    async with playing(refuses) as url:
        with pytest.raises(RequestRefused, match="members only") as caught:
            await connect(url)
    assert caught.value.code == "forbidden"


def test_one_name_is_no_list_of_rooms():
    with pytest.raises(TypeError, match=r"rooms is a list of names: \['lobby'\]"):
        Client("ws://127.0.0.1:1/", rooms="lobby")
