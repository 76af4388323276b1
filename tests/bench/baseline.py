"""What one would write first: plain `websockets` and redis-py's pub/sub, a relay without history, order or acks.

Run as ``python -m tests.bench.baseline PORT STORE_URL WORKERS``; measured beside the server, so that a figure can be
read as a ratio on any machine. It understands as much of the chat as the load speaks: a hello with rooms, and say.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections import defaultdict
from typing import Any

import redis.asyncio
import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve


class Relay:
    """One process: its rooms, and its connection to the store."""

    def __init__(self, store_url: str) -> None:
        self.rooms: dict[str, set[ServerConnection]] = defaultdict(set)
        self.store = redis.asyncio.Redis.from_url(store_url)
        self.subscription = self.store.pubsub()

    async def connected(self, ws: ServerConnection) -> None:
        joined: list[str] = []
        try:
            async for data in ws:
                message = json.loads(data)
                if message["type"] == "say":
                    await self.store.publish(message["room"], data)
                else:
                    joined += [wanted["room"] for wanted in message["rooms"]]
                    await self.join(ws, joined)
                    await ws.send('{"type":"welcome"}')
        finally:
            for room in joined:
                self.rooms[room].discard(ws)

    async def join(self, ws: ServerConnection, rooms: list[str]) -> None:
        for room in rooms:
            if not self.rooms[room]:
                await self.subscription.subscribe(room)
            self.rooms[room].add(ws)

    async def relay(self) -> None:
        """From the store to everybody in the room."""
        await self.subscription.subscribe("nobody")  # `listen` wants at least one
        async for message in self.subscription.listen():
            if message["type"] == "message":
                broadcast(self.rooms[message["channel"].decode()], message["data"].decode())


async def run(port: int, store_url: str) -> None:
    relay = Relay(store_url)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    settings: dict[str, Any] = {"compression": None, "backlog": 4096}
    async with serve(relay.connected, sock=sock, **settings):
        relaying = asyncio.create_task(relay.relay())
        await ended.wait()
        relaying.cancel()
        os._exit(0)  # closing a thousand connections in order is not what is measured


def main() -> None:
    port, store_url, workers = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # the load goes without a word
    children = []
    for _ in range(workers):
        pid = os.fork()
        if pid == 0:
            uvloop.run(run(port, store_url))
        children.append(pid)

    def end(*_: object) -> None:
        for pid in children:
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    for pid in children:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
