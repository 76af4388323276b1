"""A large message to a reader that takes it in, at the speed of its line, arrives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tests.support.server import Chatmaster
from tests.support.ws import RawSocket

Make = Callable[..., Chatmaster]
SIZE = 20_000_000
RATE = 4_000_000  # bytes a second: 32 Mbit/s


async def test_twenty_megabytes_reach_a_healthy_reader_of_32_mbit_a_second(chatmaster: Make) -> None:
    server = chatmaster("tests/integration/programs/large.py", workers=1)
    async with await RawSocket.open(server.url, receive_buffer=65_536) as client:
        client.send_text(str(SIZE))
        began, got = time.monotonic(), 0
        while got < SIZE + 10:
            part = await asyncio.wait_for(client.reader.read(65_536), 20)
            assert part, f"cut after {got} bytes"
            got += len(part)
            await asyncio.sleep(began + got / RATE - time.monotonic())
        assert time.monotonic() - began > 4
        rest = part[-100:]
        while b"drained, it was full with" not in rest:
            part = await asyncio.wait_for(client.reader.read(65_536), 20)
            assert part, rest
            rest += part
        client.send_text(str(25 * 2**20))
        while b"\x03\xf3" not in rest:  # 1011: the program is told that this is too much
            part = await asyncio.wait_for(client.reader.read(65_536), 20)
            assert part, rest
            rest += part
    assert "is larger than worker.max_send_buffer (25165824)" in server.log()
