"""Two hosts on one store: two masters with directories of their own, the same name and the same `store.url`."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.server import Chatmaster
from tests.support.store import RedisServer
from tests.support.wait import until, until_async
from tests.support.ws import ChatSocket, Refused

Make = Callable[..., Chatmaster]
LONG = 30.0  # seconds


@pytest.fixture
def pair(redis_server: Callable[..., RedisServer], chatmaster: Make) -> tuple[Chatmaster, Chatmaster]:
    """The hosts `one` and `two`; they differ in a setting that should be the same everywhere."""
    url = redis_server(tcp=True).tcp_url
    settings = {"store.url": url, "auth.secret": "0123456789abcdef0123456789abcdef"}
    one = chatmaster(workers=1, settings={**settings, "master.host": "one"})
    two = chatmaster(workers=1, settings={**settings, "master.host": "two", "limits.burst": 41})
    return one, two


def ready(server: Chatmaster, query: str = "") -> int:
    try:
        with urllib.request.urlopen(f"{server.http}/ready{query}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def hosts(server: Chatmaster) -> dict[str, Any]:
    return {row["host"]: row for row in server.ask("status", "--cluster")["hosts"]}


async def test_all_hosts_are_seen_from_any_of_them(pair: tuple[Chatmaster, Chatmaster]) -> None:
    one, two = pair
    async with await ChatSocket.enter(two.url, "lobby", name="Ada"):
        until(lambda: hosts(one)["two"]["connections"] == 1, LONG, what="host one sees the connection of host two")
        seen = hosts(one)
        assert {name: (row["state"], row["here"], row["workers"]) for name, row in seen.items()} == {
            "one": ("ready", True, 1),
            "two": ("ready", False, 1),
        }
        assert seen["two"]["addresses"] == [f"ws://127.0.0.1:{two.port}"]
        assert seen["two"]["capacity"] > 100
        assert seen["two"]["pid"] == two.pid
        (row,) = one.ask("connections", "--cluster", "--room", "lobby")
        assert (row["host"], row["slot"], "lobby" in row["rooms"]) == ("two", 0, True)
        assert one.ask("connections", "--room", "lobby") == []

    found = json.loads(one.ctl("doctor", "--cluster", "--json").stdout)
    differing = {row["what"]: row["found"] for row in found if row["where"] == "all hosts" and row["level"] == "wrong"}
    assert differing == {"limits.burst": "40 on one; 41 on two"}
    assert "0123456789abcdef" not in json.dumps(found)
    assert [row["found"].partition(", ")[2] for row in found if row["what"] == "store memory"] == ["no limit"]

    two.kill()
    until(lambda: hosts(one)["two"]["state"] == "lost", LONG, what="the killed host counts as lost")
    assert one.ctl("status", "--cluster", "--check").returncode == 1
    two.start()
    until(lambda: hosts(one)["two"]["state"] == "ready", LONG, what="the host is back")
    assert two.stop() == 0
    until(lambda: list(hosts(one)) == ["one"], LONG, what="a host that was stopped in order is no member")


def test_right_after_its_start_a_host_counts_its_workers(chatmaster: Make) -> None:
    server = chatmaster(workers=2)
    done = server.ctl("status", "--cluster", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_drained_host_is_not_ready_then_its_clients_leave(pair: tuple[Chatmaster, Chatmaster]) -> None:
    one, two = pair
    async with await ChatSocket.enter(two.url, "lobby", name="Ada") as client:
        assert one.ctl("drain", "three").returncode == 1
        done = one.ctl("drain", "two", "--notice", "600")
        assert done.returncode == 0, done.stderr
        until(lambda: ready(two) == 503, LONG, what="the host is not ready")
        assert ready(two, "?drained=404") == 404
        assert ready(one) == 200
        # Until the notice is over the clients stay, and may even come: the balancer may not have looked yet.
        async with await ChatSocket.enter(two.url, name="Bea"):
            pass
        until(lambda: hosts(two)["two"]["state"] == "draining", LONG, what="who came and went is gone")
        assert two.status()["master"]["state"] == "draining"

        assert one.ctl("drain", "two", "--undo").returncode == 0
        until(lambda: ready(two) == 200, LONG, what="the host is ready again")
        assert two.status()["master"]["state"] == "ready"

        assert one.ctl("drain", "two", "--notice", "0", "--seconds", "0.5").returncode == 0
        bye = await client.expect("bye")
        assert bye["code"] == 1012
        assert bye["retry_after_ms"] <= 1000
    await until_async(lambda: hosts(one)["two"]["state"] == "drained", LONG, what="no client is left")
    with pytest.raises(Refused) as refused:
        await ChatSocket.open(two.url)
    assert refused.value.status == 503
    two.ctl("restart")
    assert ready(two) == 503, "a drained host stays drained over a restart"


def test_a_drain_can_end_with_a_stop(pair: tuple[Chatmaster, Chatmaster]) -> None:
    one, two = pair
    done = one.ctl("drain", "two", "--notice", "0", "--seconds", "0", "--stop", "--wait")
    assert done.returncode == 0, done.stderr
    until(lambda: not two.running, LONG, what="the server of the host has ended")
    two.start()
    assert ready(two) == 200, "the order ended with the stop"
    assert hosts(one)["two"]["state"] == "ready"


def test_two_masters_of_one_name_are_told_apart(redis_server: Callable[..., RedisServer], chatmaster: Make) -> None:
    settings = {"store.url": redis_server(tcp=True).tcp_url, "master.host": "same"}
    one = chatmaster(workers=1, settings=settings)
    chatmaster(workers=1, settings=settings)
    until(lambda: hosts(one)["same"]["contested"], LONG, what="both are seen")
    assert one.ask("status", "--cluster")["faults"][0]["what"] == "two masters call themselves same"
    assert "another master calls itself same" in one.log()
