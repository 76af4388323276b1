"""`AsyncGateway` in an asynchronous web application: a frozen store delays those requests alone that ask the server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.support.server import Chatmaster
from tests.support.wait import until_async
from workers import AsyncGateway, GatewayUnavailable

TIMEOUT = 2.0  # seconds of the gateway


@asynccontextmanager
async def site(gateway: AsyncGateway) -> AsyncIterator[str]:
    """A web application over the gateway; the address where it is served."""

    async def online(request: Request) -> Response:
        try:
            return JSONResponse(await gateway.online())
        except GatewayUnavailable:
            return PlainTextResponse("the chat is away", status_code=503)

    async def hello(request: Request) -> Response:
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/online", online), Route("/hello", hello)])
    with socket.create_server(("127.0.0.1", 0)) as sock:
        web = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
        serving = asyncio.create_task(web.serve(sockets=[sock]))
        try:
            await until_async(lambda: web.started, 20.0, what="the application is served")
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            web.should_exit = True
            await serving


async def test_a_frozen_store_delays_no_other_request(chatmaster: Callable[..., Chatmaster]) -> None:
    server = chatmaster(workers=1)
    url = str(server.status()["store"]["url"])
    async with (
        AsyncGateway(url, timeout=TIMEOUT) as gateway,
        site(gateway) as address,
        httpx.AsyncClient(base_url=address, timeout=30.0, trust_env=False) as client,
    ):
        assert (await client.get("/online")).json() == 0
        os.kill(server.store_pid, signal.SIGSTOP)
        try:
            asking = [asyncio.create_task(client.get("/online")) for _ in range(20)]
            longest, count = 0.0, 0
            while not all(one.done() for one in asking):
                begun = time.monotonic()
                assert (await client.get("/hello")).text == "hello"
                longest, count = max(longest, time.monotonic() - begun), count + 1
            assert {(await one).status_code for one in asking} == {503}
        finally:
            os.kill(server.store_pid, signal.SIGCONT)
        assert longest < TIMEOUT / 2 and count > 20

        async def well() -> bool:
            return (await client.get("/online")).status_code == 200

        await until_async(well, 30.0, what="the store answers again")
