"""Floods: what people with no good intent can make the store keep, and what is there after 1, 2 and 4 rounds.

A real server on a real store without a limit of memory. Its quotas are small and a guest is forgotten after a minute,
so that every bound is reached in the first round. A round is some hundred requests; after each the store is looked at:
what *lasts* is what is not over within an hour.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import jwt
import redis
from msgspec import Struct

from tests.support.server import Chatmaster
from tests.support.store import RedisServer
from tests.support.wait import until_async
from tests.support.ws import ChatSocket

SECRET: Final = "a secret of more than thirty-two characters"
SHORT: Final = 3600  # seconds
ROUNDS: Final = (1, 2, 4)
SETTINGS: Final[dict[str, Any]] = {
    "auth.secret": SECRET,
    "limits.rate": 0.0,
    "limits.rooms_per_connection": 1000,
    "store.history_size": 50,
    "store.guest_ttl": 60,
    "limits.user_rooms": 20,
    "limits.guest_bytes": 500_000,
    "limits.guest_rooms": 100,
    "api.key_rooms": 20,
}


class Kept(Struct, frozen=True):
    """What the store has of a flood."""

    lasting: int  # keys
    passing: int  # keys that are over within SHORT
    kib: float  # of what lasts


class Flood(Struct, frozen=True):
    """One way to fill a store."""

    name: str
    bound: str  # what holds it
    play: Callable[[Chatmaster, int], Awaitable[None]]


class Outcome(Struct, frozen=True):
    """What a flood left, after each of ROUNDS."""

    flood: Flood
    kept: tuple[Kept, ...]


def token_of(user: str) -> str:
    """A token for the server of the floods."""
    return jwt.encode({"sub": user, "exp": time.time() + 600}, SECRET, algorithm="HS256")


async def _all(client: ChatSocket, requests: list[dict[str, Any]]) -> None:
    """Send all at once, and wait until each is answered."""
    for number, request in enumerate(requests):
        client.send_json({**request, "id": f"f{number}"})
    left = len(requests)
    while left:
        answer = await client.receive_json()
        left -= str(answer.get("id", "")).startswith("f")


async def letters(server: Chatmaster, number: int) -> None:
    async with AsyncExitStack() as stack:
        for sender in range(6):
            user = f"sender-{sender}"
            client = await stack.enter_async_context(await ChatSocket.enter(server.url, token=token_of(user)))
            await _all(client, [{"type": "direct", "to": "victim", "text": "x" * 100} for _ in range(60)])


async def made_up_users(server: Chatmaster, number: int) -> None:
    async with await ChatSocket.enter(server.url, name=f"Guest {number}") as client:
        wanted = ({"to": f"made-up-{number}-{at}", "text": "x" * 10_000} for at in range(60))
        await _all(client, [{"type": "direct", **one} for one in wanted])


async def rooms(server: Chatmaster, number: int) -> None:
    async with await ChatSocket.enter(server.url, token=token_of("roamer")) as client:
        names = [f"room-{number}-{at}" for at in range(40)]
        await _all(client, [{"type": "join", "room": name} for name in names])
        await _all(client, [{"type": "say", "room": name, "text": "first"} for name in names])


async def looks(server: Chatmaster, number: int) -> None:
    async with await ChatSocket.enter(server.url, token=token_of("looker")) as client:
        await _all(client, [{"type": "history", "room": f"look-{number}-{at}"} for at in range(100)])


async def reactions(server: Chatmaster, number: int) -> None:
    async with await ChatSocket.enter(server.url, "reacted", token=token_of(f"reacting-{number % 2}")) as client:
        if number == 0:
            await _all(client, [{"type": "say", "room": "reacted", "text": "here"}])
        faces = [chr(0x1F600 + at) for at in range(40)]
        react = {"type": "react", "room": "reacted", "offset": 1}
        await _all(client, [{**react, "emoji": face, "remove": away} for face in faces for away in (False, True)])
        await _all(client, [{**react, "emoji": face} for face in faces])


async def edits(server: Chatmaster, number: int) -> None:
    async with await ChatSocket.enter(server.url, "edited", token=token_of("editor")) as client:
        if number == 0:
            await _all(client, [{"type": "say", "room": "edited", "text": "here"}])
        edit = {"type": "edit", "room": "edited", "offset": 1}
        await _all(client, [{**edit, "text": f"{at} " + "x" * 200} for at in range(200)])


async def guests(server: Chatmaster, number: int) -> None:
    for at in range(15):
        async with await ChatSocket.enter(server.url, "hall", name=f"Visitor {number} {at}") as client:
            client.send_json({"type": "read", "room": "hall", "offset": 1})
            await _all(client, [{"type": "direct", "to": f"guest:{number:08x}{at:08x}", "text": "hello"}])


async def keys(server: Chatmaster, number: int) -> None:
    async with await ChatSocket.enter(server.url, "keyed", token=token_of("keyed")) as client:
        await _all(
            client, [{"type": "say", "room": "keyed", "text": "x", "key": f"{number}-{at}"} for at in range(100)]
        )


async def api(server: Chatmaster, number: int) -> None:
    file = server.directory / "key"
    if not file.exists():
        file.write_text(server.ctl("apikey", "add", "flood", "--rate", "0").stdout.strip())
    batch = [{"verb": "say", "request": {"room": f"api-{number}-{at}", "text": "first"}} for at in range(50)]
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {file.read_text()}"}
    request = urllib.request.Request(f"{server.http}/api/v1/batch", json.dumps(batch).encode(), headers)
    await asyncio.to_thread(_post, request)


def _post(request: urllib.request.Request) -> None:
    with urllib.request.urlopen(request, timeout=20) as answer:
        answer.read()


FLOODS: Final = (
    Flood("letters of six users to one", "equal shares of an inbox", letters),
    Flood("letters of guests to made-up users", "limits.guest_bytes", made_up_users),
    Flood("messages to made-up rooms", "limits.user_rooms", rooms),
    Flood("messages to made-up rooms by an API key", "api.key_rooms", api),
    Flood("looks at made-up rooms", "nothing is kept", looks),
    Flood("reactions, and their removal", "16 a user and 256 a message; as many changes as messages", reactions),
    Flood("edits of one message", "one edit a message; as many changes as messages", edits),
    Flood("guests who come, read, write to made-up guests and go", "store.guest_ttl, limits.guest_bytes", guests),
    Flood("idempotency keys", "store.history_size, limits.key_ttl", keys),
)


def look(client: redis.Redis, before: set[bytes]) -> Kept:
    """What is in the store beside what was there before."""
    lasting, passing, size = 0, 0, 0
    for key in client.scan_iter(count=1000):
        if key in before:
            continue
        if 0 <= client.ttl(key) <= SHORT:
            passing += 1
        else:
            lasting += 1
            size += client.memory_usage(key, samples=0) or 0
    return Kept(lasting, passing, size / 1024)


def run(chosen: tuple[Flood, ...] = FLOODS) -> list[Outcome]:
    """Play floods one after the other on one server."""
    with tempfile.TemporaryDirectory(prefix="cm-flood-") as folder, RedisServer(Path(folder), tcp=True) as store:
        settings = {**SETTINGS, "store.url": store.tcp_url}
        with Chatmaster(workers=1, settings=settings) as server:
            return asyncio.run(_play(server, store.client, chosen))


async def _play(server: Chatmaster, client: redis.Redis, chosen: tuple[Flood, ...]) -> list[Outcome]:
    outcomes = []
    for flood in chosen:
        before = set(client.scan_iter(count=1000))
        kept = []
        for number in range(max(ROUNDS)):
            await flood.play(server, number)
            if number + 1 in ROUNDS:
                await until_async(lambda: not list(client.scan_iter("*/users", count=1000)), 20.0, "all have left")
                await asyncio.sleep(0.2)  # what needs no answer
                kept.append(look(client, before))
        outcomes.append(Outcome(flood, tuple(kept)))
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    """As the documents have it."""
    rows = [
        f"| {one.flood.name} | {one.flood.bound} | "
        + " | ".join(f"{kept.lasting} / {kept.kib:.0f} KiB" for kept in one.kept)
        + f" | {one.kept[-1].passing} |"
        for one in outcomes
    ]
    head = "| flood | bound | " + " | ".join(f"after {number}" for number in ROUNDS) + " | over within an hour |"
    return "\n".join([head, "|---|---|" + "---|" * len(ROUNDS) + "---|", *rows])
