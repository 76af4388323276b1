"""Live handover between real workers: nobody is cut, nothing is missed, and what a connection carried stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket, RawSocket
from workers import Gateway

Make = Callable[..., Chatmaster]

PROGRAM = """
import os
from workers import Worker

worker = Worker("websocket://127.0.0.1:8000")

@worker.on_worker_reload
def reloaded(worker):
    print("on_worker_reload ran")

@worker.on_connect
async def came(connection):
    await connection.bind("user-" + connection.query)
    await connection.join("hall")
    connection.session["count"] = 0
    connection.send(connection.id)

@worker.on_message
def counted(connection, data):
    connection.session["count"] += 1
    connection.send(f"{os.getpid()} {connection.session['count']} {','.join(connection.rooms)} {connection.user}")
"""


async def ctl(server: Chatmaster, *arguments: str) -> None:
    done = await asyncio.to_thread(server.ctl, *arguments)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return str(path)


async def test_session_user_and_rooms_survive_a_reload_and_orders_still_find_the_connection(
    chatmaster: Make, program: str
) -> None:
    server = chatmaster(program, workers=2, settings={"limits.rate": 0})
    async with AsyncExitStack() as stack:
        gateway = stack.enter_context(Gateway(server.status()["store"]["url"]))
        sockets = [await stack.enter_async_context(await RawSocket.open(f"{server.url}?{n}")) for n in range(20)]
        ids = [str(await socket.read_message()) for socket in sockets]
        before = []
        for socket in sockets:
            socket.send_text("x")
            before.append(str(await socket.read_message()).split(" "))
        for _ in range(3):
            await ctl(server, "reload")
        for number, socket in enumerate(sockets):
            socket.send_text("x")
            pid, count, rooms, user = str(await socket.read_message()).split(" ")
            assert pid != before[number][0]
            assert (count, user, set(rooms.split(","))) == ("2", f"user-{number}", {"hall"})
        gateway.send_to_room("hall", "still here")
        gateway.send_to_connection(ids[3], "for you")
        assert [await socket.read_message() for socket in sockets] == ["still here"] * 20
        assert await sockets[3].read_message() == "for you"
        assert gateway.online() == 20
        await until_async(lambda: server.status()["totals"]["connections"] == 20, what="all are counted again")
    assert "on_worker_reload ran" in server.log()


LATE = """
from workers import Worker

worker = Worker("websocket://127.0.0.1:8000")

@worker.on_connect
def came(connection):
    connection.send(f"{connection.ordered} {connection.sent}")

@worker.on_message
async def ordered(connection, data):
    await worker.send_to_connection(connection.id, data)
"""


async def test_a_connection_is_younger_than_every_order_that_was_given_before(chatmaster: Make, tmp_path: Path) -> None:
    """Else the orders that are repeated when others move here would be carried out for it, too."""
    path = tmp_path / "program.py"
    path.write_text(LATE)
    server = await asyncio.to_thread(chatmaster, str(path), workers=1)
    async with await RawSocket.open(server.url) as first:
        assert str(await first.read_message()) == "0 0"
        for number in range(3):
            first.send_text(f"order {number}")
            assert await first.read_message() == f"order {number}"

        async def heard_by_a_new_one() -> bool:
            async with await RawSocket.open(server.url) as later:
                return str(await later.read_message()) == "0 3"

        await until_async(heard_by_a_new_one, what="the orders are older than who comes now")


async def test_a_busy_room_misses_nothing_while_workers_are_reloaded_and_scaled(chatmaster: Make) -> None:
    server = chatmaster(workers=2, settings={"limits.rate": 0, "master.drain_timeout": 10})
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(await ChatSocket.enter(server.url, "lobby")) for _ in range(60)]
        said = 0
        stop = asyncio.Event()

        async def talk() -> None:
            nonlocal said
            while not stop.is_set():
                members[said % 10].send_json({"type": "say", "room": "lobby", "text": str(said), "key": f"k{said}"})
                said += 1
                await asyncio.sleep(0.005)  # the pace of the load, not a wait

        async def listen(member: ChatSocket) -> list[int]:
            offsets: list[int] = []
            while True:
                message = await member.receive_json(20)
                assert message["type"] in ("message", "ack", "presence"), message
                if message["type"] == "message":
                    offsets.append(message["offset"])
                    if message["text"] == "end":
                        return offsets

        talking = asyncio.create_task(talk())
        listening = [asyncio.create_task(listen(member)) for member in members]
        for order in (["reload"], ["scale", "3"], ["reload"], ["scale", "1"], ["reload"], ["scale", "2"]):
            await ctl(server, *order)
        stop.set()
        await talking
        members[0].send_json({"type": "say", "room": "lobby", "text": "end"})
        heard = await asyncio.wait_for(asyncio.gather(*listening), 30)
        assert len(heard[0]) == said + 1
        assert all(offsets == sorted(set(offsets)) == heard[0] for offsets in heard)
        assert "could not be handed over" not in server.log()
