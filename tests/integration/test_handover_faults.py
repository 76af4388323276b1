"""What goes wrong while connections move, between real workers: deaths at the worst moment, bugs, odd clients, orders.

The program lets a test choose the moment: a file named after a step has the worker that comes there do what is in it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import BINARY, TEXT, ChatSocket, RawSocket, frame

Make = Callable[..., Chatmaster]

PROGRAM = """
import asyncio, os, pathlib, signal, time
from workers import Timer, Worker
from workers.handover.sender_state import SenderState
from workers.handover.receiver_state import ReceiverState

worker = Worker("websocket://127.0.0.1:8000")
here = pathlib.Path(__file__).parent
sent = {}

def fault(cls, step):
    real = getattr(cls, step)
    def at(self, *args):
        order = here / step
        if order.exists():
            what = order.read_text()
            if what == "die":
                order.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(float(what))
        return real(self, *args)
    setattr(cls, step, at)

fault(ReceiverState, "on_offer")
fault(SenderState, "on_held")

def tick():
    for connection in list(worker.node.connections.values()):
        if (here / "tick").exists():
            sent[connection.id] = sent.get(connection.id, 0) + 1
            connection.send(f"{os.getpid()} tick {sent[connection.id]}")

@worker.on_worker_start
def started(worker):
    Timer.add(0.01, tick)

@worker.on_worker_stop
def stopped(worker):
    (here / f"sent-{os.getpid()}").write_text(repr(list(sent.values())))

@worker.on_worker_reload
async def reloaded(worker):
    print("on_worker_reload ran")
    if (here / "raise").exists():
        raise RuntimeError("a bug in on_worker_reload")
    if (here / "hang").exists():
        await asyncio.sleep(3600)

@worker.on_connect
def came(connection):
    connection.session["count"] = 0
    connection.send("hello")

@worker.on_message
async def counted(connection, data):
    if data == "deaf":
        worker.node.request_replacement()
    elif data == "odd":
        dict.__setitem__(connection.session, 1, "not a string")
    await asyncio.sleep(0.002)
    connection.session["count"] += 1
    connection.send(f"{os.getpid()} {connection.session['count']} {len(data)}")
"""


class Site:
    """A server with the program, and clients that are in."""

    def __init__(self, make: Make, directory: Path, stack: AsyncExitStack, **settings: object) -> None:
        self.directory = directory
        self._stack = stack
        (directory / "program.py").write_text(PROGRAM)
        # Not every test reads from everybody all the time, so nobody is asked whether it is there.
        defaults = {"limits.rate": 0, "limits.ping_timeout": 300.0, "master.drain_timeout": 2.0}
        self.server = make(str(directory / "program.py"), workers=1, settings={**defaults, **settings})
        self.sockets: list[RawSocket] = []
        self.pid = self.server.pids[0]

    def order(self, step: str, what: str = "") -> None:
        (self.directory / step).write_text(what)

    async def enter(self, count: int) -> list[RawSocket]:
        for _ in range(count):
            socket = await self._stack.enter_async_context(await RawSocket.open(self.server.url))
            assert await socket.read_message() == "hello"
            self.sockets.append(socket)
        return self.sockets

    async def ctl(self, *arguments: str) -> int:
        return (await asyncio.to_thread(self.server.ctl, *arguments)).returncode

    async def all_go_on(self, *, count: int = 1) -> set[int]:
        """Everybody is answered, for the `count`-th time; the pids that answer."""
        pids = set()
        for socket in self.sockets:
            socket.send_text("x")
            pid, number, _ = str(await socket.read_message()).split(" ")
            assert int(number) == count
            pids.add(int(pid))
        return pids

    async def moved(self) -> None:
        """The first worker is gone."""
        await until_async(lambda: self.pid not in self.server.pids, 30, "the old worker is gone")


@pytest.fixture
async def stack():
    async with AsyncExitStack() as made:
        yield made


@pytest.fixture
def site(chatmaster: Make, tmp_path: Path, stack: AsyncExitStack) -> Site:
    return Site(chatmaster, tmp_path, stack)


# ---- deaths ------------------------------------------------------------------------------------------


async def test_when_the_new_worker_dies_with_connections_in_its_hands_they_go_on_and_to_the_next_one(
    site: Site,
) -> None:
    await site.enter(100)
    site.order("on_offer", "die")
    await site.ctl("reload")
    await site.moved()
    pids = await site.all_go_on()
    assert pids == set(site.server.pids) and site.pid not in pids
    assert "could not be handed over" not in site.server.log()


async def test_when_the_old_worker_dies_the_new_one_goes_on_with_what_it_holds(site: Site) -> None:
    await site.enter(40)
    site.order("on_held", "die")
    await site.ctl("reload")
    await site.moved()
    assert site.pid not in await site.all_go_on()


async def test_a_new_worker_that_hangs_is_ended_and_the_connections_go_to_the_next_one(site: Site) -> None:
    await site.enter(10)
    site.order("on_offer", "60")
    reload = asyncio.create_task(site.ctl("reload"))
    await until_async(lambda: "it has to end" in site.server.log(), 30, "the old worker gives it up")
    (site.directory / "on_offer").unlink()
    await reload
    await site.moved()
    assert site.pid not in await site.all_go_on()


# ---- orders ------------------------------------------------------------------------------------------


async def test_a_stop_ends_a_hand_over_and_everybody_is_told(site: Site) -> None:
    await site.enter(300)
    site.order("on_offer", "0.2")
    reload = asyncio.create_task(site.ctl("reload"))
    answered_by = site.pid
    while answered_by == site.pid:  # some have moved
        site.sockets[0].send_text("x")
        answered_by = int(str(await site.sockets[0].read_message()).split(" ")[0])
    assert await asyncio.to_thread(site.server.stop) == 0
    ends = [await socket.wait_closed() for socket in site.sockets]
    assert {end.code for end in ends} == {1001}
    await reload


# ---- the application's bugs --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["raise", "hang"])
async def test_a_bug_in_on_worker_reload_costs_nobody_a_connection(site: Site, how: str) -> None:
    await site.enter(5)
    site.order(how)
    assert await site.ctl("reload") == 0
    assert site.pid not in await site.all_go_on()
    assert "on_worker_reload" in site.server.log().replace("on_worker_reload ran", "")


async def test_on_worker_reload_runs_at_a_reload_and_neither_at_a_replacement_nor_a_scaling(site: Site) -> None:
    [socket] = await site.enter(1)
    assert await site.ctl("scale", "2") == 0
    assert await site.ctl("scale", "1") == 0
    socket.send_text("deaf")
    await site.moved()
    assert "on_worker_reload ran" not in site.server.log()
    assert await site.ctl("reload") == 0
    assert site.server.log().count("on_worker_reload ran") == 1


async def test_a_session_that_cannot_be_read_costs_its_own_connection_only(site: Site) -> None:
    await site.enter(10)
    odd, *site.sockets = site.sockets
    odd.send_text("odd")
    assert await odd.read_message()
    assert await site.ctl("reload") == 0
    assert site.pid not in await site.all_go_on()
    assert (await odd.wait_closed()).code == 1012


async def test_what_the_application_sends_while_nobody_may_write_arrives(site: Site) -> None:
    await site.enter(5)
    site.order("on_offer", "0.3")
    site.order("tick")
    assert await site.ctl("reload") == 0
    await until_async((site.directory / f"sent-{site.pid}").exists, what="the old worker's own count")
    sent = json.loads((site.directory / f"sent-{site.pid}").read_text())
    for socket, most in zip(site.sockets, sent, strict=True):
        for number in range(1, most + 1):
            assert await socket.read_message() == f"{site.pid} tick {number}"
        assert not str(await socket.read_message()).startswith(str(site.pid))


# ---- odd clients -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a long frame", "fragments"])
async def test_a_client_in_the_middle_of_a_message_is_waited_for(site: Site, kind: str) -> None:
    [socket] = await site.enter(1)
    whole = frame(BINARY, bytes(60_000))
    if kind == "fragments":
        whole = frame(TEXT, b"a" * 30_000, fin=False) + frame(0, b"b" * 30_000)
    socket.send_bytes(whole[:50_000])
    reload = asyncio.create_task(site.ctl("reload"))
    await until_async(lambda: len(site.server.pids) == 2 or reload.done(), 20, "the new worker is there")
    await until_async(lambda: "draining" in site.server.states(), what="the handover began")
    socket.send_bytes(whole[50_000:])
    assert str(await socket.read_message()).split(" ")[1:] == ["1", "60000"]
    assert await reload == 0
    assert site.pid not in await site.all_go_on(count=2)


async def test_a_client_that_is_slowed_down_loses_no_answer(
    chatmaster: Make, tmp_path: Path, stack: AsyncExitStack
) -> None:
    site = Site(chatmaster, tmp_path, stack, **{"limits.rate": 100.0, "limits.burst": 5})
    [socket] = await site.enter(1)
    reload = asyncio.create_task(site.ctl("reload"))
    pids = set()
    for number in range(1, 401):
        socket.send_text("x")
        socket.send_text("x") if number % 2 else None
        pid, count, _ = str(await socket.read_message()).split(" ")
        assert int(count) == number
        pids.add(pid)
        if reload.done() and len(pids) == 2:
            break
    assert await reload == 0
    assert len(pids) == 2


async def test_clients_that_have_not_said_hello_move_too(chatmaster: Make) -> None:
    server = chatmaster(workers=1)
    pid = server.pids[0]
    async with await ChatSocket.open(server.url) as silent, await RawSocket.dial(server.url) as half:
        half.send_bytes(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        await half.drain()
        reload = asyncio.create_task(asyncio.to_thread(server.ctl, "reload"))
        await until_async(lambda: "draining" in server.states(), 20, "the handover began")
        half.send_bytes(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        assert (await half.read_head())[0] == 101
        assert (await reload).returncode == 0
        assert server.pids != [pid]
        for socket in (silent, ChatSocket(half.reader, half.writer)):
            socket.send_json({"type": "hello", "rooms": [{"room": "lobby"}]})
            assert "lobby" in [room["room"] for room in (await socket.expect("welcome"))["rooms"]]
            assert (await socket.ask(type="say", room="lobby", text="in"))["type"] == "ack"
        assert "could not be handed over" not in server.log()


# ---- replacements ------------------------------------------------------------------------------------


async def test_a_deaf_worker_hands_its_connections_to_its_replacement(site: Site) -> None:
    sockets = await site.enter(10)
    sockets[0].send_text("deaf")
    assert await sockets[0].read_message()
    await site.moved()
    sockets.pop(0)
    assert site.pid not in await site.all_go_on()
    assert "is replaced: it hears nothing" in site.server.log()


@pytest.mark.parametrize("limit", [{"server.max_lifetime": 3.0}, {"server.max_memory": 1_000_000}])
async def test_a_worker_that_is_too_old_or_too_large_keeps_no_client_from_its_chat(
    chatmaster: Make, tmp_path: Path, stack: AsyncExitStack, limit: dict[str, object]
) -> None:
    site = Site(chatmaster, tmp_path, stack, **limit)
    await site.enter(10)
    await site.moved()
    assert site.pid not in await site.all_go_on()
    assert "could not be handed over" not in site.server.log()
