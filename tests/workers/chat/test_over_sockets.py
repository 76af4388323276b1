"""Every request of the protocol over real sockets: two workers, a real store, users on both."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import jwt
import pytest

from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket
from workers import Gateway

SECRET = "a secret of more than thirty-two characters"
CONFIG = """
[[rooms]]
match = "slow-*"
slow_mode = 30

[[rooms]]
match = "news"
say = ["role:moderator"]

[[rooms]]
match = "staff"
join = ["role:moderator"]

[[rooms]]
match = "tiny"
message_size = 10

[[rooms]]
match = "two"
members = 2

[[rooms]]
match = "hidden-two"
members = 2
presence = false

[[rooms]]
match = "hidden"
presence = false
"""

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    settings = {
        "auth.secret": SECRET, "limits.hello_timeout": 1.0, "limits.per_user": 6, "chat.presence_interval": 0.05,
        "limits.rate": 200, "limits.burst": 400,
        "auth.leeway": 0,  # a token that ends does so within the test
    }  # fmt: skip
    made = Chatmaster(workers=2, settings=settings, config=CONFIG)
    try:
        yield made.start()
    finally:
        made.close()


def token(user: str, **claims: Any) -> str:
    return jwt.encode({"sub": user, "name": user.title(), "exp": time.time() + 60, **claims}, SECRET, algorithm="HS256")


@asynccontextmanager
async def people(server: Chatmaster, room: str, *users: str, **how: Any) -> AsyncIterator[list[ChatSocket]]:
    """Users in a room; those called mod… are moderators."""
    sockets = []
    try:
        for user in users:
            role = "moderator" if user.startswith("mod") else "user"
            rooms = (room,) if room else ()
            sockets.append(await ChatSocket.enter(server.url, *rooms, token=token(user, role=role), **how))
        yield sockets
    finally:
        for one in sockets:
            one.abort()


async def see(socket: ChatSocket, kind: str, **fields: Any) -> dict[str, Any]:
    """A push that has come already, or comes now."""
    for message in socket.passed:
        if message.get("type") == kind and all(message.get(key) == value for key, value in fields.items()):
            socket.passed.remove(message)
            return message
    return await socket.expect(kind, **fields)


async def test_hello_welcomes_with_everything(server: Chatmaster):
    async with people(server, "r-hello", "alice") as (alice,):
        welcome = alice.welcome
        assert (welcome["user"], welcome["name"], welcome["role"]) == ("alice", "Alice", "user")
        assert [room["room"] for room in welcome["rooms"]] == ["@alice", "r-hello"]
        assert welcome["rooms"][1]["members"] == 1 and welcome["ping_interval"] == 25
        assert abs(welcome["server_time"] / 1000 - time.time()) < 10 and "token" not in welcome


async def test_a_guest_comes_back_as_the_same_guest(server: Chatmaster):
    async with await ChatSocket.enter(server.url) as guest:
        welcome = guest.welcome
    async with await ChatSocket.enter(server.url, token=welcome["token"]) as again:
        assert (again.user, again.welcome["name"]) == (guest.user, welcome["name"])


async def test_whoever_says_something_else_first_is_welcomed_as_a_guest(server: Chatmaster):
    async with await ChatSocket.open(server.url) as person:
        person.send_text('{"type":"join","room":"r-first","id":1}')
        person.send_text('{"type":"say","room":"r-first","text":"hi","id":2}')
        assert (await person.receive_json())["type"] == "welcome"
        assert (await person.receive_json())["type"] == "joined"
        await person.expect("ack", id=2)


async def test_silence_is_welcomed_too(server: Chatmaster):
    async with await ChatSocket.open(server.url) as person:
        assert (await person.receive_json())["user"].startswith("guest:")


async def test_join_and_leave(server: Chatmaster):
    async with people(server, "", "alice", "bob") as (alice, bob):
        for one in (alice, bob):
            joined = await one.ask(type="join", room="r-join")
            assert (joined["type"], joined["offset"]) == ("joined", 0)
        assert (await see(alice, "presence", room="r-join", count=2))["joined"]
        assert (await alice.ask(type="leave", room="r-join"))["type"] == "left"
        assert (await alice.ask(type="say", room="r-join", text="x"))["code"] == "not_joined"
        assert (await alice.ask(type="leave", room="r-join"))["code"] == "not_joined"
        gone = await see(bob, "presence", room="r-join", count=1)
        assert gone["left"] == [{"user": "alice", "name": "Alice"}]


async def test_say_reaches_everyone_once_and_a_retry_nobody(server: Chatmaster):
    async with people(server, "r-say", "alice", "alice", "bob") as sockets:
        alice, _, bob = sockets
        await until_async(partial(_sees, alice, bob.user, "r-say"))
        ack = await alice.ask(type="say", room="r-say", text="<i>hi</i> @Bob", key="k1")
        assert (ack["type"], ack["room"], ack["offset"]) == ("ack", "r-say", 1) and "duplicate" not in ack
        again = await alice.ask(type="say", room="r-say", text="<i>hi</i> @Bob", key="k1")
        assert again["duplicate"] is True and again["offset"] == 1
        other = await alice.ask(type="say", room="r-say", text="other", key="k1")
        assert (other["code"], other["field"]) == ("bad_request", "key")
        for one in sockets:
            message = await see(one, "message", room="r-say")
            assert message["text"] == "<i>hi</i> @Bob" and message["mentions"] == ["bob"]
            assert message["from"] == {"user": "alice", "name": "Alice"}
            assert message.get("key") == (None if one is bob else "k1")
        await alice.ask(type="say", room="r-say", data={"a": [1, None]}, reply_to=1)
        second = await see(bob, "message", room="r-say")
        assert (second["offset"], second["data"], second["reply_to"]) == (2, {"a": [1, None]}, 1)


async def _sees(socket: ChatSocket, user: str, room: str) -> bool:
    return user in [one["user"] for one in (await socket.ask(type="members", room=room))["members"]]


async def test_what_was_missed_comes_after_the_joined(server: Chatmaster):
    async with people(server, "r-since", "alice") as (alice,):
        first = await alice.ask(type="say", room="r-since", text="1")
        for text in ("2", "3"):
            await alice.ask(type="say", room="r-since", text=text)
        async with people(server, "", "bob") as (bob,):
            since = {"epoch": first["epoch"], "offset": 1}
            joined = await bob.ask(type="join", room="r-since", since=since)
            assert joined["recovered"] is True and joined["offset"] == 3
            assert [(await bob.expect("message", room="r-since"))["text"] for _ in range(2)] == ["2", "3"]
            future = await bob.ask(type="join", room="r-since", since={"epoch": first["epoch"], "offset": 99})
            assert future["recovered"] is False
            await see(bob, "reset", room="r-since")


async def test_direct_messages_reach_both_sides_and_wait(server: Chatmaster):
    async with people(server, "", "alice", "alice") as (alice, twin):
        ack = await alice.ask(type="direct", to="carol", text="psst", key="d1")
        assert ack["room"] == "@alice"
        again = await alice.ask(type="direct", to="carol", text="psst", key="d1")
        assert again["duplicate"] is True
        copy = await see(twin, "message", room="@alice", to="carol")
        assert (copy["text"], copy["offset"]) == ("psst", ack["offset"])
        async with people(server, "", "carol") as (carol,):
            assert carol.welcome["rooms"][0]["unread"] == 1
            history = await carol.ask(type="history", room="@carol")
            assert [(one["text"], one["from"]["user"]) for one in history["messages"]] == [("psst", "alice")]
        assert (await alice.ask(type="history", room="@carol"))["code"] == "forbidden"
        assert (await alice.ask(type="join", room="@carol"))["code"] == "forbidden"


async def test_a_key_used_with_other_content_does_nothing_on_either_side(server: Chatmaster):
    async with people(server, "", "alice", "bert", "cleo") as (alice, bert, cleo):
        ack = await alice.ask(type="direct", to="bert", text="one", key="x1")
        theirs = (await see(bert, "message", room="@bert"))["offset"]
        for request in (
            {"type": "direct", "to": "cleo", "text": "one"},
            {"type": "direct", "to": "alice", "text": "one"},
            {"type": "edit", "room": "@alice", "offset": ack["offset"], "text": "two"},
        ):
            refused = await alice.ask(**request, key="x1")
            assert (refused["code"], refused["field"]) == ("bad_request", "key")
        assert (await alice.ask(type="react", room="@alice", offset=ack["offset"], emoji="a", key="x2"))["offset"]
        refused = await alice.ask(type="react", room="@alice", offset=ack["offset"], emoji="b", key="x2")
        assert refused["field"] == "key"
        assert (await cleo.ask(type="history", room="@cleo"))["messages"] == []
        (message,) = (await bert.ask(type="history", room="@bert"))["messages"]
        assert (message["offset"], message["text"], message["reactions"]) == (theirs, "one", {"a": ["alice"]})
        alice.send_json({"type": "direct", "to": "cleo", "text": "three", "key": "x3", "id": 1})
        alice.send_json({"type": "direct", "to": "bert", "text": "three", "key": "x3", "id": 2})
        answers: dict[int, Any] = {}  # in any order
        while len(answers) < 2:
            answer = await alice.receive_json()
            if "id" in answer:
                answers[answer["id"]] = answer
        assert (answers[1]["type"], answers[1]["room"]) == ("ack", "@alice")
        assert (answers[2]["type"], answers[2]["field"]) == ("error", "key")


async def test_what_changes_a_direct_message_changes_both_copies(server: Chatmaster):
    async with people(server, "", "alice", "nora") as (alice, nora):
        await nora.ask(type="direct", to="nora", text="a note to myself")
        own = (await alice.ask(type="direct", to="nora", text="one", key="m1"))["offset"]
        theirs = (await see(nora, "message", room="@nora", text="one"))["offset"]
        assert (await alice.ask(type="edit", room="@alice", offset=own, text="two", key="m2"))["room"] == "@alice"
        assert (await see(nora, "edited", room="@nora", target=theirs))["text"] == "two"
        assert (await nora.ask(type="edit", room="@nora", offset=theirs, text="x"))["code"] == "forbidden"
        await until_async(partial(_reacts, nora, "@nora", theirs))
        assert (await see(alice, "reacted", room="@alice", target=own))["emoji"] == "x"
        assert (await alice.ask(type="delete", room="@alice", offset=own))["type"] == "ack"
        await see(nora, "deleted", room="@nora", target=theirs)
        history = (await nora.ask(type="history", room="@nora"))["messages"]
        assert [one.get("deleted", False) for one in history] == [False, True]
        assert (await alice.ask(type="edit", room="@alice", offset=own, text="x"))["code"] == "not_found"
        assert (await nora.ask(type="edit", room="@nora", offset=1, text="to me"))["type"] == "ack"


async def test_an_answer_to_a_direct_message_has_its_place_on_both_sides(server: Chatmaster):
    async with people(server, "", "ann", "ben", "cem") as (ann, ben, cem):
        await ann.ask(type="direct", to="ann", text="a note, so that offsets differ")
        own = (await ann.ask(type="direct", to="ben", text="one"))["offset"]
        theirs = (await see(ben, "message", room="@ben", text="one"))["offset"]
        assert own != theirs
        assert (await ben.ask(type="direct", to="ann", text="two", reply_to=theirs, key="answer"))["type"] == "ack"
        assert (await see(ann, "message", room="@ann", text="two"))["reply_to"] == own
        assert (await see(ben, "message", room="@ben", text="two"))["reply_to"] == theirs
        more = await ann.ask(
            type="direct", to="ben", text="three", reply_to=own, epoch=ann.welcome["rooms"][0]["epoch"]
        )
        assert more["type"] == "ack"  # an answer to one's own message
        assert (await see(ben, "message", room="@ben", text="three"))["reply_to"] == theirs
        for wrong in ({"reply_to": own, "to": "cem"}, {"reply_to": own + 99, "to": "ben"}):
            refused = await ann.ask(type="direct", text="no", **wrong)
            assert (refused["code"], refused["field"]) == ("not_found", "reply_to")
        assert (await cem.ask(type="history", room="@cem"))["messages"] == []


async def test_who_writes_directly_hears_of_typing_and_reading(server: Chatmaster):
    async with people(server, "", "dora", "emil", "fay") as (dora, emil, fay):
        await emil.ask(type="direct", to="emil", text="a note")
        own = (await dora.ask(type="direct", to="emil", text="one"))["offset"]
        theirs = (await see(emil, "message", room="@emil", text="one"))["offset"]
        emil.send_json({"type": "typing", "room": "@dora"})
        assert (await see(dora, "typing", room="@dora"))["user"] == "emil"
        fay.send_json({"type": "read", "room": "@dora", "offset": theirs})  # nothing was written to fay
        assert (await fay.expect("error"))["code"] == "not_found"
        emil.send_json({"type": "read", "room": "@dora", "offset": theirs})
        assert (await see(dora, "read", room="@dora", user="emil"))["offset"] == own


async def _reacts(socket: ChatSocket, room: str, offset: int) -> bool:
    return bool((await socket.ask(type="react", room=room, offset=offset, emoji="x"))["type"] == "ack")


async def test_a_guest_who_is_banned_does_not_come_back_as_another(server: Chatmaster):
    source = "127.0.0.9"
    async with await ChatSocket.enter(server.url, source=source) as guest:
        server.ctl("ban", guest.user, "--reason", "spam")
        assert (await guest.wait_closed()).code == 4003
        await until_async(partial(_is_banned, server, source))
        async with people(server, "", "alice", source=source) as (alice,):
            assert alice.user == "alice"  # a user who happens to have the same address
        server.ctl("unban", guest.user)
        async with await ChatSocket.enter(server.url, source=source) as back:
            assert back.user != guest.user


async def test_a_guest_who_is_banned_from_a_room_does_not_come_back_to_it_as_another(server: Chatmaster):
    source = "127.0.0.10"
    async with await ChatSocket.enter(server.url, "r-guests", source=source) as guest:
        server.ctl("ban", guest.user, "--room", "r-guests")
        await see(guest, "left", room="r-guests")
        for _ in range(4):
            await until_async(partial(_is_kept_out, server, source, "r-guests"))
        async with await ChatSocket.enter(server.url, "r-guests", source="127.0.0.11") as other:
            assert [one["room"] for one in other.welcome["rooms"]] == [f"@{other.user}", "r-guests"]
        server.ctl("unban", guest.user, "--room", "r-guests")
        async with await ChatSocket.enter(server.url, "r-guests", source=source) as back:
            assert [one["room"] for one in back.welcome["rooms"]] == [f"@{back.user}", "r-guests"]


async def _is_kept_out(server: Chatmaster, source: str, room: str) -> bool:
    """By hello, and then by join as well."""
    async with await ChatSocket.enter(server.url, room, source=source) as other:
        if any(one["room"] == room for one in other.welcome["rooms"]):
            return False
        assert (await other.expect("error"))["code"] == "banned"
        return bool((await other.ask(type="join", room=room))["code"] == "banned")


async def test_a_guest_who_has_left_is_banned_by_address_all_the_same(server: Chatmaster):
    source = "127.0.0.12"
    async with await ChatSocket.enter(server.url, source=source) as guest:
        pass
    await until_async(lambda: not [row for row in server.ask("connections") if row["user"] == guest.user])
    await until_async(partial(_is_away, server, guest.user))
    server.ctl("ban", guest.user)
    for _ in range(4):
        await until_async(partial(_is_banned, server, source))
    server.ctl("unban", guest.user)
    async with await ChatSocket.enter(server.url, source=source) as back:
        assert back.user != guest.user


async def _is_away(server: Chatmaster, user: str) -> bool:
    with Gateway(server.status()["store"]["url"]) as gateway:
        return not gateway.is_online(user)


async def _is_banned(server: Chatmaster, source: str) -> bool:
    async with await ChatSocket.open(server.url, source=source) as other:
        other.send_json({"type": "hello"})
        return bool((await other.receive_json())["type"] == "banned")


async def test_edit_delete_and_react_are_for_the_author_or_a_moderator(server: Chatmaster):
    async with people(server, "r-edit", "alice", "bob", "mod-e") as (alice, bob, moderator):
        await alice.ask(type="say", room="r-edit", text="one")
        await alice.ask(type="say", room="r-edit", text="two")
        assert (await bob.ask(type="edit", room="r-edit", offset=1, text="x"))["code"] == "forbidden"
        assert (await bob.ask(type="delete", room="r-edit", offset=9))["code"] == "not_found"
        assert (await alice.ask(type="edit", room="r-edit", offset=1, text="1"))["offset"] == 3
        assert (await bob.ask(type="react", room="r-edit", offset=1, emoji="👍"))["offset"] == 4
        assert (await moderator.ask(type="delete", room="r-edit", offset=2))["offset"] == 5
        assert (await alice.ask(type="edit", room="r-edit", offset=2, text="x"))["code"] == "not_found"
        assert (await see(bob, "edited", room="r-edit"))["text"] == "1"
        assert (await see(alice, "reacted", room="r-edit"))["emoji"] == "👍"
        assert (await see(alice, "deleted", room="r-edit"))["target"] == 2
        one, two = (await bob.ask(type="history", room="r-edit"))["messages"]
        assert (one["text"], one["reactions"]) == ("1", {"👍": ["bob"]}) and one["edited"] >= one["time"]
        assert two["deleted"] is True and "text" not in two
        await bob.ask(type="react", room="r-edit", offset=1, emoji="👍", remove=True)
        assert "reactions" not in (await bob.ask(type="history", room="r-edit"))["messages"][0]


async def test_read_positions_survive_and_count_messages(server: Chatmaster):
    async with people(server, "r-read", "alice", "bob") as (alice, bob):
        for text in "123":
            await alice.ask(type="say", room="r-read", text=text)
        await alice.ask(type="react", room="r-read", offset=1, emoji="x")
        bob.send_json({"type": "read", "room": "r-read", "offset": 2})
        assert await see(alice, "read", room="r-read", user="bob", offset=2)
        bob.send_json({"type": "read", "room": "r-read", "offset": 1})
        await alice.ask(type="say", room="r-read", text="4")
        async with people(server, "r-read", "bob") as (again,):
            room = again.welcome["rooms"][1]
            assert (room["read"], room["unread"], room["offset"]) == (2, 2, 5)
        bob.send_json({"type": "read", "room": "r-read", "offset": 999})
        assert await see(alice, "read", room="r-read", user="bob", offset=5)
        assert (await bob.ask(type="join", room="r-read"))["unread"] == 0


async def test_typing_is_told_to_the_room(server: Chatmaster):
    async with people(server, "r-typing", "alice", "bob") as (alice, bob):
        alice.send_json({"type": "typing", "room": "r-typing"})
        assert (await see(bob, "typing", room="r-typing"))["user"] == "alice"


async def test_history_pages_both_ways(server: Chatmaster):
    async with people(server, "r-history", "alice") as (alice,):
        for number in range(1, 8):
            await alice.ask(type="say", room="r-history", text=str(number))
        await alice.ask(type="edit", room="r-history", offset=7, text="7!")

        async def texts(**asked: Any) -> tuple[list[str], bool]:
            answer = await alice.ask(type="history", room="r-history", **asked)
            return [one["text"] for one in answer["messages"]], answer["more"]

        assert await texts() == (["1", "2", "3", "4", "5", "6", "7!"], False)
        assert await texts(limit=3) == (["5", "6", "7!"], True)
        assert await texts(before=5, limit=2) == (["3", "4"], True)
        assert await texts(before=1) == ([], False)
        assert await texts(after=0, limit=2) == (["1", "2"], True)
        assert await texts(after=6) == (["7!"], False)


async def test_members_lists_users_once(server: Chatmaster):
    async with people(server, "r-members", "alice", "alice", "bob") as (alice, _, bob):

        async def everyone() -> list[tuple[str, int]]:
            answer = await bob.ask(type="members", room="r-members")
            return sorted((one["user"], one["connections"]) for one in answer["members"])

        assert ("bob", 1) in await everyone()
        await until_async(lambda: _equal(everyone, [("alice", 2), ("bob", 1)]))
        assert (await alice.ask(type="members", room="elsewhere"))["code"] == "not_joined"
        await alice.ask(type="join", room="hidden")
        assert (await alice.ask(type="members", room="hidden"))["code"] == "forbidden"


async def _equal(get: Any, expected: Any) -> bool:
    return bool(await get() == expected)


async def test_rename_shows_in_what_follows(server: Chatmaster):
    async with people(server, "r-rename", "alice", "bob") as (alice, bob):
        assert (await alice.ask(type="rename", name="Queen"))["type"] == "ack"
        await alice.ask(type="say", room="r-rename", text="x")
        assert (await see(bob, "message", room="r-rename"))["from"] == {"user": "alice", "name": "Queen"}
        renewed = await alice.ask(type="hello", name="King")
        assert (renewed["type"], renewed["name"]) == ("welcome", "King")
        assert (await alice.ask(type="hello", token=token("bob")))["code"] == "unauthorized"


async def test_a_new_name_is_that_of_all_connections_of_the_user(server: Chatmaster):
    async with people(server, "r-names", *["alice"] * 4, "bob") as (alice, *twins, bob):
        assert (await alice.ask(type="rename", name="Duchess"))["type"] == "ack"
        for one in twins:
            told = await see(one, "presence", room="@alice")
            assert told["renamed"] == [{"user": "alice", "name": "Duchess"}]
            await one.ask(type="say", room="r-names", text="x")
            assert (await see(bob, "message", room="r-names"))["from"]["name"] == "Duchess"
        async with people(server, "r-names", "alice") as (late,):
            assert late.welcome["name"] == "Duchess"  # and not as the token says
        async with await ChatSocket.enter(server.url, token=token("alice"), name="Countess"):
            for one in (alice, *twins):
                told = await see(one, "presence", room="@alice")
                while told["renamed"][0]["name"] == "Duchess":
                    told = await see(one, "presence", room="@alice")
                assert told["renamed"] == [{"user": "alice", "name": "Countess"}]
        assert not [one for one in alice.passed if one["type"] == "presence" and one["room"] == "@alice"]


async def test_whoever_gives_two_names_at_once_ends_up_with_one(server: Chatmaster):
    async with people(server, "r-both", *["alice"] * 4) as sockets:
        for number in range(20):
            names = [f"Alice {number} {letter}" for letter in "abcd"]
            requests = zip(sockets, names, strict=True)
            await asyncio.gather(*(one.ask(type="rename", name=name) for one, name in requests))
        borne = set()
        for one in sockets:
            # By then each has been told by the last order of all, which the control room has for everybody.
            await until_async(partial(_called_as_kept, server, one))
            ack = await one.ask(type="say", room="r-both", text="x")
            borne.add((await see(one, "message", room="r-both", offset=ack["offset"]))["from"]["name"])
        assert len(borne) == 1 and borne <= set(names)


async def _called_as_kept(server: Chatmaster, socket: ChatSocket) -> bool:
    async with people(server, "", "alice") as (late,):
        return bool((await socket.ask(type="hello"))["name"] == late.welcome["name"])


async def test_whoever_was_there_before_a_worker_came_can_be_mentioned(server: Chatmaster):
    async with people(server, "r-early", "nina") as (nina,):
        await nina.ask(type="rename", name="Ninotschka")
        await until_async(lambda: [one["name"] for one in server.ask("who", "r-early")] == ["Ninotschka"])
        server.ctl("reload")  # every worker is a new one: nobody has told it of anyone
        async with people(server, "r-early", *["alice"] * 4) as others:
            for one in others:
                await until_async(partial(_mentions, one, "nina"))


async def _mentions(socket: ChatSocket, user: str) -> bool:
    ack = await socket.ask(type="say", room="r-early", text="@Ninotschka, are you there?")
    return (await see(socket, "message", offset=ack["offset"])).get("mentions") == [user]


async def test_a_new_guest_is_told_what_is_unread_where_the_connection_joins_again(server: Chatmaster):
    async with await ChatSocket.enter(server.url) as guest, people(server, "r-fresh", "alice") as (alice,):
        assert (await guest.ask(type="join", room="r-fresh"))["type"] == "joined"
        await guest.ask(type="leave", room="r-fresh")
        await alice.ask(type="say", room="r-fresh", text="while you were away")
        assert (await guest.ask(type="join", room="r-fresh"))["unread"] == 1


async def test_ping(server: Chatmaster):
    async with people(server, "", "alice") as (alice,):
        assert (await alice.ask(type="ping"))["type"] == "pong"


async def test_rooms_have_rules(server: Chatmaster):
    async with people(server, "", "alice", "mod-r") as (alice, moderator):
        assert (await alice.ask(type="join", room="staff"))["code"] == "forbidden"
        assert (await moderator.ask(type="join", room="staff"))["type"] == "joined"
        await alice.ask(type="join", room="news")
        assert (await alice.ask(type="say", room="news", text="x"))["code"] == "forbidden"
        await alice.ask(type="join", room="tiny")
        assert (await alice.ask(type="say", room="tiny", text="x" * 11))["code"] == "too_large"
        await alice.ask(type="join", room="slow-1")
        assert (await alice.ask(type="say", room="slow-1", text="a", key="s1"))["type"] == "ack"
        assert (await alice.ask(type="say", room="slow-1", text="a", key="s1"))["duplicate"] is True
        refused = await alice.ask(type="say", room="slow-1", text="b", key="s2")
        assert refused["code"] == "rate_limited" and 0 < refused["retry_after_ms"] <= 30_000


@pytest.mark.parametrize("text", ["x" * 65_536, "\x01" * 65_536, "é" * 32_768, '"' * 65_536])
async def test_a_text_of_the_size_shown_passes_and_one_more_is_too_large(server: Chatmaster, text: str):
    async with people(server, "size", "alice", "bob") as (alice, bob):
        ack = await alice.ask(type="say", room="size", text=text)
        assert ack["type"] == "ack"
        assert (await see(bob, "message", offset=ack["offset"]))["text"] == text
        assert (await alice.ask(type="say", room="size", text=text + "x"))["code"] == "too_large"
        assert (await alice.ask(type="ping"))["type"] == "pong"


@pytest.mark.parametrize("room", ["two", "hidden-two"])
async def test_a_full_room_is_full_by_every_way_in_but_not_for_who_is_inside(server: Chatmaster, room: str):
    async with people(server, "", "alice", "bob", "carol") as (alice, bob, carol):
        for one in (alice, bob):
            joined = await one.ask(type="join", room=room)
            assert joined["type"] == "joined" and ("members" in joined) is (room == "two")
        await until_async(lambda: len(server.ask("who", room)) == 2)  # the store knows of both
        assert (await carol.ask(type="join", room=room))["code"] == "limit_reached"
        for _ in range(4):  # on every worker
            async with await ChatSocket.open(server.url) as late:
                late.send_json({"type": "hello", "token": token("carol"), "rooms": [{"room": "x"}, {"room": room}]})
                assert [one["room"] for one in (await late.expect("welcome"))["rooms"]] == ["@carol", "x"]
                error = await late.expect("error")
                assert (error["code"], error["field"]) == ("limit_reached", "rooms[1].room")
            async with people(server, room, "alice") as (tab,):
                assert [one["room"] for one in tab.welcome["rooms"]] == ["@alice", room]
        await alice.ask(type="leave", room=room)
        await until_async(partial(_joins, carol, room))


async def test_a_kick_from_a_room_and_from_everything(server: Chatmaster):
    async with people(server, "r-kick", "mod-k", "dave", "dave", "mod-k2") as (moderator, dave, twin, other):
        assert (await dave.ask(type="kick", user="mod-k"))["code"] == "forbidden"
        assert (await moderator.ask(type="kick", user="mod-k2"))["code"] == "forbidden"
        assert (await moderator.ask(type="kick", room="r-kick", user="dave", reason="calm"))["type"] == "ack"
        for one in (dave, twin):
            assert (await see(one, "left", room="r-kick"))["reason"] == "calm"
        assert (await dave.ask(type="join", room="r-kick"))["type"] == "joined"
        assert (await moderator.ask(type="kick", user="dave", reason="out"))["type"] == "ack"
        for one in (dave, twin):
            bye = await see(one, "bye")
            assert (bye["code"], bye["reason"]) == (4003, "out")
            assert (await one.wait_closed()).code == 4003
        assert (await other.ask(type="ping"))["type"] == "pong"


async def test_a_ban_holds_on_every_worker_until_it_is_lifted(server: Chatmaster):
    async with people(server, "r-ban", "mod-b", "eve") as (moderator, eve):
        await moderator.ask(type="ban", room="r-ban", user="eve", reason="spam")
        assert "until" not in await see(eve, "banned", room="r-ban", reason="spam")
        assert (await see(eve, "left", room="r-ban"))["reason"] == "spam"
        assert (await eve.ask(type="join", room="r-ban"))["code"] == "banned"
        async with people(server, "r-ban", "eve") as (again,):
            assert [room["room"] for room in again.welcome["rooms"]] == ["@eve"]
            error = await again.expect("error")
            assert (error["code"], error["field"]) == ("banned", "rooms[0].room")
        await moderator.ask(type="unban", room="r-ban", user="eve")
        await until_async(lambda: _joins(eve, "r-ban"))
        await moderator.ask(type="ban", user="eve", seconds=3600)
        assert (await eve.wait_closed()).code == 4003
        for _ in range(4):
            async with await ChatSocket.open(server.url) as refused:
                refused.send_json({"type": "hello", "token": token("eve")})
                assert (await refused.expect("bye"))["code"] == 4003
        await moderator.ask(type="unban", user="eve")
        async with people(server, "", "eve") as (back,):
            assert back.user == "eve"
    actions = [(row["action"], row["by"]) for row in server.ask("audit", "--user", "eve")]
    assert actions == [(verb, "mod-b") for verb in ("unban", "ban", "unban", "ban")]


async def _joins(socket: ChatSocket, room: str) -> bool:
    return bool((await socket.ask(type="join", room=room))["type"] == "joined")


async def test_the_banned_are_told_why_and_until_when(server: Chatmaster):
    """At once, at a join, among the rooms of a hello, and where the ban of everywhere turns a hello away."""

    def is_an_hour(told: dict[str, Any]) -> bool:
        return bool(3500 < told["until"] / 1000 - time.time() < 3610)

    async with people(server, "r-why", "mod-w", "erik") as (moderator, erik):
        await moderator.ask(type="ban", room="r-why", user="erik", seconds=3600, reason="spam")
        assert is_an_hour(await see(erik, "banned", room="r-why", reason="spam"))
        await see(erik, "left", room="r-why")
        refused = await erik.ask(type="join", room="r-why")
        assert (refused["code"], refused["reason"]) == ("banned", "spam") and is_an_hour(refused)
        assert refused["message"] == "you are banned from this room for 60 min more: spam"
        assert 0 < refused["retry_after_ms"] <= 3_600_000
        async with people(server, "r-why", "erik") as (again,):
            assert is_an_hour(await again.expect("error", code="banned", reason="spam", field="rooms[0].room"))
        await moderator.ask(type="ban", user="erik", seconds=3600, reason="more spam")
        assert is_an_hour(await see(erik, "banned", reason="more spam"))
        assert (await see(erik, "bye"))["reason"] == "more spam"
        async with await ChatSocket.open(server.url) as late:
            late.send_json({"type": "hello", "token": token("erik")})
            assert is_an_hour(await see(late, "banned", reason="more spam"))
            assert (await late.wait_closed()).code == 4003


async def test_moderators_see_the_bans_and_mutes_that_hold(server: Chatmaster):
    async with people(server, "r-list", "mod-l", "finn") as (moderator, finn):
        assert (await finn.ask(type="sanctions", room="r-list"))["code"] == "forbidden"
        await moderator.ask(type="mute", room="r-list", user="finn", seconds=600, reason="loud")
        await moderator.ask(type="ban", room="r-list", user="gus")
        await moderator.ask(type="ban", user="gus", reason="everywhere")
        answer = await moderator.ask(type="sanctions", room="r-list")
        ban, mute = answer["sanctions"]
        assert (answer["type"], answer["count"], answer["truncated"]) == ("sanctions", 2, False)
        assert (ban["kind"], ban["user"], ban["by"], "until" in ban) == ("ban", "gus", "mod-l", False)
        assert (mute["kind"], mute["user"], mute["room"], mute["reason"]) == ("mute", "finn", "r-list", "loud")
        assert 500 < mute["until"] / 1000 - time.time() < 610
        everything = (await moderator.ask(type="sanctions"))["sanctions"]
        assert [one["reason"] for one in everything if one["user"] == "gus" and "room" not in one] == ["everywhere"]
        assert (await moderator.ask(type="unmute", user="finn", room="r-list"))["lifted"]
        assert (await moderator.ask(type="unban", user="gus", room="r-list"))["lifted"]
        assert (await moderator.ask(type="unban", user="gus"))["lifted"]
        assert (await moderator.ask(type="sanctions", room="r-list"))["sanctions"] == []


async def test_a_mute_keeps_quiet_and_ends(server: Chatmaster):
    async with people(server, "r-mute", "mod-m", "frank") as (moderator, frank):
        await moderator.ask(type="mute", room="r-mute", user="frank", seconds=600, reason="too loud")
        told = await frank.expect("muted", room="r-mute", reason="too loud")
        assert 590 < told["until"] / 1000 - time.time() < 610
        refused = await until_async(lambda: _muted(frank, "r-mute"))
        assert 0 < refused["retry_after_ms"] <= 600_000
        assert refused["message"] == "you are muted for 10 min more: too loud"
        await moderator.ask(type="unmute", room="r-mute", user="frank")
        await frank.expect("unmuted", room="r-mute")
        await moderator.ask(type="mute", user="frank")
        assert "until" not in await frank.expect("muted", reason="")
        await moderator.ask(type="unmute", user="frank")
        await until_async(lambda: _says(frank, "r-mute"))


async def _muted(socket: ChatSocket, room: str) -> dict[str, Any]:
    answer = await socket.ask(type="say", room=room, text="x")
    return answer if answer.get("code") == "muted" else {}


async def _says(socket: ChatSocket, room: str) -> bool:
    return bool((await socket.ask(type="say", room=room, text="x"))["type"] == "ack")


async def test_a_name_that_looks_like_a_moderators_is_refused_on_every_worker(server: Chatmaster):
    async with people(server, "", "mod-n", "gina", "gina", "gina") as (moderator, *others):
        await moderator.ask(type="rename", name="Boss")
        for one in others:
            await until_async(partial(_refused_name, one, "B\u043ess"))


async def _refused_name(socket: ChatSocket, name: str) -> bool:
    return (await socket.ask(type="rename", name=name)).get("field") == "name"


async def test_a_token_that_ends_ends_the_connection_unless_it_is_renewed(server: Chatmaster):
    async with await ChatSocket.enter(server.url, token=token("hugo", exp=time.time() + 1.5)) as hugo, \
            await ChatSocket.enter(server.url, token=token("hugo", exp=time.time() + 1.5)) as renewing:  # fmt: skip
        assert (await renewing.ask(type="hello", token=token("hugo")))["type"] == "welcome"
        assert (await hugo.expect("bye"))["code"] == 4001
        assert (await hugo.wait_closed()).code == 4001
        assert (await renewing.ask(type="ping"))["type"] == "pong"


async def test_a_wrong_token_is_4001_and_not_in_the_log(server: Chatmaster):
    wrong = jwt.encode({"sub": "alice"}, "another secret of more than thirty-two", algorithm="HS256")
    async with await ChatSocket.open(server.url) as person:
        person.send_json({"type": "hello", "token": wrong})
        assert (await person.expect("bye"))["code"] == 4001
        assert (await person.wait_closed()).code == 4001
    await until_async(lambda: "signature: another key" in server.log())
    assert wrong not in server.log() and wrong.split(".")[2] not in server.log()


async def test_too_many_connections_of_a_user_are_4004(server: Chatmaster):
    async with people(server, "", *["ivan"] * 6), await ChatSocket.open(server.url) as seventh:
        seventh.send_json({"type": "hello", "token": token("ivan")})
        assert (await seventh.expect("bye"))["code"] == 4004


async def test_a_flood_is_4009(server: Chatmaster):
    async with people(server, "", "judy") as (judy,):
        for _ in range(3000):
            judy.send_text('{"type":"ping"}')
        bye = await judy.expect("bye")
        assert bye["code"] == 4009 and bye["retry_after_ms"] > 0
        codes = {one.get("code", one["type"]) for one in judy.passed}
        assert codes == {"pong", "rate_limited"}


async def test_hostile_requests_cost_nobody_anything(server: Chatmaster):
    hostile = ["", "x", "{}", "[" * 60_000, '{"type":"say","room":"r-h","data":1e999}', '{"type":"ping","id":1e400}',
               '{"type":"say","room":"r-h","text":"\\ud800"}', '{"type":"join","room":"@bob"}']  # fmt: skip
    async with people(server, "r-h", "alice", "bob") as (alice, bob):
        for one in hostile:
            alice.send_text(one)
        codes = [(await alice.expect("error"))["code"] for _ in hostile]
        assert codes == ["bad_request"] * 7 + ["forbidden"]
        await alice.ask(type="say", room="r-h", text="still here")
        assert (await see(bob, "message", room="r-h"))["text"] == "still here"
    assert "Traceback" not in server.log()


async def test_the_operator_speaks_and_moderates(server: Chatmaster):
    async with people(server, "r-op", "kim") as (kim,):
        server.ctl("say", "r-op", "attention")
        message = await see(kim, "message", room="r-op")
        assert message["text"] == "attention" and message["from"]["name"] == "operator"
        server.ctl("kick", "kim", "--reason", "bye")
        assert (await kim.wait_closed()).code == 4003


async def test_pipelined_requests_are_answered_in_order(server: Chatmaster):
    async with await ChatSocket.open(server.url) as person:
        requests = [{"type": "hello"}, *({"type": "join", "room": f"r-p{n}"} for n in range(30)), {"type": "ping"}]
        for number, request in enumerate(requests):
            person.send_text(json.dumps({**request, "id": number}))
        ids: list[int] = []
        while len(ids) < len(requests):
            message = await person.receive_json()
            if "id" in message:
                ids.append(message["id"])
        assert ids == list(range(len(requests)))


async def test_many_leave_at_once_and_nothing_is_left(server: Chatmaster):
    sockets = [await ChatSocket.enter(server.url, "r-many") for _ in range(20)]
    for one in sockets:
        one.abort()
    async with people(server, "r-many", "lena") as (lena,):

        async def alone() -> bool:
            return bool((await lena.ask(type="members", room="r-many"))["count"] == 1)

        await until_async(alone)
    await asyncio.sleep(0)


async def test_unread_counts_neither_ones_own_messages_nor_deleted_ones(server: Chatmaster):
    async with people(server, "r-unread", "alice", "bob") as (alice, bob):
        bob.send_json({"type": "read", "room": "r-unread", "offset": 0})
        for text in "12":
            await bob.ask(type="say", room="r-unread", text=text)  # from another device, as the next one sees it
        for text in "34":
            await alice.ask(type="say", room="r-unread", text=text)
        await alice.ask(type="react", room="r-unread", offset=1, emoji="x")
        for expected, doomed in ((2, 3), (1, 4), (0, 0)):
            async with people(server, "r-unread", "bob") as (again,):
                assert again.welcome["rooms"][1]["unread"] == expected
            if doomed:
                await alice.ask(type="delete", room="r-unread", offset=doomed)
        for number in range(250):
            await alice.ask(type="say", room="r-unread", text=str(number))
        async with people(server, "r-unread", "bob") as (again,):
            assert again.welcome["rooms"][1]["unread"] == 250 + 2 + 2  # of the oldest all are counted


async def test_unread_direct_messages_are_those_of_others(server: Chatmaster):
    async with people(server, "", "alice", "bob") as (alice, bob):
        await bob.ask(type="direct", to="alice", text="1")
        sent = [await alice.ask(type="direct", to="bob", text=text) for text in "23"]
        async with people(server, "", "bob") as (again,):
            assert again.welcome["rooms"][0]["unread"] == 2
        await alice.ask(type="delete", room="@alice", offset=sent[0]["offset"])
        async with people(server, "", "bob") as (again,):
            assert again.welcome["rooms"][0]["unread"] == 1
