"""Who may come in, with tokens: what is refused and why, what a token allows, when it ends, and who is kept out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chatmaster.contract import ExitCode
from tests.support.server import Chatmaster
from tests.support.wait import until, until_async
from tests.support.ws import ChatSocket

Make = Callable[..., Chatmaster]

SECRET = "a secret of more than thirty-two characters"
ISSUER, AUDIENCE = "https://login.example", "chat"
ROLE_RULES = """
[[rooms]]
match = "slow-*"
slow_mode = 1.5

[[rooms]]
match = "staff"
join = ["role:moderator"]

[[rooms]]
match = "news"
say = ["role:moderator", "reporter-*"]
topic = "What is new"
"""

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    settings = {
        "auth.mode": "token", "auth.secret": SECRET, "auth.issuer": ISSUER, "auth.audience": AUDIENCE,
        "auth.leeway": 0,  # a token that ends does so within the test
        "limits.hello_timeout": 1.0, "limits.per_user": 3, "limits.rate": 0, "chat.presence_interval": 0.05,
    }  # fmt: skip
    with Chatmaster(workers=2, settings=settings, config=ROLE_RULES) as made:
        yield made


def claims(user: str, **more: Any) -> dict[str, Any]:
    """Good ones; a claim that is None is left out."""
    given = {"sub": user, "iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60, **more}
    return {name: value for name, value in given.items() if value is not None}


def token(user: str, **more: Any) -> str:
    return jwt.encode(claims(user, **more), SECRET)


def assembled(header: dict[str, Any], body: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token that PyJWT would not make."""
    head, tail = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, body))
    signature = base64.urlsafe_b64encode(sign(head + b"." + tail)).rstrip(b"=")
    return b".".join((head, tail, signature)).decode()


async def refusal(url: str, given: str | None) -> tuple[int, str]:
    """Say hello with a token that is not accepted: the code, twice the same, and the reason."""
    async with await ChatSocket.open(url) as person:
        person.send_json({"type": "hello", **({} if given is None else {"token": given})})
        bye = await person.receive_json()
        if bye["type"] == "banned":  # says until when, before the bye
            bye = await person.receive_json()
        assert bye["type"] == "bye", bye
        assert (await person.wait_closed()).code == bye["code"]
        return bye["code"], bye["reason"]


async def is_in(url: str, given: str) -> bool:
    async with await ChatSocket.open(url) as person:
        person.send_json({"type": "hello", "token": given})
        return bool((await person.receive_json())["type"] == "welcome")


@asynccontextmanager
async def people(server: Chatmaster, room: str, *users: str, **more: Any) -> AsyncIterator[list[ChatSocket]]:
    """Users in a room; those called mod… are moderators."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                await ChatSocket.enter(server.url, *([room] if room else []), token=token(one, **_role(one), **more))
            )
            for one in users
        ]


def _role(user: str) -> dict[str, str]:
    return {"role": "moderator"} if user.startswith("mod") else {}


# ---- who is let in ----------------------------------------------------------------------------------------


async def test_a_good_token_says_who_somebody_is(server: Chatmaster) -> None:
    good = token("ann@example.com", name="Ann", role="admin", aud=["x", AUDIENCE])
    async with await ChatSocket.enter(server.url, "hall", token=good) as ann:
        welcome = ann.welcome
        assert (welcome["user"], welcome["name"], welcome["role"]) == ("ann%40example.com", "Ann", "admin")
        assert [room["room"] for room in welcome["rooms"]] == ["@ann%40example.com", "hall"]
    assert (await refusal(server.url, token("x" * 65)))[0] == 4001


def _none(body: dict[str, Any]) -> str:
    return assembled({"alg": "none", "typ": "JWT"}, body, lambda _: b"")


def _hidden_none(body: dict[str, Any]) -> str:
    return assembled({"alg": "nOnE"}, body, lambda _: b"")


def _unsigned(body: dict[str, Any]) -> str:
    return assembled({"alg": "HS256"}, body, lambda _: b"")


def _altered(body: dict[str, Any]) -> str:
    head, _, signature = jwt.encode(body, SECRET).split(".")
    return ".".join((head, jwt.encode({**body, "role": "admin"}, SECRET).split(".")[1], signature))


def _other_algorithm(body: dict[str, Any]) -> str:
    return assembled({"alg": "HS512"}, body, lambda data: hmac.digest(SECRET.encode(), data, hashlib.sha512))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_none, "alg: "),
        (_hidden_none, "alg: "),
        (_unsigned, "signature: "),
        (_altered, "signature: "),
        (_other_algorithm, "alg: "),
        (lambda body: jwt.encode(body, "another secret of the same good length!!"), "signature: "),
        (lambda body: jwt.encode({**body, "iss": "https://evil.example"}, SECRET), "iss: "),
        (lambda body: jwt.encode({**body, "aud": "other"}, SECRET), "aud: "),
        (lambda body: jwt.encode(claims("eve", iss=None), SECRET), "iss is missing"),
        (lambda body: jwt.encode(claims("eve", aud=None), SECRET), "aud is missing"),
        (lambda body: jwt.encode(claims("eve", sub=None), SECRET), "sub is missing"),
        (lambda body: jwt.encode({**body, "exp": time.time() - 30}, SECRET), "exp has passed"),
        (lambda body: jwt.encode({**body, "nbf": time.time() + 60}, SECRET), "nbf is to come"),
        (lambda body: jwt.encode({**body, "role": "root"}, SECRET), "role is none of"),
        (lambda body: jwt.encode({**body, "rooms": "*"}, SECRET), "rooms is not a list"),
        (lambda body: "no.token.at-all", "DecodeError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_bad_token_is_4001_and_the_log_says_why(
    server: Chatmaster, make: Callable[[dict[str, Any]], str], why: str
) -> None:
    bad = make(claims("eve"))
    before = len(server.log())
    assert (await refusal(server.url, bad))[0] == 4001
    await until_async(lambda: why in server.log()[before:], what=f"the log says {why}")
    for part in (bad, *(part for part in bad.split(".") if len(part) > 15)):
        assert part not in server.log()
    assert "Traceback" not in server.log()


async def test_guests_and_the_silent_are_not_let_in(server: Chatmaster) -> None:
    assert await refusal(server.url, None) == (4001, "a token is needed")
    assert (await refusal(server.url, "guest.guest:00000000000000ff." + "A" * 22))[0] == 4001
    async with await ChatSocket.open(server.url) as silent, await ChatSocket.open(server.url) as person:
        began = time.monotonic()
        assert (await person.ask(type="join", room="hall"))["code"] == "unauthorized"
        for one in (silent, person):
            assert (await one.expect("bye"))["code"] == 4002
            assert (await one.wait_closed()).code == 4002
        assert 0.5 < time.monotonic() - began < 5


async def test_a_token_ends_its_connection_in_time_unless_it_is_renewed(server: Chatmaster) -> None:
    ends = time.time() + 2
    async with people(server, "hall", "ivy", "ivy", exp=ends) as (ivy, renewing):
        fresh = await renewing.ask(type="hello", token=token("ivy"))
        assert fresh["type"] == "welcome" and [room["room"] for room in fresh["rooms"]] == ["@ivy", "hall"]
        expired = await renewing.ask(type="hello", token=token("ivy", exp=time.time() - 30))
        assert (expired["type"], expired["code"]) == ("error", "unauthorized")
        assert (await ivy.expect("bye"))["code"] == 4001
        assert 0 <= time.time() - ends < 2
        assert (await ivy.wait_closed()).code == 4001
        assert (await renewing.ask(type="say", room="hall", text="still here"))["type"] == "ack"


def _public_key(private: Any) -> str:
    return str(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


async def a_guests_identity_cannot_be_taken(server: Chatmaster) -> None:
    async with await ChatSocket.enter(server.url) as guest, await ChatSocket.enter(server.url) as thief:
        assert guest.user != thief.user
        for forged in (
            guest.welcome["token"][:-1] + ("A" if guest.welcome["token"][-1] != "A" else "Q"),
            f"guest.{guest.user}.{thief.welcome['token'].split('.')[2]}",
            f"guest.{guest.user}.",
            jwt.encode({"sub": guest.user}, SECRET),
        ):
            assert (await refusal(server.url, forged))[0] == 4001
        for _ in range(4):  # on whichever worker
            async with await ChatSocket.enter(server.url, token=guest.welcome["token"]) as again:
                assert again.user == guest.user
        assert (await thief.ask(type="hello", token=guest.welcome["token"]))["code"] == "unauthorized"
        assert (await thief.ask(type="join", room=f"@{guest.user}"))["code"] == "forbidden"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_tokens_by_public_key(chatmaster: Make, algorithm: str) -> None:
    """The last of these servers lets guests in as well."""
    guests = algorithm == "EdDSA"
    make: Callable[[], Any] = {
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }[algorithm]
    mine, other = make(), make()
    pem = _public_key(mine)
    settings = {"auth.mode": "guest" if guests else "token", "auth.public_key": pem}
    server = chatmaster(workers=2 if guests else 1, settings=settings)
    body = {"sub": "ann", "exp": time.time() + 60}
    assert await is_in(server.url, jwt.encode(body, mine, algorithm))
    assert (await refusal(server.url, jwt.encode(body, other, algorithm)))[0] == 4001
    # The oldest trick: the public key taken for a shared secret.
    confused = assembled({"alg": "HS256"}, body, lambda data: hmac.digest(pem.encode(), data, hashlib.sha256))
    assert (await refusal(server.url, confused))[0] == 4001
    assert (await refusal(server.url, _none(body)))[0] == 4001
    if guests:
        await a_guests_identity_cannot_be_taken(server)


# ---- what a token allows ----------------------------------------------------------------------------------


async def test_the_rooms_of_a_token_limit_join_and_say(server: Chatmaster) -> None:
    async with people(server, "", "ben", rooms=["team-*", "news"]) as (ben,):
        assert (await ben.ask(type="join", room="team-1"))["type"] == "joined"
        assert (await ben.ask(type="say", room="team-1", text="x"))["type"] == "ack"
        for kind in ("join", "history"):
            assert (await ben.ask(type=kind, room="hall"))["code"] == "forbidden"
        assert (await ben.ask(type="say", room="hall", text="x"))["code"] == "not_joined"
        assert (await ben.ask(type="direct", to="ann", text="x"))["type"] == "ack"
        fewer = await ben.ask(type="hello", token=token("ben", rooms=["news"]))
        assert [room["room"] for room in fewer["rooms"]] == ["@ben"]
        assert [one["room"] for one in ben.passed if one["type"] == "left"] == ["team-1"]
        assert (await ben.ask(type="say", room="team-1", text="x"))["code"] == "not_joined"
    async with await ChatSocket.open(server.url) as ben:
        rooms = [{"room": "hall"}, {"room": "team-2"}]
        ben.send_json({"type": "hello", "token": token("ben", rooms=["team-*"]), "rooms": rooms})
        assert [room["room"] for room in (await ben.expect("welcome"))["rooms"]] == ["@ben", "team-2"]
        assert (await ben.expect("error"))["field"] == "rooms[0].room"


async def test_rooms_have_rules_and_slow_mode_holds_over_workers(server: Chatmaster) -> None:
    async with people(server, "slow-1", "cid", "cid", "cid") as same, people(
        server, "slow-1", "mod-c", "reporter-1"
    ) as (moderator, reporter):  # fmt: skip
        answers = await asyncio.gather(*(one.ask(type="say", room="slow-1", text=f"{n}") for n, one in enumerate(same)))
        assert sorted(one["type"] for one in answers) == ["ack", "error", "error"]
        for refused in (one for one in answers if one["type"] == "error"):
            assert refused["code"] == "rate_limited" and 0 < refused["retry_after_ms"] <= 1500
        await until_async(partial(_says, same[0], "slow-1"), 5, "the slow room lets it speak again")
        for _ in range(3):
            assert await _says(moderator, "slow-1")
        assert (await same[0].ask(type="join", room="staff"))["code"] == "forbidden"
        assert (await moderator.ask(type="join", room="staff"))["type"] == "joined"
        for one, expected in ((same[0], False), (reporter, True), (moderator, True)):
            await one.ask(type="join", room="news")
            assert await _says(one, "news") is expected


async def test_rooms_tell_their_topic_and_who_is_a_moderator(server: Chatmaster) -> None:
    async with people(server, "news", "cid", "mod-c") as (cid, moderator):
        assert (await cid.ask(type="join", room="news"))["topic"] == "What is new"
        assert "topic" not in await cid.ask(type="join", room="slow-9")
        await moderator.ask(type="join", room="news")

        async def roles() -> dict[str, str | None]:
            listed = await cid.ask(type="members", room="news")
            return {one["user"]: one.get("role", "none") for one in listed["members"]}

        async def both() -> bool:  # a user of another worker is in the store a moment later
            return {"cid": "none", "mod-c": "moderator"}.items() <= (await roles()).items()

        await until_async(both, 5, "the list has both, and the moderator's role")


async def _says(socket: ChatSocket, room: str) -> bool:
    return bool((await socket.ask(type="say", room=room, text="x"))["type"] == "ack")


async def test_too_many_connections_of_a_user_also_after_a_worker_was_killed(server: Chatmaster) -> None:
    async with AsyncExitStack() as stack:
        sockets = []
        pids = server.pids
        for _ in range(3):
            sockets.append(await stack.enter_async_context(await ChatSocket.enter(server.url, token=token("dan"))))
        for _ in range(6):  # on whichever worker
            assert (await refusal(server.url, token("dan")))[0] == 4004
        os.kill(pids[0], signal.SIGKILL)
        await until_async(lambda: server.states() == ["ready"] * 2 and server.pids != pids, 20, "the worker is back")
        alive = [one for one in sockets if await _answers(one)]
        for _ in range(3 - len(alive)):
            socket = await until_async(partial(_let_in, server.url, "dan"), 20, "the dead are not counted")
            assert socket is not None
            alive.append(await stack.enter_async_context(socket))
        for _ in range(6):
            assert (await refusal(server.url, token("dan")))[0] == 4004
        alive[0].abort()
        await until_async(partial(is_in, server.url, token("dan")), what="who left is not counted")


async def _let_in(url: str, user: str) -> ChatSocket | None:
    """A connection of the user, or nothing while there are too many."""
    socket = await ChatSocket.open(url)
    socket.send_json({"type": "hello", "token": token(user)})
    try:
        await socket.expect("welcome")
    except AssertionError:
        await socket.__aexit__(None, None, None)
        return None
    return socket


async def _answers(socket: ChatSocket) -> bool:
    try:
        return bool((await socket.ask(type="ping"))["type"] == "pong")
    except Exception:
        return False


# ---- who is kept out --------------------------------------------------------------------------------------


async def ctl(server: Chatmaster, *arguments: str) -> None:
    done = await asyncio.to_thread(server.ctl, *arguments)
    assert done.returncode == 0, done.stderr


async def test_the_operator_moderates_from_outside(server: Chatmaster) -> None:
    async with people(server, "yard", "fay", "fay", "gus") as (fay, twin, gus):
        await ctl(server, "kick", "fay", "--room", "yard", "--reason", "calm down")
        for one in (fay, twin):
            assert (await one.expect("left", room="yard"))["reason"] == "calm down"
        assert (await fay.ask(type="join", room="yard"))["type"] == "joined"
        assert "the operator has kicked fay in yard (calm down)" in server.log()
        await ctl(server, "mute", "gus", "--room", "yard", "--seconds", "60", "--reason", "loud")
        assert "the operator has muted gus in yard for 60 s (loud)" in server.log()
        muted = await until_async(partial(_muted, gus, "yard"), what="gus is muted")
        assert 0 < muted["retry_after_ms"] <= 60_000
        await ctl(server, "unmute", "gus", "--room", "yard")
        await until_async(partial(_says, gus, "yard"), what="gus may speak again")
        await ctl(server, "ban", "fay", "--reason", "enough")
        for one in (fay, twin):
            assert (await one.expect("bye"))["reason"] == "enough"
            assert (await one.wait_closed()).code == 4003
        assert await refusal(server.url, token("fay")) == (4003, "enough")
        await ctl(server, "unban", "fay")
        await until_async(partial(is_in, server.url, token("fay")), what="fay may come back")
        await ctl(server, "ban", "fay", "--seconds", "1")
        assert (await refusal(server.url, token("fay")))[0] == 4003
        await until_async(partial(is_in, server.url, token("fay")), what="the ban ends by itself")
    rows = server.ask("audit", "--user", "fay")
    assert [(row["action"], row["room"], row["reason"]) for row in rows] == [
        ("ban", "", ""), ("unban", "", ""), ("ban", "", "enough"), ("kick", "yard", "calm down"),
    ]  # fmt: skip
    assert {row["by"] for row in rows} == {"operator:chatctl"} and all(
        abs(row["time"] - time.time()) < 60 for row in rows
    )
    assert [row["action"] for row in server.ask("audit", "--room", "yard")] == ["unmute", "mute", "kick"]
    text = server.ctl("audit", "--user", "fay").stdout
    assert "enough" in text and "operator:chatctl" in text
    assert until(lambda: "Traceback" not in server.log())


async def test_a_kick_says_whom_it_met_and_when_there_was_nobody(server: Chatmaster) -> None:
    async with people(server, "den", "ida", "ida") as (ida, twin):
        nobody = await asyncio.to_thread(server.ctl, "kick", "nobody-there", "--json")
        assert (nobody.returncode, nobody.stdout) == (ExitCode.FAILED, "[]\n")
        assert nobody.stderr == "chatctl: user: no user nobody-there is connected\n"
        elsewhere = await asyncio.to_thread(server.ctl, "kick", "ida", "--room", "garage")
        assert elsewhere.returncode == ExitCode.FAILED and "ida is connected, but not in garage" in elsewhere.stderr
        assert server.ask("audit", "--user", "ida") == server.ask("audit", "--user", "nobody-there") == []
        done = await asyncio.to_thread(server.ctl, "kick", "ida", "--json")
        assert json.loads(done.stdout) == [{"user": "ida", "room": None, "connections": 2}]
        assert done.stderr == "kicked ida: 2 connections\n"
        for one in (ida, twin):
            assert (await one.wait_closed()).code == 4003
    assert [row["action"] for row in server.ask("audit", "--user", "ida")] == ["kick"]


async def _muted(socket: ChatSocket, room: str) -> dict[str, Any]:
    answer = await socket.ask(type="say", room=room, text="x")
    return answer if answer.get("code") == "muted" else {}


async def test_a_ban_holds_over_workers_and_over_a_restart(server: Chatmaster) -> None:
    async with people(server, "hall", "mod-e", "eve", "eve", "eve") as (moderator, *sockets):
        assert (await moderator.ask(type="ban", user="eve", reason="spam"))["type"] == "ack"
        assert (await moderator.ask(type="mute", user="max"))["type"] == "ack"
        for one in sockets:
            assert (await one.expect("bye"))["reason"] == "spam"
            assert (await one.wait_closed()).code == 4003
        for _ in range(6):  # on whichever worker
            assert await refusal(server.url, token("eve")) == (4003, "spam")
    assert await asyncio.to_thread(server.stop) == 0
    await asyncio.to_thread(server.start)
    for _ in range(6):
        assert await refusal(server.url, token("eve")) == (4003, "spam")
    async with people(server, "hall", "max") as (silenced,):
        assert (await silenced.ask(type="say", room="hall", text="x"))["code"] == "muted"
    for user, action in (("eve", "ban"), ("max", "mute")):
        assert [(row["action"], row["by"]) for row in server.ask("audit", "--user", user)] == [(action, "mod-e")]
