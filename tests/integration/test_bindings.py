"""Who is who, and where: what `bind`, `unbind`, `join` and `leave` have promised is true on every worker at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.integration.test_names import PROGRAM, Told
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import Closed

ADA, BOB, NOBODY = "ada", "bob", ""


@pytest.fixture
def program(chatmaster: Callable[..., Chatmaster]) -> Chatmaster:
    return chatmaster(str(PROGRAM), workers=2)


@pytest.fixture
async def clients(program: Chatmaster) -> AsyncIterator[list[Told]]:
    """Six of them, on both workers."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(await Told.open(program.url)) for _ in range(6)]


def rows(*of: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"user": user, "name": user, "connections": count} for user, count in of]


async def members(asker: Told, room: str = "hall") -> list[dict[str, Any]]:
    return sorted(await asker.do("worker.members", room), key=lambda row: str(row["user"]))


async def test_bind_replaces_and_unbind_ends_it(clients: list[Told]) -> None:
    one, *others = clients
    await one.do("connection.join", "hall")
    for user, before in ((ADA, NOBODY), (BOB, ADA), (BOB, BOB), (NOBODY, BOB)):
        await (one.do("connection.bind", user) if user else one.do("connection.unbind"))
        assert await one.do("connection.user") == user
        for other in others:
            assert await members(other) == rows((user, 1))
            for somebody in (ADA, BOB):
                assert await other.do("worker.is_online", somebody) is (somebody == user), (somebody, before)
        for somebody in (ADA, BOB):
            await others[0].do("worker.send_to_user", somebody, f"for {somebody}")
        await others[0].do("worker.send_to_room", "hall", "end")
        heard: list[Any] = []
        while "end" not in heard or (user and f"for {user}" not in heard):
            heard.append(await one.read_message())
        assert sorted(heard) == sorted(["end", *([f"for {user}"] if user else [])])


async def test_what_await_returned_is_visible_everywhere(clients: list[Told]) -> None:
    asker = clients[-1]
    for number, client in enumerate(clients[:5]):
        if number:
            await client.do("connection.bind", f"u{number}")
            assert await asker.do("worker.is_online", f"u{number}")
        await client.do("connection.join", "hall")
        await client.do("connection.join", "hall")  # twice is once
        assert await members(asker) == rows((NOBODY, 1), *((f"u{one}", 1) for one in range(1, number + 1)))
        assert await members(client) == await members(asker)
    for number, client in enumerate(clients[:5]):
        await client.do("connection.leave", "hall")
        assert await members(asker) == rows(*((f"u{one}", 1) for one in range(number + 1, 5)))
    assert await members(asker) == []


async def test_members_and_bindings_hold_over_a_reload(program: Chatmaster, clients: list[Told]) -> None:
    for number, client in enumerate(clients):
        if number < 5:
            await client.do("connection.bind", "old")
            await client.do("connection.bind", f"u{number}")
        await client.do("connection.join", "hall")
    expected = rows((NOBODY, 1), *((f"u{number}", 1) for number in range(5)))
    seen: list[Any] = []

    async def look() -> None:
        while True:
            seen.append([row["user"] for row in await members(clients[-1])])

    looking = asyncio.create_task(look())
    assert (await asyncio.to_thread(program.ctl, "reload")).returncode == 0
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert all(users == [row["user"] for row in expected] for users in seen), seen
    for client in clients[:5]:
        assert await members(client) == expected  # nobody twice
    assert not await clients[0].do("worker.is_online", "old")
    await clients[0].do("connection.unbind")
    assert not await clients[1].do("worker.is_online", "u0")
    await clients[1].do("worker.send_to_user", "u0", "for nobody")
    await clients[1].do("worker.send_to_user", "old", "for nobody")
    await clients[1].do("worker.broadcast", "end")
    assert await clients[0].read_message() == "end"


async def test_who_closes_is_no_member_at_once(clients: list[Told]) -> None:
    one, asker = clients[0], clients[-1]
    await one.do("connection.bind", ADA)
    await one.do("connection.join", "hall")
    await one.close()
    await until_async(lambda: _none(asker), timeout=2.0, what="who has closed is no member")


async def _none(asker: Told) -> bool:
    return await members(asker) == [] and not await asker.do("worker.is_online", ADA)


async def test_a_killed_workers_users_are_nowhere(program: Chatmaster, clients: list[Told]) -> None:
    for number, client in enumerate(clients):
        await client.do("connection.bind", "old")
        await client.do("connection.bind", f"u{number}")
        await client.do("connection.join", "hall")
    connections = program.ask("connections")
    slot = connections[0]["slot"]
    lost = {row["user"] for row in connections if row["slot"] == slot}
    os.kill(next(row["pid"] for row in program.status()["workers"] if row["slot"] == slot), signal.SIGKILL)
    async with await Told.open(program.url) as asker:
        await _are_gone(asker, lost)
    for number, client in enumerate(clients):
        if f"u{number}" in lost:
            with pytest.raises((Closed, ConnectionError, EOFError)):
                await client.do("connection.user")


async def _are_gone(asker: Told, lost: set[str]) -> None:
    async def gone() -> bool:
        return not lost & {row["user"] for row in await members(asker)}

    await until_async(gone, what="they are no members any more")
    for user in [*lost, "old"]:
        assert not await asker.do("worker.is_online", user)


async def test_another_program_under_the_same_name_finds_nobody(program: Chatmaster, clients: list[Told]) -> None:
    for number, client in enumerate(clients):
        await client.do("connection.bind", f"u{number}")
        await client.do("connection.join", "hall")
    assert program.stop() == 0
    program.start()
    async with await Told.open(program.url) as client:
        assert await members(client) == []
        assert not await client.do("worker.is_online", "u0")
