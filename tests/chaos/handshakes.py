"""A process that shakes hands so many times a second, and counts how that ended.

`python -m tests.chaos.handshakes URL RATE` says so when it begins, goes on until its standard input ends, and then
prints the outcomes as JSON. Each connection is cut by a reset as soon as the answer is there: a port that waits in
TIME_WAIT could not be used again, and at 1,000 a second there would soon be none left.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Final, cast
from urllib.parse import urlsplit

from tests.support.crowd import new_loop

IN: Final = "in"
REFUSED: Final = "refused"
RESET: Final = "reset"
TIMED_OUT: Final = "timed out"
LATE: Final = (
    "late"  # begun later than it was due, because so many were under way: the load fell behind, not the server
)
TIMEOUT: Final = 10.0  # seconds: ten times what a person waits, and more than any reload takes
AT_ONCE: Final = 1000
_AT_ONCE_RESET: Final = b"\1\0\0\0\0\0\0\0"


class Handshake(asyncio.Protocol):
    """One connection, up to the end of the answer's head; `answer` becomes its first line, "" if none came."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE_RESET)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if b"\r\n\r\n" in self._received:
            self._answered(self._received.partition(b"\r\n")[0].decode("latin-1"))
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._answered("")

    def abort(self) -> None:
        self._transport.abort()

    def _answered(self, line: str) -> None:
        if not self.answer.done():
            self.answer.set_result(line)


class Handshakes:
    """Shakes hands `per_second` times a second, at most AT_ONCE at a time; `outcomes` says how they ended."""

    def __init__(self, url: str, per_second: float) -> None:
        place = urlsplit(url)
        assert place.hostname is not None and place.port is not None
        self.outcomes: Counter[str] = Counter()
        self._address = place.hostname, place.port
        self._per_second = per_second
        self._room = asyncio.Semaphore(AT_ONCE)
        self._going: set[asyncio.Task[None]] = set()
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {place.path or '/'} HTTP/1.1", f"Host: {place.netloc}", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
        self._request = "\r\n".join(lines).encode()

    async def go_on(self, over: asyncio.Event) -> None:
        """Until `over`, and until every handshake that was begun has an end."""
        began, count = time.monotonic(), 0
        while not over.is_set():
            due = began + count / self._per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self._room.locked():
                self.outcomes[LATE] += 1
            await self._room.acquire()
            task = asyncio.create_task(self._one())
            self._going.add(task)
            task.add_done_callback(self._going.discard)
            count += 1
        await asyncio.gather(*self._going)

    async def _one(self) -> None:
        try:
            self.outcomes[await self._outcome()] += 1
        finally:
            self._room.release()

    async def _outcome(self) -> str:
        handshake: Handshake | None = None
        try:
            async with asyncio.timeout(TIMEOUT):
                loop = asyncio.get_running_loop()
                _, handshake = await loop.create_connection(lambda: Handshake(self._request), *self._address)
                line = await handshake.answer
        except ConnectionRefusedError:
            return REFUSED
        except TimeoutError:
            return TIMED_OUT
        except OSError as error:
            return RESET if isinstance(error, ConnectionError) else f"{error.strerror}"
        finally:
            if handshake is not None:
                handshake.abort()
        if not line:
            return RESET
        return IN if line.startswith("HTTP/1.1 101 ") else line


async def main(url: str, per_second: float) -> None:
    handshakes, over, loop = Handshakes(url, per_second), asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(sys.stdin, over.set)  # its end, or a line
    print("knocking", flush=True)
    await handshakes.go_on(over)
    print(json.dumps(handshakes.outcomes))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main(sys.argv[1], float(sys.argv[2])))
