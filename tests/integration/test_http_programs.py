"""A program's own ASGI application on the port of its Worker: which paths are its own, its lifespan, its reload."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import RawSocket

STARLETTE = """
import contextlib
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

@contextlib.asynccontextmanager
async def lifespan(app):
    open({path!r} + "/started", "a").write("x")
    yield {{"answer": 42}}
    open({path!r} + "/stopped", "a").write("x")

async def about(request):
    body = await request.body()
    return JSONResponse({{"answer": request.state.answer, "size": len(body), "client": request.client.host}})

app = Starlette(routes=[Route("/about", about, methods=["GET", "POST"])], lifespan=lifespan)
"""
FASTAPI = """
from fastapi import FastAPI, Request

app = FastAPI()

@app.get("/about")
@app.post("/about")
async def about(request: Request):
    return {{"answer": 42, "size": len(await request.body()), "client": request.client.host}}
"""
DJANGO = """
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import JsonResponse
from django.urls import path

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="not one")

def about(request):
    return JsonResponse({{"answer": 42, "size": len(request.body), "client": request.META["REMOTE_ADDR"]}})

urlpatterns = [path("about", about)]
app = get_asgi_application()
"""
SITE = """
from workers import Worker
{app}
worker = Worker({listen}http=app)

if worker.serves_websockets:
    @worker.on_message
    def echo(connection, data):
        connection.send(data)
"""


def program(tmp_path: Path, app: str, listen: str = "") -> str:
    path = tmp_path / "own_site.py"
    path.write_text(SITE.format(app=app.format(path=str(tmp_path)), listen=listen))
    return str(path)


@pytest.mark.parametrize("app", [STARLETTE, FASTAPI, DJANGO], ids=["starlette", "fastapi", "django"])
async def test_one_program_serves_its_site_and_its_sockets(chatmaster, tmp_path: Path, app: str) -> None:
    server = chatmaster(program(tmp_path, app), workers=1)
    async with httpx.AsyncClient(base_url=server.http) as client:
        answer = await client.post("/about", content=b"x" * 100_000)
        assert (answer.status_code, answer.json()) == (200, {"answer": 42, "size": 100_000, "client": "127.0.0.1"})
        assert (await client.get("/nowhere")).status_code == 404
        assert (await client.get("/health")).text == "ok\n"
        assert (await client.get("/ready")).status_code == 200
        assert "chatmaster_connections" in (await client.get("/metrics")).text
    async with await RawSocket.open(server.url) as socket:
        socket.send_text("hello")
        assert await socket.read_message() == "hello"


async def test_an_application_alone_has_its_lifespan_and_no_websockets(chatmaster, tmp_path: Path) -> None:
    server = chatmaster(program(tmp_path, STARLETTE, '"http://127.0.0.1:1", '), workers=1)
    async with httpx.AsyncClient(base_url=server.http) as client:
        assert (await client.get("/about")).json()["answer"] == 42
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        refused = await client.get("/", headers=upgrade | {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
        assert refused.status_code == 404
    assert (tmp_path / "started").read_text() == "x" and not (tmp_path / "stopped").exists()
    assert server.stop() == 0
    assert (tmp_path / "stopped").read_text() == "x"


def test_an_application_that_does_not_start_keeps_the_server_from_starting(chatmaster, tmp_path: Path) -> None:
    failing = STARLETTE.replace("    yield", "    raise OSError('no database')\n    yield")
    server = chatmaster(program(tmp_path, failing), workers=1, start=False)
    with pytest.raises(Exception, match="ASGI application failed"):
        server.start()
    assert "no database" in server.log()


LOAD = """
import asyncio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

async def quick(request):
    return PlainTextResponse("quick")

async def slow(request):
    await asyncio.sleep(1.0)
    return PlainTextResponse("slow")

async def upload(request):
    size = 0
    async for part in request.stream():
        size += len(part)
    return PlainTextResponse(str(size))

async def events(request):
    first = int(request.headers.get("last-event-id", "0"))
    async def stream():
        number = first
        while True:
            number += 1
            yield f"id: {{number}}\\ndata: {{number}}\\n\\n"
            await asyncio.sleep(0.05)
    return StreamingResponse(stream(), media_type="text/event-stream")

app = Starlette(routes=[
    Route("/quick", quick), Route("/slow", slow), Route("/upload", upload, methods=["PUT"]), Route("/events", events)
])
"""


class Load:
    """Clients that ask until they are told to end; every answer is checked, and a failure ends the test."""

    def __init__(self, server: Chatmaster) -> None:
        self.client = httpx.AsyncClient(base_url=server.http, timeout=30, limits=httpx.Limits(max_connections=200))
        self.going = True
        self.answered = 0
        self.reconnected = 0

    async def ask(self, pause: float) -> None:
        while self.going:
            answer = await self.client.get("/quick")
            assert answer.text == "quick"
            self.answered += 1
            await asyncio.sleep(pause)

    async def ask_slowly(self) -> None:
        while self.going:
            assert (await self.client.get("/slow")).text == "slow"

    async def upload(self) -> None:
        async def parts():
            for _ in range(20):
                yield b"x" * 10_000
                await asyncio.sleep(0.05)

        while self.going:
            assert (await self.client.put("/upload", content=parts())).text == "200000"

    async def listen(self) -> None:
        last = 0
        while self.going:
            async with self.client.stream("GET", "/events", headers={"Last-Event-ID": str(last)}) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("id: "):
                        assert int(line[4:]) == last + 1
                        last += 1
                    if not self.going:
                        return
            self.reconnected += 1  # a whole answer: one that is cut raises


@pytest.mark.slow
async def test_a_reload_under_load_refuses_and_cuts_no_request(chatmaster, tmp_path: Path) -> None:
    server = chatmaster(program(tmp_path, LOAD), workers=2, settings={"master.drain_timeout": 10.0})
    load = Load(server)
    async with load.client, asyncio.TaskGroup() as clients:
        for number in range(20):
            clients.create_task(load.ask(0.1 + number / 1000))
        for _ in range(3):
            clients.create_task(load.ask_slowly())
            clients.create_task(load.upload())
            clients.create_task(load.listen())
        await until_async(lambda: load.answered > 100, what="the load runs")
        old, began = set(server.pids), time.monotonic()
        process = await asyncio.create_subprocess_exec(*server.command("reload"), env=server.environment)
        assert await process.wait() == 0
        assert time.monotonic() - began < 30
        assert not old & set(server.pids)
        before = load.answered
        await until_async(lambda: load.answered > before + 100, what="the new workers answer")
        await until_async(lambda: load.reconnected >= 1, what="a stream has ended and begun again")
        load.going = False
