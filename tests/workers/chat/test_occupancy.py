"""The room option `members` under storms over two workers: never one too many, never one too few."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket, Closed

LIMIT = 5
CONFIG = f"""
[[rooms]]
match = "small*"
members = {LIMIT}

[[rooms]]
match = "hidden*"
members = {LIMIT}
presence = false
"""

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    settings = {"limits.rate": 1000, "limits.burst": 2000}
    with Chatmaster(workers=2, settings=settings, config=CONFIG) as made:
        yield made


async def joins(socket: ChatSocket, room: str) -> bool:
    answer = await socket.ask(type="join", room=room)
    if answer["type"] == "joined":
        return True
    assert (answer["code"], answer["message"]) == ("limit_reached", "this room is full")
    return False


async def crowd(server: Chatmaster, count: int) -> list[ChatSocket]:
    return list(await asyncio.gather(*(ChatSocket.enter(server.url) for _ in range(count))))


def end(sockets: list[ChatSocket]) -> None:
    for one in sockets:
        one.abort()


@pytest.mark.parametrize("room", ["small-storm", "hidden-storm"])
async def test_of_a_storm_exactly_as_many_come_in_as_may(server: Chatmaster, room: str):
    sockets = await crowd(server, 24)
    try:
        inside = await asyncio.gather(*(joins(one, room) for one in sockets))
        assert sum(inside) == LIMIT
        # Whoever leaves makes place for one at once, and so does a connection that is lost.
        members = [one for one, is_in in zip(sockets, inside, strict=True) if is_in]
        others = [one for one, is_in in zip(sockets, inside, strict=True) if not is_in]
        assert (await members[0].ask(type="leave", room=room))["type"] == "left"
        assert sum(await asyncio.gather(*(joins(one, room) for one in others))) == 1
        members[1].abort()
        late = await ChatSocket.enter(server.url)
        sockets.append(late)

        async def comes_in() -> bool:
            return await joins(late, room)

        await until_async(comes_in)
    finally:
        end(sockets)


async def test_one_after_another_over_two_workers(server: Chatmaster):
    sockets = await crowd(server, 10)
    try:
        assert [await joins(one, "small-row") for one in sockets] == [True] * LIMIT + [False] * 5
    finally:
        end(sockets)


async def test_a_storm_of_hellos_fills_the_room_exactly(server: Chatmaster):
    sockets = list(await asyncio.gather(*(ChatSocket.enter(server.url, "small-hello") for _ in range(24))))
    try:
        inside = [one for one in sockets if len(one.welcome["rooms"]) == 2]
        assert len(inside) == LIMIT
        for one in sockets:
            if one not in inside:
                assert (await one.expect("error"))["field"] == "rooms[0].room"
    finally:
        end(sockets)


async def test_a_users_other_connections_take_no_place_and_a_resume_keeps_it(server: Chatmaster):
    sockets = await crowd(server, LIMIT)
    try:
        assert all([await joins(one, "small-user") for one in sockets])
        again = list(
            await asyncio.gather(*(ChatSocket.enter(server.url, token=sockets[0].welcome["token"]) for _ in range(6)))
        )
        sockets += again
        assert all(await asyncio.gather(*(joins(one, "small-user") for one in again)))
        for one in again:  # out and in again, to read on from another place
            since = {"epoch": "x" * 16, "offset": 0}
            assert (await one.ask(type="join", room="small-user", since=since))["type"] == "joined"
        stranger = await ChatSocket.enter(server.url)
        sockets.append(stranger)
        assert not await joins(stranger, "small-user")
        for one in again:
            await one.ask(type="leave", room="small-user")
        assert not await joins(stranger, "small-user"), "the user is still in, by the first connection"
    finally:
        end(sockets)


async def test_the_limit_holds_over_reloads_and_the_death_of_a_worker(server: Chatmaster):
    sockets = await crowd(server, LIMIT)
    try:
        assert all([await joins(one, "small-reload") for one in sockets])
        old = server.pids
        assert server.ctl("reload").returncode == 0
        stranger = await ChatSocket.enter(server.url)
        sockets.append(stranger)
        assert not await joins(stranger, "small-reload")
        await until_async(lambda: not any(map(processes.alive, old)), what="the old workers and their places are gone")
        assert not await joins(stranger, "small-reload")
        for worker in server.status()["workers"]:
            os.kill(worker["pid"], signal.SIGKILL)
        end(sockets)

        async def comes_in() -> bool:
            with suppress(Closed, AssertionError, OSError):
                sockets.append(await ChatSocket.enter(server.url))
                return await joins(sockets[-1], "small-reload")
            return False

        await until_async(comes_in)
    finally:
        end(sockets)
