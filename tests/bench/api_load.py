"""The load of HTTP requests: so many calls of a verb a second over a few connections that stay open.

Started by `api.py` as ``python -m tests.bench.api_load PORT KEY VERB BODY RATE SECONDS``. It prints `begun`, and one
JSON line at the end. A request is due at its time however long those before it take, and its latency counts from then.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

CONNECTIONS = 64
PATIENCE = 20.0  # seconds for the answers after the last request


class Caller(asyncio.Protocol):
    """One connection: it sends a request, and looks no further into the answer than its status and length."""

    def __init__(self, request: bytes, free: asyncio.Queue[Caller]) -> None:
        self._request, self._free = request, free
        self._due = 0.0
        self._received = b""
        self.ages: list[float] = []  # seconds
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be free for a request."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._free.put_nowait(self)

    def call(self, due: float) -> None:
        """Send the request that was due at a time of the loop."""
        self._due = due
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count a whole answer, and be free again."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self.failed += not head.startswith(b"HTTP/1.1 200")
        self.ages.append(time.monotonic() - self._due)
        self._received = b""
        self._free.put_nowait(self)


async def run(port: int, key: str, verb: str, body: str, rate: float, seconds: float) -> dict[str, float]:
    """Call for so many seconds; returns how many were answered and their latency in ms."""
    request = (
        f"POST /api/v1/{verb} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"
    ).encode()
    free: asyncio.Queue[Caller] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    callers = [
        (await loop.create_connection(lambda: Caller(request, free), "127.0.0.1", port))[1] for _ in range(CONNECTIONS)
    ]
    print("begun", flush=True)
    begun = time.monotonic()
    count = int(rate * seconds)
    for number in range(count):
        due = begun + number / rate
        wait = due - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        (await free.get()).call(due)
    async with asyncio.timeout(PATIENCE):
        while sum(len(one.ages) for one in callers) < count:
            await asyncio.sleep(0.01)
    took = time.monotonic() - begun
    for one in callers:
        one.transport.abort()
    ages = sorted(age for one in callers for age in one.ages)
    at = {name: ages[min(int(count * part), count - 1)] * 1000 for name, part in (("p50_ms", 0.5), ("p99_ms", 0.99))}
    return {**at, "calls": count, "rate": count / took, "failed": sum(one.failed for one in callers)}


def main() -> None:
    port, key, verb, body, rate, seconds = sys.argv[1:]
    print(json.dumps(uvloop.run(run(int(port), key, verb, body, float(rate), float(seconds)))), flush=True)


if __name__ == "__main__":
    main()
