"""Several Workers of one program: each has its own connections, which all processes of the program reach."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.integration.test_names import Told
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from workers import Gateway, InstanceNotRunning

PROGRAM = Path(__file__).parent / "programs" / "two.py"


@pytest.fixture
def admin_url(monkeypatch: pytest.MonkeyPatch) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("ADMIN_ADDRESS", url)
    return url


@pytest.fixture
def program(chatmaster: Callable[..., Chatmaster], admin_url: str) -> Chatmaster:
    return chatmaster(str(PROGRAM), workers=2)


async def test_a_worker_means_its_own_connections_wherever_it_is_asked(program: Chatmaster, admin_url: str) -> None:
    async with AsyncExitStack() as stack:
        fronts = [await stack.enter_async_context(await Told.open(program.url)) for _ in range(4)]
        admins = [await stack.enter_async_context(await Told.open(f"{admin_url}/")) for _ in range(2)]
        for client in (*fronts, *admins):
            await client.do("connection.join", "hall")
            await client.do("connection.bind", "ada")
        for asker in (*fronts, *admins):
            assert await asker.do("front.online") == 4 and await asker.do("admin.online") == 2
            assert await asker.do("front.members", "hall") == [{"user": "ada", "name": "ada", "connections": 4}]
            assert await asker.do("admin.members", "hall") == [{"user": "ada", "name": "ada", "connections": 2}]
            assert await asker.do("front.is_online", "ada") and not await asker.do("admin.is_online", "bob")
        # From a process of either Worker to the connections of either, and to no others.
        for asker in (fronts[0], admins[0]):
            for target, own in (("front", fronts), ("admin", admins)):
                sent = [f"{verb} {target}" for verb in ("broadcast", "room", "user")]
                await asker.do(f"{target}.broadcast", sent[0])
                await asker.do(f"{target}.send_to_room", "hall", sent[1])
                await asker.do(f"{target}.send_to_user", "ada", sent[2])
                for client in own:
                    if client is not asker:  # which has passed over what came before its answers
                        assert sorted([str(await client.read_message()) for _ in sent]) == sorted(sent)
        assert not await admins[0].do("admin.is_online", "bob")
        await admins[1].do("connection.unbind")
        members = await fronts[0].do("admin.members", "hall")
        assert {one["user"]: one["connections"] for one in members} == {"": 1, "ada": 1}
        for _ in range(3):  # the first one's room, whichever process is the liveliest
            rows = program.ask("who", "hall", "--worker", "front")
            assert rows == [{"worker": "front", "user": "ada", "name": "ada", "connections": 4}]
        ids = {row["user"]: row["id"] for row in program.ask("connections")}
        await fronts[0].do("admin.send_to_connection", ids[""], "for one")
        assert await admins[1].read_message() == "for one"
        await fronts[0].do("admin.kick", ids[""])
        assert (await admins[1].wait_closed()).code == 4003
        url = program.status()["store"]["url"]
        with Gateway(url) as plain, Gateway(url, worker="admin") as gateway:
            await until_async(lambda: (plain.online(), gateway.online()) == (4, 1), what="one is gone")
            gateway.broadcast("by gateway")
            assert await admins[0].read_message() == "by gateway"
        with Gateway(url, worker="front") as first, Gateway(url, worker="back") as nobody:
            assert first.online() == 4 and first.send_to_room("hall", "by name").offset
            for client in fronts:
                assert await client.read_message() == "by name"
            with pytest.raises(InstanceNotRunning, match="runs no Worker of the name 'back'"):
                nobody.online()


async def test_what_does_not_run_here_says_where_it_does(program: Chatmaster) -> None:
    async with await Told.open(program.url) as client:
        client.send_text(json.dumps(["admin.connections"]))
        assert "runs in other processes" in str(await client.read_message())
