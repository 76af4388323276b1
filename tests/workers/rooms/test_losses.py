"""What was acknowledged and is gone after a failover, on a real master with a real replica."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chatmaster.settings import Settings, Store
from tests.support.store import RedisServer
from tests.support.wait import until as until_now
from tests.workers.rooms.conftest import Side, until
from tests.workers.rooms.test_outages import texts, told
from workers.bus.port import Position


class Pair:
    """A master and its replica; workers connect to whichever `point` names, by one path."""

    def __init__(self, directory: Path) -> None:
        at_once = ("--repl-diskless-sync-delay", "0")
        self.old = RedisServer(directory / "a", tcp=True, options=at_once).start()
        self.new = RedisServer(directory / "b", tcp=True, options=at_once).start()
        self.path = directory / "current"
        self.url = f"unix://{self.path}"
        self.point(self.old)
        self.new.client.replicaof("127.0.0.1", str(self.old.port))
        until_now(lambda: self.new.client.info("replication")["master_link_status"] == "up", what="the replica follows")

    def point(self, server: RedisServer) -> None:
        """Connections that are opened from now on go there."""
        link = self.path.with_suffix(".next")
        link.symlink_to(server.socket_path)
        os.replace(link, self.path)

    def in_step(self) -> None:
        """Wait until the replica has everything."""
        assert self.old.client.execute_command("WAIT", 1, 10_000) == 1

    def promote(self) -> None:
        """The replica takes no more from the master, and is one itself; the old one does not know."""
        self.new.client.replicaof("NO", "ONE")
        self.point(self.new)

    def close(self) -> None:
        self.old.kill()
        self.new.kill()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.close()


@pytest.fixture
async def two(pair: Pair) -> AsyncIterator[tuple[Side, Side]]:
    """Two workers."""
    made = [Side(pair, Settings(store=Store(url=pair.url))) for _ in range(2)]  # type: ignore[arg-type]
    for side in made:
        await side.start()
    yield made[0], made[1]
    for side in made:
        await side.stop()


async def say(side: Side, *words: str, room: str = "lobby") -> Any:
    """Each is acknowledged; the place of the last."""
    for word in words:
        placed = await side.publish(room, word, author="ann", key=word)
    return placed


def has(peer: Any, words: list[str]) -> bool:
    return texts(peer) == words


def pubsub_goes(server: RedisServer) -> None:
    """Subscriptions, and with them what is read, go to where the path leads now; commands stay."""
    server.client.client_kill_filter(_type="pubsub")


async def test_what_was_acknowledged_and_shown_to_nobody_is_told_when_it_is_lost(pair, two, connect, caplog):
    one, other = two
    peers = [await connect(side) for side in two]
    for peer in peers:
        await peer.join("lobby")
    await say(one, "kept 1", "kept 2")
    for peer in peers:
        await peer.has("lobby", 2)
    seen = other.hub.position("lobby")
    pair.in_step()
    pair.promote()
    pubsub_goes(pair.old)  # of both workers; the first goes on writing to the old master
    other.bus.servers[0].reconnect_all()
    await until(lambda: len(pair.new.client.client_list(_type="pubsub")) == 2)
    lost = await say(one, "lost 1", "lost 2", "lost 3")
    assert lost.offset == 5
    await until(lambda: other.bus.state == "ready")
    await say(other, "new 1", "new 2")
    for peer in peers:
        await peer.has("lobby", 4)
        assert (texts(peer), told(peer)) == (["kept 1", "kept 2", "new 1", "new 2"], [])  # nobody knows

    pair.old.kill()
    for side in two:
        side.hub.losses.store_changed()
    for peer in peers:
        await until(partial(told, peer))
    await say(other, "new 3")
    for peer in peers:
        await peer.has("lobby", 5)
        assert peer.messages()[-2]["type"] == "reset" and peer.messages()[-2]["offset"] == 5
        assert (told(peer), peer.messages()[-1]["offset"]) == (["reset"], 6)
    assert f"room lobby: what was acknowledged up to offset 5 of {lost.epoch} is lost" in caplog.text

    late = await connect(other)  # whoever comes back from before is told, too
    await late.join(("lobby", seen))
    await late.has("lobby", 3)
    assert told(late) == ["reset"]
    fresh = await connect(other)
    await fresh.join("lobby")
    assert await one.top("lobby") == 6 and not told(fresh)
    page = await one.bus.read("lobby", after=0, limit=100, max_bytes=1 << 20, messages_only=True)
    assert [entry.offset for entry in page.entries] == [1, 2, 3, 4, 6]


async def test_who_saw_what_is_lost_is_told_once(pair, two, connect):
    one, other = two
    saw, missed = await connect(one), await connect(other)
    for peer in (saw, missed):
        await peer.join("lobby", "quiet")
    await say(one, "kept")
    for peer in (saw, missed):
        await peer.has("lobby", 1)
    pair.in_step()
    pair.promote()
    other.bus.servers[0].reconnect_all()
    await until(lambda: other.bus.state == "ready" and other.hub.rooms["lobby"].current)
    await say(one, "lost")
    await saw.has("lobby", 2)
    pair.old.kill()
    await say(other, "new")
    await until(lambda: told(saw))
    for side in two:
        side.hub.losses.store_changed()
    await until(lambda: told(missed))
    for side in two:
        side.hub.losses.store_changed()  # as of several workers, and several times
    await say(other, "newer")
    for peer, words, news in (
        (
            saw,
            ["kept", "lost", "new", "newer"],
            ["reset", "gap"],
        ),  # the gap is the place of the note: it leaves no hole
        (missed, ["kept", "new", "newer"], ["reset"]),
    ):
        await until(partial(has, peer, words))
        assert told(peer) == news
    assert all(one["changes"] for one in saw.messages() if one["type"] == "gap")
    assert await one.top("lobby") == 4 and await one.top("quiet") == 0


async def test_a_failover_that_loses_nothing_is_told_to_nobody(pair, two, connect):
    one, other = two
    peer = await connect(other)
    await peer.join("lobby", "@ann")
    await say(one, "kept")
    await say(one, "kept", room="@ann")
    pair.in_step()
    pair.promote()
    pair.old.kill()
    await say(one, "new")
    done: list[Any] = []
    one.hub.losses.store_changed()
    one.bus.missing([("lobby", Position((await say(one, "newer")).epoch, 3))], done.append)
    await until(lambda: done)
    assert done == [[]]
    await peer.has("lobby", 3)
    assert not told(peer) and await one.top("@ann") == 1


async def test_a_lost_order_is_read_again(pair, two):
    """Who follows a room for the worker itself hears that something is missing."""
    one = two[0]
    heard: list[str] = []
    missed: list[bool] = []
    for side in two:
        side.hub.follow("!control", lambda entry: heard.append(entry.form), missed=lambda: missed.append(True))
    await until(lambda: all(side.hub.rooms["!control"].current for side in two))
    await say(one, "kept", room="!control")
    pair.in_step()
    pair.promote()
    pubsub_goes(pair.old)
    await until(lambda: len(pair.new.client.client_list(_type="pubsub")) == 2)
    await say(one, "lost", room="!control")
    pair.old.kill()
    one.hub.losses.store_changed()
    await until(lambda: len(missed) == 2)
    assert len(heard) == 2
