"""A whole server on a Redis Cluster: everything a client and an operator do, a node away, a slot that moves."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from chatmaster.store import layout
from chatmaster.store.layout import shard_of, slot_of
from tests.support.cluster import ClusterServer
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket
from workers import Gateway
from workers.async_gateway import AsyncGateway


@pytest.fixture
def cluster() -> Iterator[ClusterServer]:
    directory = Path(tempfile.mkdtemp(prefix="cluster-"))
    with ClusterServer(directory / "c") as made:
        yield made
    shutil.rmtree(directory, ignore_errors=True)


def room_of(cluster: ClusterServer, number: int) -> str:
    """A room of the master of that number."""
    node = cluster.masters[number]
    return next(room for room in (f"r{at}" for at in range(999)) if node.owns(slot_of(shard_of(room))))


async def are_members(socket: ChatSocket, room: str, users: set[str]) -> bool:
    members = await socket.ask(type="members", room=room)
    return {one["user"] for one in members["members"]} == users


async def test_rooms_users_gateways_and_the_operator_over_three_nodes(
    cluster: ClusterServer, chatmaster: Callable[..., Chatmaster]
) -> None:
    server = chatmaster(workers=2, settings={"store.url": cluster.url})
    rooms = [room_of(cluster, number) for number in range(3)]
    async with (
        await ChatSocket.enter(server.url, *rooms, name="Ann") as ann,
        await ChatSocket.enter(server.url, *rooms, name="Ben") as ben,
    ):
        for number, room in enumerate(rooms):
            ack = await ann.ask(type="say", room=room, text=f"hi {number}", key=f"k{number}")
            assert ack["type"] == "ack"
            again = await ann.ask(type="say", room=room, text=f"hi {number}", key=f"k{number}")
            assert again["duplicate"] and again["offset"] == ack["offset"]
            assert (await ben.expect("message", room=room))["text"] == f"hi {number}"
            assert (await ben.ask(type="react", room=room, offset=ack["offset"], emoji="+"))["type"] == "ack"
            await until_async(partial(are_members, ben, room, {ann.user, ben.user}), 20, "both are members")
            history = await ben.ask(type="history", room=room, limit=10)
            assert [one["text"] for one in history["messages"]] == [f"hi {number}"]
        assert (await ann.ask(type="direct", to=ben.user, text="secret", key="d"))["type"] == "ack"
        assert (await ben.expect("message", text="secret"))["from"]["user"] == ann.user
        with Gateway(cluster.url) as gateway:
            await until_async(lambda: gateway.online() == 2, 20, "both connections are counted")
            await until_async(lambda: gateway.is_online(ann.user), 20, "the user is online")
            gateway.say(rooms[1], "from outside", user="cron", key="g1")
            assert (await ann.expect("message", room=rooms[1], text="from outside"))["from"]["user"] == "cron"
        async with AsyncGateway(cluster.url) as other:
            assert [one["text"] for one in await other.history(rooms[1])] == ["hi 1", "from outside"]
        server.ctl("reload")
        assert (await ann.ask(type="say", room=rooms[2], text="after"))["type"] == "ack"
        assert (await ben.expect("message", room=rooms[2], text="after"))["room"] == rooms[2]
    doctor = server.ctl("doctor").stdout
    assert "256 on 3 masters" in doctor, doctor
    assert server.status()["store"]["state"] == "ready"


async def test_a_node_that_is_away_makes_only_its_rooms_unavailable(
    cluster: ClusterServer, chatmaster: Callable[..., Chatmaster]
) -> None:
    server = chatmaster(workers=1, settings={"store.url": cluster.url, "store.timeout": 1.0})
    control = {slot_of(shard_of(room)) for room in ("!control", "!incarnations", "!names", "!chat", "!all-connections")}
    number = next(at for at, node in enumerate(cluster.masters) if not all(node.owns(slot) for slot in control))
    gone, there = room_of(cluster, number), room_of(cluster, (number + 1) % 3)
    async with await ChatSocket.enter(server.url, gone, there, name="Ann") as ann:
        assert (await ann.ask(type="say", room=gone, text="1"))["type"] == "ack"
        cluster.masters[number].kill()
        refused = await ann.ask(type="say", room=gone, text="2", key="two", timeout=20)
        assert (refused["type"], refused["code"]) == ("error", "unavailable")
        assert (await ann.ask(type="say", room=there, text="3"))["type"] == "ack"
        doctor = server.ctl("doctor").stdout
        assert "are served by no node" in doctor, doctor
        cluster.masters[number].start()

        async def kept() -> bool:
            return bool((await ann.ask(type="say", room=gone, text="2", key="two", timeout=20))["type"] == "ack")

        await until_async(kept, 30, "the room is back")
        history = await ann.ask(type="history", room=gone, limit=10)
        assert [one["text"] for one in history["messages"]] == ["1", "2"]


async def test_a_direct_message_is_finished_by_its_retry_whichever_step_failed(
    cluster: ClusterServer, chatmaster: Callable[..., Chatmaster]
) -> None:
    server = chatmaster(workers=1, settings={"store.url": cluster.url, "store.timeout": 1.0})
    async with (
        await ChatSocket.enter(server.url, "lobby", name="Ann") as ann,
        await ChatSocket.enter(server.url, "lobby", name="Ben") as ben,
    ):
        for user, reached in ((ann.user, 1), (ben.user, 0)):  # the sender's inbox, the second step; the receiver's
            inbox = f"@{user}"
            client = cluster.master_of(slot_of(shard_of(inbox))).client
            meta, key = layout.key("chat", inbox, "meta"), f"k{reached}"
            existed = client.exists(meta) and client.rename(meta, f"{meta}-kept")
            client.set(meta, "no hash")
            refused = await ann.ask(type="direct", to=ben.user, text=key, key=key, timeout=20)
            assert (refused["type"], refused["code"]) in {("error", "refused"), ("error", "unavailable")}
            client.delete(meta)
            if existed:
                client.rename(f"{meta}-kept", meta)
            for duplicate in (False, True):
                ack = await ann.ask(type="direct", to=ben.user, text=key, key=key, timeout=20)
                assert ack["type"] == "ack" and ack.get("duplicate", False) == duplicate, ack
            for socket in (ann, ben):
                history = await socket.ask(type="history", room=f"@{socket.user}", limit=10)
                assert [one["text"] for one in history["messages"]].count(key) == 1
