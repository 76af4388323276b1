"""The client against the real server: it keeps every promise over a killed worker, a reload and a restarted store."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from functools import partial

import pytest

from tests.support import processes
from tests.support.recorder import Recorder, assert_kept, caught_up, enter_all, leave_all, top_of
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from workers.client import Client, Message, RequestRefused

ROOM = "lobby"


@pytest.fixture
def server(chatmaster):
    return chatmaster(workers=2, settings={"limits.rate": 0.0})


async def test_every_request_over_a_real_socket(server):
    async with Client(server.url, rooms=[ROOM], name="Ada") as ada, Client(server.url, name="Bob") as bob:
        joined = await bob.join(ROOM)
        assert joined.offset == 0
        ack = await ada.say(ROOM, "hello", key="k1")
        again = await ada.say(ROOM, "hello", key="k1")
        assert (again.offset, again.duplicate) == (ack.offset, True)
        assert ack.offset is not None
        await bob.react(ROOM, ack.offset, "👍")
        await ada.edit(ROOM, ack.offset, "hello!")
        await bob.say(ROOM, data={"any": ["json"]}, reply_to=ack.offset)
        await ada.direct(bob.user, "psst")
        page = await bob.history(ROOM)
        first = page.messages[0]
        assert (first.text, first.reactions, first.sender.name) == ("hello!", {"👍": (bob.user,)}, "Ada")
        assert first.edited is not None

        async def both_are_listed() -> bool:
            return {one.user for one in (await bob.members(ROOM)).members} == {ada.user, bob.user}

        await until_async(both_are_listed, what="bob's worker has heard of ada, who may be with another")
        await bob.rename("Robert")
        await bob.typing(ROOM)
        await bob.read(ROOM, ack.offset)
        assert (await bob.ping()).server_time > 0
        with pytest.raises(RequestRefused) as refused:
            await bob.kick(ada.user)
        assert refused.value.code == "forbidden"
        await ada.delete(ROOM, ack.offset)
        page = await bob.history(ROOM)
        assert (page.messages[0].deleted, page.messages[0].text) == (True, None)
        await bob.leave(ROOM)
        with pytest.raises(RequestRefused) as refused:
            await bob.say(ROOM, "still here?")
        assert refused.value.code == "not_joined"


async def test_a_direct_message_waits_for_one_who_is_away(server):
    async with Client(server.url, name="Ada") as ada, Client(server.url, name="Bob") as bob:
        user, token, inbox = bob.user, bob.core.guest_token, bob.rooms[f"@{bob.user}"]
        await bob.close()
        await ada.direct(user, "are you there?")
        async with Client(server.url, token=token) as back:
            assert back.user == user
            await back.join(f"@{user}", since=inbox)
            async for event in back.events():
                if isinstance(event, Message):
                    assert event.text == "are you there?"
                    break


async def test_nothing_is_lost_or_doubled_over_kills_and_a_reload(server):
    everyone = [Recorder(server.url, ROOM, name=f"n{number}") for number in range(20)]
    await enter_all(everyone)
    async with talking(everyone[:4]):
        for slot in (0, 1):
            await said(everyone, 40)
            first = server.pids[slot]
            processes.send(first, signal.SIGKILL)
            await until_async(partial(is_replaced, server, first), 20, "the worker is replaced")
        await said(everyone, 40)
        done = await asyncio.to_thread(server.ctl, "reload")
        assert done.returncode == 0, done.stderr
        await said(everyone, 40)
    await caught_up(everyone, top_of(everyone))
    await leave_all(everyone)
    finding = assert_kept(everyone)
    assert finding.gaps == finding.resets == 0, str(finding)


async def test_nothing_is_lost_when_the_store_is_killed(server):
    everyone = [Recorder(server.url, ROOM, name=f"n{number}") for number in range(10)]
    await enter_all(everyone)
    async with talking(everyone[:4]):
        for _ in range(2):
            await said(everyone, 40)
            pid = await asyncio.to_thread(lambda: server.store_pid)
            processes.send(pid, signal.SIGKILL)
            await until_async(partial(is_gone, pid))
        await said(everyone, 40)
    await caught_up(everyone, top_of(everyone))
    await leave_all(everyone)
    finding = assert_kept(everyone)
    assert finding.gaps == finding.resets == 0, str(finding)


def is_replaced(server: Chatmaster, pid: int) -> bool:
    """The worker is gone, and all slots serve."""
    return pid not in server.pids and server.states() == ["ready", "ready"]


def is_gone(pid: int) -> bool:
    return not processes.alive(pid)


@asynccontextmanager
async def talking(some: list[Recorder]):
    """They talk; at the end each waits for its last answer.

    What is cancelled on its way may be kept behind the last acknowledged message, where nobody waits for it: then
    some see it before they leave, and others do not.
    """
    over = asyncio.Event()
    tasks = [asyncio.create_task(talk(one, over)) for one in some]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*tasks)


async def talk(one: Recorder, over: asyncio.Event) -> None:
    """Say something new every now and then until it is over; each waits for its answer."""
    number = 0
    while not over.is_set():
        await one.say(f"{one.name}-{number}")
        number += 1
        await asyncio.sleep(0.005)


async def said(everyone: list[Recorder], more: int) -> None:
    """Wait until so many more messages have been acknowledged."""
    before = sum(len(one.acked) for one in everyone)
    await until_async(lambda: sum(len(one.acked) for one in everyone) >= before + more, 30, "they go on talking")
