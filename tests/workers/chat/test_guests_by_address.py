"""What holds for a guest holds for the address, over two workers: bans, mutes and slow mode, each for itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import jwt
import pytest

from chatmaster.cli import control_client
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket

SECRET = "a secret of more than thirty-two characters"
CONFIG = """
[[rooms]]
match = "slow-*"
slow_mode = 30
"""

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    settings = {"auth.secret": SECRET, "server.trusted_proxies": ["127.0.0.1"], "limits.rate": 0}
    made = Chatmaster(workers=2, settings=settings, config=CONFIG)
    try:
        yield made.start()
    finally:
        made.close()


def query(server: Chatmaster, what: str, **args: Any) -> list[dict[str, Any]]:
    """What the workers answer to chatctl."""
    answer = control_client.call(server.state_dir / "chat.sock", "query", {"what": what, "args": args}, timeout=10.0)
    return list(answer.get("rows", ()))


async def comes(server: Chatmaster, address: str, *rooms: str, **how: Any) -> ChatSocket:
    """A guest, or with a token a user, from that address."""
    return await ChatSocket.enter(server.url, *rooms, headers={"X-Forwarded-For": address}, **how)


def token(user: str, **claims: Any) -> str:
    return jwt.encode({"sub": user, "name": user.title(), "exp": time.time() + 60, **claims}, SECRET, algorithm="HS256")


async def is_kept_out(server: Chatmaster, address: str) -> bool:
    """Whether a new guest from there is turned away, whichever worker it meets."""
    for _ in range(4):
        async with await ChatSocket.open(server.url, headers={"X-Forwarded-For": address}) as other:
            other.send_json({"type": "hello"})
            if (await other.receive_json())["type"] != "banned":
                return False
    return True


async def is_let_in(server: Chatmaster, address: str) -> bool:
    for _ in range(4):
        async with await ChatSocket.open(server.url, headers={"X-Forwarded-For": address}) as other:
            other.send_json({"type": "hello"})
            if (await other.receive_json())["type"] == "banned":
                return False
    return True


async def says(socket: ChatSocket, room: str) -> str:
    """How it goes: `ack`, or the error's code."""
    answer = await socket.ask(type="say", room=room, text="x")
    return str(answer.get("code", answer["type"]))


async def heard(socket: ChatSocket, room: str, how: str) -> bool:
    return await says(socket, room) == how


async def test_two_bans_of_one_address_are_two(server: Chatmaster):
    """A ban of 3 s of A lifted B's, which had no end; and so did an unban of A."""
    address = "192.0.2.1"
    async with await comes(server, address) as first, await comes(server, address) as second:
        server.ctl("ban", second.user, "--reason", "for ever")
        server.ctl("ban", first.user, "--seconds", "2")
        assert (await first.wait_closed()).code == (await second.wait_closed()).code == 4003
    await until_async(partial(is_kept_out, server, address), what="the address is banned")
    rows = query(server, "sanctions")
    assert {(row["kind"], row["user"], row["address"], row["reason"]) for row in rows} >= {
        ("ban", first.user, address, ""), ("ban", second.user, address, "for ever")
    }  # fmt: skip
    server.ctl("unban", first.user)
    assert await is_kept_out(server, address), "the other ban holds on"
    server.ctl("ban", first.user, "--seconds", "1")
    short = next(row for row in query(server, "sanctions") if row["user"] == first.user)
    assert short["until"] == pytest.approx(short["since"] + 1) and short["by"] == "operator:chatctl"
    await until_async(lambda: first.user not in {row["user"] for row in query(server, "sanctions")})
    assert await is_kept_out(server, address), "what is over takes nothing along"
    server.ctl("unban", second.user)
    await until_async(partial(is_let_in, server, address), what="both are over")
    assert not [row for row in query(server, "sanctions") if row["user"] in (first.user, second.user)]


async def test_a_mute_holds_a_guest_who_comes_back_as_another(server: Chatmaster):
    address = "192.0.2.2"
    async with await comes(server, address, "m-1") as guest:
        server.ctl("mute", guest.user)
        await until_async(partial(heard, guest, "m-1", "muted"))
        async with await comes(server, "192.0.2.3", "m-1") as neighbour:
            assert await says(neighbour, "m-1") == "ack"
        async with await comes(server, address, "m-1", token=token("ann")) as ann:
            assert await says(ann, "m-1") == "ack", "who has a name of one's own is no guest"
    for _ in range(4):
        async with await comes(server, address, "m-1") as again:
            assert again.user != guest.user
            await until_async(partial(heard, again, "m-1", "muted"), what="the mute holds for the address")
    server.ctl("unmute", guest.user)
    async with await comes(server, address, "m-1") as free:
        await until_async(partial(heard, free, "m-1", "ack"))


async def test_a_mute_of_a_room_holds_there_only(server: Chatmaster):
    address = "192.0.2.4"
    async with await comes(server, address, "m-2", "m-3") as guest:
        server.ctl("mute", guest.user, "--room", "m-2")
        await until_async(partial(heard, guest, "m-2", "muted"))
        async with await comes(server, address, "m-2", "m-3") as other:
            await until_async(partial(heard, other, "m-2", "muted"))
            assert await says(other, "m-3") == "ack"


async def test_whether_anything_was_lifted_is_said(server: Chatmaster):
    admin = await comes(server, "192.0.2.5", token=token("boss", role="admin"))
    async with admin, await comes(server, "192.0.2.6", "m-4", token=token("bea")):
        for verb in ("ban", "mute"):
            for room in ("", "m-4"):
                where: dict[str, Any] = {"room": room} if room else {}
                nothing = await admin.ask(type=f"un{verb}", user="bea", **where)
                assert nothing["type"] == "ack" and nothing["lifted"] is False
                await admin.ask(type=verb, user="bea", seconds=60, **where)
                assert (await admin.ask(type=f"un{verb}", user="bea", **where))["lifted"] is True
    assert query(server, "unban", user="nobody-at-all") == [{"user": "nobody-at-all", "room": "", "lifted": False}]


async def test_slow_mode_holds_for_edits_and_for_another_guest_of_the_address(server: Chatmaster):
    address = "192.0.2.7"
    async with await comes(server, address, "slow-1", "fast") as guest:
        assert await says(guest, "slow-1") == "ack"
        offset = (await guest.ask(type="say", room="fast", text="x"))["offset"]
        refused = await guest.ask(type="edit", room="slow-1", offset=1, text="y")
        assert refused["code"] == "rate_limited" and 0 < refused["retry_after_ms"] <= 30_000
        assert (await guest.ask(type="edit", room="fast", offset=offset, text="y"))["type"] == "ack"
        assert (await guest.ask(type="delete", room="slow-1", offset=1))["type"] == "ack"
        async with await comes(server, address, "slow-1") as other:
            assert await says(other, "slow-1") == "rate_limited"
        async with await comes(server, "192.0.2.8", "slow-1") as neighbour:
            assert await says(neighbour, "slow-1") == "ack"
        async with await comes(server, address, "slow-1", token=token("cid")) as cid:
            said = await cid.ask(type="say", room="slow-1", text="x", key="k")
            assert said["type"] == "ack"
            again = await cid.ask(type="say", room="slow-1", text="x", key="k")
            assert again["duplicate"] is True, "a retry is no second message"


async def test_an_edit_takes_a_turn_of_slow_mode_and_may_be_repeated(server: Chatmaster):
    async with await comes(server, "192.0.2.9", token=token("dan")) as dan:
        await dan.ask(type="join", room="slow-2")
        assert (await dan.ask(type="say", room="slow-2", text="x"))["type"] == "ack"
        boss = await comes(server, "192.0.2.9", "slow-2", token=token("mod", role="moderator"))
        async with boss:
            for number in range(3):
                answer = await boss.ask(type="edit", room="slow-2", offset=1, text=f"y{number}")
                assert answer["type"] == "ack", "slow mode is not for moderators"


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("2001:db8:1:2::3", "2001:db8:1:2:ffff::9", "2001:db8:1:3::3"),
        ("::ffff:198.51.100.1", "198.51.100.1", "198.51.100.2"),
    ],
)
async def test_an_ipv6_client_is_its_network_and_a_mapped_address_what_it_maps(
    server: Chatmaster, first: str, same: str, other: str
):
    async with await comes(server, first, "slow-6") as guest:
        assert await says(guest, "slow-6") == "ack"
        async with await comes(server, same, "slow-6") as again:
            assert await says(again, "slow-6") == "rate_limited"
        server.ctl("ban", guest.user)
        await until_async(partial(is_kept_out, server, same))
        assert await is_let_in(server, other)
        server.ctl("unban", guest.user)
        await until_async(partial(is_let_in, server, same))
