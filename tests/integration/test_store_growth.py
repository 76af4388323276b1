"""What clients can make the store keep: each flood is a bounded number of requests, and the store is measured after it.

A flood of guests leaves nothing, or what is over within a short time, or a bounded size.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import jwt

from chatmaster.store import layout
from tests.support.server import Chatmaster
from tests.support.store import RedisServer
from tests.support.wait import until_async
from tests.support.ws import ChatSocket

Make = Callable[..., Chatmaster]
MakeStore = Callable[..., RedisServer]
SECRET = "a secret of more than thirty-two characters"
SHORT = 3600  # seconds: what is over by then does not grow
UNLIMITED = {"limits.rate": 0.0, "limits.rooms_per_connection": 1000}


def lasting(store: RedisServer) -> set[bytes]:
    """The keys that are there for longer than a short time."""
    return {key for key in store.client.scan_iter(count=1000) if not 0 <= store.client.ttl(key) <= SHORT}


async def test_rooms_into_which_nobody_wrote_leave_nothing(redis_server: MakeStore, chatmaster: Make) -> None:
    store = redis_server(tcp=True)
    server = chatmaster(workers=1, settings={"store.url": store.tcp_url, **UNLIMITED})
    async with await ChatSocket.enter(server.url, "lobby", name="Ada") as client:
        await client.ask(type="say", room="lobby", text="kept")
        before = lasting(store)
        for number in range(200):
            answer = await client.ask(type="history", room=f"made-up-{number}")
            assert answer["messages"] == []
        assert not list(store.client.scan_iter("*made-up*", count=1000)), "a look at a room makes no key"
        for number in range(200):
            assert (await client.ask(type="join", room=f"joined-{number}"))["offset"] == 0
        made = list(store.client.scan_iter("*joined-*/meta", count=1000))
        assert len(made) == 200, "a position that was handed out is known"
        assert max(store.client.ttl(key) for key in made) <= 240
        # What is written into one of them is kept as in any other room.
        await client.ask(type="say", room="joined-7", text="first")
        assert store.client.ttl(layout.key("chat", "joined-7", "meta")) > 7 * 86_400
        assert (await client.expect("message", room="joined-7"))["offset"] == 1
    # Presence lasts as long as the connection, and a moment.
    await until_async(
        lambda: {key for key in lasting(store) - before if b":joined-" in key and b":joined-7/" not in key} == set(),
        30.0,
        "all is over soon",
    )


async def test_who_comes_back_to_a_forgotten_room_has_lost_nothing(redis_server: MakeStore, chatmaster: Make) -> None:
    store = redis_server(tcp=True)
    server = chatmaster(workers=1, settings={"store.url": store.tcp_url})
    async with await ChatSocket.enter(server.url, "quiet", name="Ada") as client:
        epoch = (await client.ask(type="history", room="quiet"))["epoch"]
        # As if nobody had followed the room for some minutes.
        store.client.delete(layout.key("chat", "quiet", "meta"))
        assert (await client.ask(type="say", room="quiet", text="first"))["offset"] == 1
        assert (await client.expect("message", room="quiet"))["text"] == "first"
    async with await ChatSocket.enter(server.url, name="Bea") as other:
        joined = await other.ask(type="join", room="quiet", since={"epoch": epoch, "offset": 0})
        assert joined["recovered"] is True
        assert (await other.expect("message", room="quiet"))["text"] == "first"


async def test_a_reaction_costs_the_same_however_fat_the_others_are(redis_server: MakeStore, chatmaster: Make) -> None:
    store = redis_server(tcp=True)
    server = chatmaster(workers=1, settings={"store.url": store.tcp_url, **UNLIMITED})
    async with await ChatSocket.enter(server.url, "hall", name="Ada") as client:
        await client.ask(type="say", room="hall", text="bare")
        full = (await client.ask(type="say", room="hall", text="full"))["offset"]
        for number in range(17):
            async with await ChatSocket.enter(server.url, "hall", name=f"{number:02}{chr(0x1F600) * 30}") as other:
                for face in range(15):
                    emoji = "".join(map(chr, (0x1F469, 0x200D, 0x2764, 0xFE0F, 0x200D, 0x1F468 + face)))
                    done = await other.ask(type="react", room="hall", offset=full, emoji=emoji)
                    assert done["type"] == "ack", done
        costs = []
        for target in (1, full):
            store.client.config_resetstat()
            for number in range(40):
                done = await client.ask(
                    type="react", room="hall", offset=target, emoji="\U0001f389", remove=number % 2 == 1
                )
                assert done["type"] == "ack"
            costs.append(spent(store))
        assert costs[1] - costs[0] < 0.001, (
            f"{costs[0] * 1e6:.0f} µs on a bare message, {costs[1] * 1e6:.0f} on a full one"
        )
        size = store.client.memory_usage(layout.key("chat", "hall", "overlay"), samples=0)
        assert size is not None and size < 64_000, f"the state of two messages takes {size} bytes"


def spent(store: RedisServer) -> float:
    """The store's time for each script since the last reset, in seconds, without the probes'."""
    found = store.client.info("commandstats")["cmdstat_evalsha"]
    return float(found["usec_per_call"]) / 1e6


async def test_what_belongs_to_guests_is_over_soon(redis_server: MakeStore, chatmaster: Make) -> None:
    store = redis_server(tcp=True)
    server = chatmaster(workers=1, settings={"store.url": store.tcp_url, "store.guest_ttl": 60, **UNLIMITED})
    marks = layout.key("chat", "hall", "marks")
    for number in range(30):
        async with await ChatSocket.enter(server.url, "hall", name=f"Guest {number}") as guest:
            said = await guest.ask(type="say", room="hall", text="here")
            await guest.ask(type="direct", to=guest.user, text="to myself")
            guest.send_json({"type": "read", "room": "hall", "offset": said["offset"]})
            await guest.expect("read", user=guest.user)
            token = guest.welcome["token"]
    async with await ChatSocket.enter(server.url, "hall", token=token) as guest:
        (hall,) = (one for one in guest.welcome["rooms"] if one["room"] == "hall")
        assert hall["read"] == said["offset"], "a guest who comes back has the position"
        assert guest.welcome["name"] == "Guest 29"
    assert not store.client.exists(marks), "guests' positions are not beside those of users, which stay"
    assert (
        store.client.hlen(layout.key("chat", "hall", "guest-marks:0"))
        + store.client.hlen(layout.key("chat", "hall", "guest-marks:1"))
        == 31
    )
    assert list(store.client.scan_iter("*@guest*/log", count=1000))
    # A connection that was just closed counts for a moment.
    await until_async(lambda: {key for key in lasting(store) if b"@guest" in key} == set(), 30.0, "nothing lasts")
    # The older positions go as new ones come: as if the guests' ttl had passed before each of two more reads.
    hashes = layout.keys("chat", "hall", "guest-marks:0", "guest-marks:1")
    for _ in range(2):
        there = sorted(filter(store.client.exists, hashes), key=lambda key: int(store.client.hget(key, "!from") or 0))
        for age, key in enumerate(there):
            store.client.hset(key, "!from", 1000 + age)
        async with await ChatSocket.enter(server.url, "hall") as guest:
            guest.send_json({"type": "read", "room": "hall", "offset": 30})
            await guest.expect("read", user=guest.user)
    assert sum(store.client.hlen(key) for key in hashes) == 4, "two guests, and the two beginnings"


async def test_the_embedded_store_says_that_it_fills_and_is_bounded(chatmaster: Make) -> None:
    limit = 24_000_000
    server = chatmaster(workers=1, settings={"store.max_memory": limit, **UNLIMITED})
    letter = "x" * 60_000
    async with await ChatSocket.enter(server.url, name="Ada") as client:
        assert server.status()["faults"] == []
        told, answers = 0, []
        for number in range(600):
            answer = await client.ask(type="direct", to=f"made-up-{number}", text=letter)
            answers.append(answer["type"])
            if not told and any("of the 24 MB" in row["what"] for row in server.status()["faults"]):
                told = number
            if answer["type"] == "error":
                assert answer["code"] == "refused"
                break
        assert answers[-1] == "error", "a full store refuses"
        assert 0 < told < len(answers) - 10, "the alarm comes long before"
        before = server.status()["store"]["memory"]
        for number in range(100):
            answer = await client.ask(type="direct", to=f"more-{number}", text=letter)
            assert (answer["type"], answer["code"]) == ("error", "refused")
        assert server.status()["store"]["memory"] - before < 2_000_000, "what is refused takes nothing"
        assert (await client.ask(type="history", room="lobby"))["type"] == "history"
    assert "the store takes" in server.log()
    assert server.ctl("status", "--check").returncode == 1
    assert f"chatmaster_store_max_memory_bytes {limit}" in metrics(server)


async def test_letters_to_made_up_users_are_bounded_for_all_guests_of_an_address(
    redis_server: MakeStore, chatmaster: Make
) -> None:
    store = redis_server(tcp=True)
    settings = {"store.url": store.tcp_url, "limits.guest_bytes": 3_000_000, **UNLIMITED}
    server = chatmaster(workers=2, settings=settings)
    sizes = []
    for guest in range(4):
        async with await ChatSocket.enter(server.url, "lobby", name=f"Guest {guest}") as client:
            answers = [
                await client.ask(type="direct", to=f"made-up-{guest}-{number}", text="x" * 20_000)
                for number in range(100)
            ]
            assert answers[-1]["code"] == "limit_reached"
            answer = await client.ask(type="say", room="lobby", text="this, too")
            assert answer["code"] == "limit_reached"
        sizes.append(store.client.info("memory")["used_memory_dataset"])
    # What two workers may exceed it by, and what connections take.
    assert sizes[0] < 8_000_000
    assert sizes[3] - sizes[0] < 1_000_000, f"the store went on growing: {sizes}"


async def test_a_flood_of_letters_pushes_nobody_elses_out_of_an_inbox(
    redis_server: MakeStore, chatmaster: Make
) -> None:
    store = redis_server(tcp=True)
    settings = {"store.url": store.tcp_url, "store.history_size": 100, "auth.secret": SECRET, **UNLIMITED}
    server = chatmaster(workers=1, settings=settings)
    async with (
        await ChatSocket.enter(server.url, "lobby", token=token_of("ada")) as ada,
        await ChatSocket.enter(server.url, "lobby", token=token_of("ben")) as ben,
    ):
        seen = (await ben.ask(type="direct", to="ada", text="ben 0"))["offset"]
        for number in range(1, 10):
            await ben.ask(type="direct", to="ada", text=f"ben {number}")
        for guest in range(12):
            async with await ChatSocket.enter(server.url, "lobby", name=f"Guest {guest}") as client:
                for number in range(60):
                    done = await client.ask(type="direct", to="ada", text=f"flood {number}")
                    assert done["type"] == "ack", done
        page = await ada.ask(type="history", room="@ada", after=0, limit=100)
        texts = [one["text"] for one in page["messages"]]
        assert texts[:10] == [f"ben {number}" for number in range(10)]
        assert len(texts) == 100
        # A reaction to what stayed still reaches both sides.
        first = page["messages"][0]["offset"]
        assert (await ada.ask(type="react", room="@ada", offset=first, emoji="\U0001f389"))["type"] == "ack"
        assert (await ben.expect("reacted", room="@ben"))["target"] == seen
    # Whoever comes back is told that what is missing may have been messages.
    async with await ChatSocket.open(server.url) as ada:
        since = {"epoch": page["epoch"], "offset": first}
        ada.send_json({"type": "hello", "token": token_of("ada"), "rooms": [{"room": "@ada", "since": since}]})
        gap = await ada.expect("gap", room="@ada")
        assert "changes" not in gap and gap["from"] > 10


async def test_rooms_that_guests_write_to_are_bounded(redis_server: MakeStore, chatmaster: Make) -> None:
    store = redis_server(tcp=True)
    settings = {"store.url": store.tcp_url, "limits.guest_rooms": 64, **UNLIMITED}
    server = chatmaster(workers=1, settings=settings)
    for guest in range(2):
        async with await ChatSocket.enter(server.url, name=f"Guest {guest}") as client:
            for number in range(100):
                room = f"room-{guest}-{number}"
                await client.ask(type="join", room=room)
                await client.ask(type="say", room=room, text="first")
    assert 64 <= len(list(store.client.scan_iter("*room-*/log", count=1000))) <= 72


async def test_what_an_api_key_may_have_kept_in_a_day_is_bounded(redis_server: MakeStore, chatmaster: Make) -> None:
    store = redis_server(tcp=True)
    settings = {"store.url": store.tcp_url, "api.key_bytes": 300_000, "api.key_rooms": 40}
    server = chatmaster(workers=1, settings=settings)
    keys = [server.ctl("apikey", "add", name, "--rate", "0").stdout.strip() for name in ("one", "two", "three")]

    def said(key: str, room: str, text: str) -> int:
        return called(server, key, "say", {"room": room, "text": text})[0]

    answers = [said(keys[0], "hall", "x" * 20_000) for _ in range(20)]
    assert answers[:14] == [200] * 14 and answers[-1] == 422
    assert 40 <= [said(keys[1], f"room-{number}", "first") for number in range(60)].count(200) <= 44
    assert said(keys[2], "hall", "of another key") == 200
    status, refused = called(server, keys[0], "notify", {"user": "ada", "text": "this, too"})
    assert status == 422 and refused["code"] == "limit_reached"
    assert called(server, keys[0], "history", {"room": "hall"})[0] == 200, "reading goes on"


def called(server: Chatmaster, key: str, verb: str, body: dict[str, Any]) -> tuple[int, Any]:
    """The status and the answer of a verb."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    url = f"{server.http}/api/v1/{verb}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=20) as got:
            return got.status, json.load(got)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def token_of(user: str) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + 600}, SECRET, algorithm="HS256")


def metrics(server: Chatmaster) -> str:
    with urllib.request.urlopen(f"{server.http}/metrics", timeout=10) as answer:
        return str(answer.read().decode())
