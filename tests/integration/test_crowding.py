"""One address with more silent sockets than the real server has descriptors: nobody is locked out."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.support import wait
from tests.support.server import Chatmaster
from tests.support.ws import ChatSocket, RawSocket

DESCRIPTORS = ("sh", "-c", 'ulimit -n 256; exec "$@"', "sh")
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
REST = b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
SILENT = 400


@pytest.mark.parametrize(
    "said", [b"", GET, GET + REST], ids=["nothing", "half a handshake", "a handshake and no hello"]
)
async def test_400_silent_sockets_of_one_address_lock_nobody_out(said: bytes) -> None:
    settings = {"limits.hello_timeout": 2.0, "limits.handshake_timeout": 30.0}
    with Chatmaster(workers=1, settings=settings, prefix=DESCRIPTORS) as server:
        async with AsyncExitStack() as stack:
            for _ in range(SILENT):
                crowd = await stack.enter_async_context(await RawSocket.dial(server.url, source="127.0.0.9"))
                crowd.writer.write(said)
            for _ in range(2):
                await stack.enter_async_context(await asyncio.wait_for(ChatSocket.enter(server.url), 3))
                await asyncio.sleep(1.5)  # of the last kind, who said no hello is a guest by then
        assert wait.until(lambda: "127.0.0.9 has" in server.log(), 5, "it is logged")
