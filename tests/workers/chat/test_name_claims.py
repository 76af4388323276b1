"""A name in use is given to nobody else: over two workers, renames, handover, lost workers, and users with a token."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import jwt
import pytest

from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket, Closed

SECRET = "s" * 32
LOOK_ALIKE = ["Robin", "ROBIN", "r\u043ebin", "R o b i n", "\uff32obin", "Rob\u0456n"]

pytestmark = pytest.mark.timeout(120)

Enter = Callable[..., Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    with Chatmaster(workers=2, settings={"auth.secret": SECRET, "limits.rate": 1000, "limits.burst": 2000}) as made:
        yield made


@pytest.fixture
async def enter(server: Chatmaster) -> AsyncIterator[Enter]:
    """Connect and say hello; the connection and the answer. All connections end with the test."""
    sockets: list[ChatSocket] = []

    async def come(name: str | None = None, *, token: str = "") -> tuple[ChatSocket, dict[str, Any]]:
        socket = await ChatSocket.open(server.url)
        sockets.append(socket)
        wanted: dict[str, Any] = {key: value for key, value in (("name", name), ("token", token)) if value}
        socket.welcome = await socket.ask(type="hello", rooms=[{"room": "lobby"}], **wanted)
        return socket, socket.welcome

    yield come
    for socket in sockets:
        socket.abort()


def is_taken(answer: dict[str, Any]) -> bool:
    if answer["type"] == "error":
        assert (answer["code"], answer["field"]) == ("name_taken", "name"), answer
        return True
    assert answer["type"] in ("welcome", "ack"), answer
    return False


def token_of(sub: str, name: str) -> str:
    return jwt.encode({"sub": sub, "name": name}, SECRET, "HS256")


async def test_of_a_storm_of_guests_one_gets_the_name_and_the_others_may_ask_for_another(enter: Enter) -> None:
    came = await asyncio.gather(*(enter(name) for name in LOOK_ALIKE * 4))
    assert sum(not is_taken(answer) for _, answer in came) == 1
    loser = next(socket for socket, answer in came if answer["type"] == "error")
    assert (await loser.ask(type="hello", name="Marian"))["name"] == "Marian"
    for other in LOOK_ALIKE:
        assert is_taken(await loser.ask(type="rename", name=other))
    assert not is_taken(await loser.ask(type="rename", name="Marian2"))
    assert is_taken((await enter("marian2"))[1])
    assert not is_taken((await enter("Marian"))[1]), "whoever takes another name frees the one before"


async def test_a_rename_storm_gives_the_name_once(enter: Enter) -> None:
    sockets = [(await enter())[0] for _ in range(12)]
    answers = await asyncio.gather(
        *(one.ask(type="rename", name=f"Little John{' ' * (at % 2)}") for at, one in enumerate(sockets))
    )
    assert sum(not is_taken(answer) for answer in answers) == 1


async def test_the_last_connection_of_a_guest_frees_the_name_and_the_guest_keeps_it_meanwhile(enter: Enter) -> None:
    first, welcome = await enter("Tuck")
    second, again = await enter("Tuck", token=welcome["token"])
    assert not is_taken(again), "it is the same guest's"
    first.abort()
    for _ in range(5):
        assert is_taken((await enter("tuck"))[1])
    second.abort()

    async def comes_in() -> bool:
        return not is_taken((await enter("tuck"))[1])

    await until_async(comes_in, what="the name is free")
    returned, answer = await enter(token=welcome["token"])
    assert answer["type"] == "welcome" and answer["name"] not in ("Tuck", "tuck"), "who comes back finds it taken"
    assert is_taken(await returned.ask(type="rename", name="Tuck"))


async def test_names_hold_over_a_reload_and_end_with_a_killed_worker(server: Chatmaster, enter: Enter) -> None:
    held = [f"Outlaw{at}x" for at in range(6)]
    sockets = [(await enter(name))[0] for name in held]
    old = server.pids
    assert (await asyncio.to_thread(server.ctl, "reload")).returncode == 0
    for name in held:
        assert is_taken((await enter(name))[1]), "right after the handover"
    await until_async(lambda: not any(map(processes.alive, old)), what="the old workers are gone")
    for name, socket in zip(held, sockets, strict=True):
        assert is_taken((await enter(name))[1]), "without the old workers"
        assert (await socket.ask(type="ping"))["type"] == "pong"
    for worker in server.status()["workers"]:
        os.kill(worker["pid"], signal.SIGKILL)

    async def all_come_in() -> bool:
        with suppress(Closed, OSError, TimeoutError):
            if not is_taken((await enter(held[-1]))[1]):
                held.pop()
        return not held

    await until_async(all_come_in, 60, what="the names of dead workers are free")


async def test_a_generated_name_is_nobody_elses(enter: Enter) -> None:
    _, welcome = await enter()
    taken = False
    async with asyncio.timeout(20):  # the claim follows the welcome
        while not taken:
            socket, answer = await enter(welcome["name"])
            taken = is_taken(answer)
            socket.abort()
    assert taken


async def test_users_with_a_token_share_names_among_them_and_a_guest_gives_way(enter: Enter) -> None:
    guest, _ = await enter("Will Scarlet")
    users = await asyncio.gather(*(enter(token=token_of(f"will{at}", "Will Scarlet")) for at in range(3)))
    assert [answer["name"] for _, answer in users] == ["Will Scarlet"] * 3, "an issuer vouches for the name"
    renamed = (await guest.expect("presence", room=f"@{guest.user}"))["renamed"]
    assert renamed[0]["user"] == guest.user and renamed[0]["name"] != "Will Scarlet"
    assert is_taken((await enter("W\u0456ll Scarlet"))[1])
    # Another name than the token's is chosen, and refused like a guest's.
    _, alan = await enter("Alan")
    assert not is_taken(alan)
    assert is_taken(await users[0][0].ask(type="rename", name="alan"))
    assert not is_taken(await users[0][0].ask(type="rename", name="Allan a Dale"))
    assert is_taken((await enter("Allan a Dale"))[1])


async def test_a_name_given_back_while_the_store_stands_still_is_free_soon_after() -> None:
    with Chatmaster(workers=1, settings={"store.timeout": 1.0}) as server:
        async with await ChatSocket.enter(server.url, "lobby", name="Much") as watch:
            async with await ChatSocket.enter(server.url, "lobby", name="Friar"):
                os.kill(server.store_pid, signal.SIGSTOP)
            try:
                async with asyncio.timeout(30):  # what was asked after the release was given up
                    while (await watch.ask(type="say", room="lobby", text="is it there?"))["type"] != "error":
                        pass
            finally:
                os.kill(server.store_pid, signal.SIGCONT)

            async def comes_in() -> bool:
                with suppress(AssertionError, Closed, TimeoutError):
                    socket = await ChatSocket.enter(server.url, "lobby", name="friar")
                    socket.abort()
                    return True
                return False

            await until_async(comes_in, 30, what="the name is free")


async def test_who_respells_the_own_name_keeps_it(enter: Enter) -> None:
    first, welcome = await enter("Alan Dale")
    second, _ = await enter("Alan Dale", token=welcome["token"])
    for spelling in ("ALAN DALE", "A lan dale", "alan dale"):
        assert not is_taken(await first.ask(type="rename", name=spelling))
        for other in ("Alan Dale", "ALAN DALE", "alan d\u0430le"):
            assert is_taken((await enter(other))[1])
    assert not is_taken(await second.ask(type="rename", name="Midge"))
    async with asyncio.timeout(20):  # the name that was left is free when the other connection has heard of it
        while is_taken((await enter("Alan Dale"))[1]):
            await asyncio.sleep(0.02)


async def test_connections_of_one_guest_that_ask_at_once_get_no_name_of_somebody_else(enter: Enter) -> None:
    await enter("Sheriff")
    one, welcome = await enter("Gisborne")
    others = [(await enter(token=welcome["token"]))[0] for _ in range(5)]
    for _ in range(4):
        answers = await asyncio.gather(*(socket.ask(type="rename", name="sheriff") for socket in [one, *others]))
        assert all(is_taken(answer) for answer in answers)
        came = await asyncio.gather(*(enter("SHERIFF", token=welcome["token"]) for _ in range(4)))
        assert all(is_taken(answer) for _, answer in came)
    assert is_taken((await enter("Gisborne"))[1]), "what was asked for in vain costs nobody the own name"
