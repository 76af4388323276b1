"""The verbs by HTTP, on the port of a real server: keys, problems, batches, pages, the OpenAPI document."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.server import Chatmaster
from tests.support.wait import until
from tests.support.ws import ChatSocket
from workers import AsyncGateway, GatewayUnavailable

Answered = tuple[int, Any, dict[str, str]]


@pytest.fixture
def server(chatmaster: Callable[..., Chatmaster]) -> Chatmaster:
    return chatmaster(workers=2, settings={"auth.secret": "s" * 40, "limits.ping_interval": 600.0})


def new_key(server: Chatmaster, name: str, *options: str) -> str:
    done = server.ctl("apikey", "add", name, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def post(server: Chatmaster, verb: str, body: Any, key: str = "", method: str = "POST", **headers: str) -> Answered:
    """The status, the JSON and the headers of an answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", **{name.replace("_", "-"): one for name, one in headers.items()}}
    fields |= {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"{server.http}/api/v1/{verb}", data, fields, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.loads(response.read()), dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), dict(error.headers)


def test_a_call_needs_a_key_and_a_key_may_be_revoked_at_once(server: Chatmaster) -> None:
    status, problem, headers = post(server, "online", {})
    assert (status, problem["code"], problem["status"]) == (401, "unauthorized", 401)
    assert headers["content-type"] == "application/problem+json" and headers["www-authenticate"].startswith("Bearer")
    assert post(server, "online", {}, "cm_000000000000_" + "x" * 32)[0] == 401
    key = new_key(server, "ci")
    assert post(server, "online", {}, key)[:2] == (200, {"connections": 0})
    assert post(server, "online", {}, x_api_key=key)[0] == 200
    (row,) = server.ask("apikey", "list")
    assert row["name"] == "ci" and abs(row["used"] - time.time()) < 60 and key.split("_", 2)[2] not in json.dumps(row)
    assert server.ctl("apikey", "add", "ci").returncode != 0
    assert server.ctl("apikey", "revoke", "ci").returncode == 0
    assert [post(server, "online", {}, key)[0] for _ in range(6)] == [401] * 6
    assert server.ctl("apikey", "revoke", "ci").returncode != 0


def test_a_key_may_do_what_it_was_made_for(server: Chatmaster) -> None:
    key = new_key(server, "support", "--verbs", "messages,members", "--rooms", "support-*")
    assert post(server, "say", {"room": "support-1", "text": "hello"}, key)[0] == 200
    assert post(server, "members", {"room": "support-1"}, key)[0] == 200
    for verb, request in (
        ("say", {"room": "hall", "text": "hello"}), ("notify", {"user": "ada", "text": "hello"}), ("online", {}),
        ("members", {"room": "hall"}), ("ban", {"user": "ada"}),
    ):  # fmt: skip
        status, problem, _ = post(server, verb, request, key)
        assert (status, problem["code"]) == (403, "forbidden"), verb
    assert server.ctl("apikey", "add", "x", "--verbs", "sing").returncode != 0


async def test_a_key_for_some_rooms_does_not_hear_who_is_elsewhere(server: Chatmaster) -> None:
    key = await asyncio.to_thread(new_key, server, "support", "--verbs", "mute,kick", "--rooms", "support-*")
    async with await ChatSocket.enter(server.url, "lobby", name="Ada") as ada:
        for verb in ("mute", "kick"):
            request = {"user": "Ada", "room": "support-1"}
            status, problem, _ = await asyncio.to_thread(post, server, verb, request, key)
            assert status == 404 and "Ada is the name of a user: give the id" in problem["detail"]
            assert ada.user not in json.dumps(problem)


def test_a_key_that_calls_too_often_is_told_to_wait(server: Chatmaster) -> None:
    key = new_key(server, "slow", "--rate", "1")
    answers = [post(server, "online", {}, key) for _ in range(8)]
    status, problem, headers = answers[-1]
    assert answers[0][0] == 200 and status == 429 and problem["retry_after"] > 0
    assert int(headers["retry-after"]) >= 1


def test_what_is_wrong_is_said_with_its_field(server: Chatmaster) -> None:
    key = new_key(server, "ci")
    for verb, request, status, field in (
        ("say", {"room": "no such!", "text": "x"}, 400, "room"),
        ("say", {"room": "", "text": "x"}, 400, "room"),
        ("say", {"text": "x"}, 400, "room"),
        ("say", {"room": "hall"}, 400, "text"),
        ("say", {"room": "hall", "text": 5}, 400, "text"),
        ("say", {"room": "hall", "text": "x", "volume": 11}, 400, "volume"),
        ("say", {"room": "hall", "text": "x" * 70_000}, 413, "text"),
        ("members", {"room": "hall", "limit": 1001}, 400, "limit"),
        ("members", {"room": "hall", "cursor": "nonsense"}, 400, "cursor"),
        ("audit", {"cursor": "nonsense"}, 400, "cursor"),
        ("edit", {"room": "hall", "offset": 99, "text": "x"}, 404, "offset"),
        ("disconnect", {"connection": "a1"}, 404, "connection"),
        ("disconnect", {}, 400, "connection"),
        ("sing", {}, 404, ""),
        ("bind", {"user": "ada", "connection": "a1"}, 404, ""),
    ):  # fmt: skip
        found, problem, headers = post(server, verb, request, key)
        assert (found, problem.get("field", "")) == (status, field), (verb, request, problem)
        assert headers["content-type"] == "application/problem+json"
    assert post(server, "say", b"{", key)[0] == 400
    assert post(server, "say", b"[" * 100_000, key)[0] == 400
    assert post(server, "say", b"\xff", key)[0] == 400
    assert "did you mean say?" in post(server, "sya", {}, key)[1]["detail"]
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "POST"):
        for given in (key, ""):
            status, problem, headers = post(server, "nope", {}, given, method=method)
            assert (status, problem["code"]) == (404, "not_found"), method
            status, problem, headers = post(server, "bind", {}, given, method=method)
            assert (status, problem["code"]) == (404, "wrong_application"), method
            for verb in ("say", "batch") if method != "POST" else ():
                status, problem, headers = post(server, verb, {}, given, method=method)
                assert (status, problem["status"], problem["code"]) == (405, 405, "method_not_allowed"), method
                assert headers["allow"] == "POST"
    assert post(server, "say", {}, key, Content_Type="text/plain")[0] == 400


async def test_a_repeated_call_is_done_once(server: Chatmaster) -> None:
    key = await asyncio.to_thread(new_key, server, "ci")
    async with await ChatSocket.enter(server.url, "hall") as guest:

        def call(text: str) -> Answered:
            return post(server, "say", {"room": "hall", "text": text, "user": "bot"}, key, Idempotency_Key="k1")

        first, again, other = [await asyncio.to_thread(call, text) for text in ("hi", "hi", "ho")]
        assert (first[0], again[1]["offset"], again[1]["duplicate"]) == (200, first[1]["offset"], True)
        assert (other[0], other[1]["field"]) == (409, "key")
        assert (await guest.expect("message"))["text"] == "hi"
        ban = [
            await asyncio.to_thread(post, server, "ban", {"user": user}, key, Idempotency_Key="b")
            for user in ("eve", "eve", "mallory")
        ]
        assert [one[0] for one in ban] == [200, 200, 409]
        audit = (await asyncio.to_thread(post, server, "audit", {}, key))[1]["deeds"]
        assert [(one["action"], one["user"], one["by"]) for one in audit] == [("ban", "eve", "key:ci")]


def test_a_batch_is_carried_out_in_order(server: Chatmaster) -> None:
    key = new_key(server, "ci")
    calls = [{"verb": "say", "request": {"room": "hall", "text": str(number)}} for number in range(5)]
    calls += [{"verb": "sing"}, {"verb": "history", "request": {"room": "hall"}}]
    status, results, _ = post(server, "batch", calls, key)
    assert status == 200 and [one["status"] for one in results] == [200] * 5 + [404, 200]
    assert [one["text"] for one in results[-1]["body"]["messages"]] == ["0", "1", "2", "3", "4"]
    assert post(server, "batch", [{"verb": "online"}] * 101, key)[0] == 400
    assert post(server, "online", b"", key)[0] == 400
    assert post(server, "batch", {}, key)[0] == 400


def test_the_description_names_every_verb_that_there_is(server: Chatmaster) -> None:
    with urllib.request.urlopen(f"{server.http}/api/v1/openapi.json", timeout=10) as response:
        document = json.loads(response.read())
    assert document["openapi"].startswith("3.1") and "/say" in document["paths"] and "/bind" not in document["paths"]
    schemas = document["components"]["schemas"]
    for path in document["paths"].values():
        for text in json.dumps(path).split('"#/components/schemas/')[1:]:
            assert text.split('"')[0] in schemas
    with urllib.request.urlopen(f"{server.http}/api/v1/", timeout=10) as response:
        page, policy = response.read().decode(), response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "http://" not in page and "https://" not in page


def store_of(server: Chatmaster) -> str:
    return str(server.status()["store"]["url"])


async def test_a_frozen_store_delays_nothing_else_in_a_program_that_awaits(server: Chatmaster) -> None:
    async with AsyncGateway(store_of(server), timeout=2.0) as gateway:
        assert await gateway.online() == 0
        os.kill(server.store_pid, signal.SIGSTOP)
        try:
            waiting = asyncio.create_task(gateway.online())
            longest, last = 0.0, time.monotonic()
            while not waiting.done():
                await asyncio.sleep(0.01)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            with pytest.raises(GatewayUnavailable):
                await waiting
        finally:
            os.kill(server.store_pid, signal.SIGCONT)
        assert longest < 1.0  # of the 2 s that the call waited


def test_a_key_is_free_again_soon_after_the_store_is_back(chatmaster: Callable[..., Chatmaster]) -> None:
    server = chatmaster(workers=1, settings={"store.timeout": 1.0})
    mute = ("call", "mute", json.dumps({"user": "u1", "seconds": 60}), "--key", "once")
    os.kill(server.store_pid, signal.SIGSTOP)
    try:
        assert server.ctl(*mute).returncode == 1
    finally:
        os.kill(server.store_pid, signal.SIGCONT)
    until(lambda: server.ctl(*mute).returncode == 0, 30, what="the call is carried out")
    assert server.ctl(*mute).returncode == 0, "its answer is kept"
    assert len([deed for deed in server.ask("audit") if deed["action"] == "mute"]) == 1


def test_an_unknown_outcome_is_not_told_as_known(chatmaster: Callable[..., Chatmaster]) -> None:
    """By chatctl, by a verb and by HTTP: with a store that is silent nobody says that the store did not do it."""
    server = chatmaster(workers=1, settings={"store.timeout": 1.0})
    key = new_key(server, "bot")
    asked = [
        ("say", "lobby", "x"),
        ("mute", "eve"),
        ("unban", "eve"),
        ("kick", "eve"),
        ("who", "lobby"),
        ("bans",),
        ("audit",),
        ("call", "say", '{"room": "lobby", "text": "x"}'),
        ("apikey", "list"),
    ]
    os.kill(server.store_pid, signal.SIGSTOP)
    try:
        for words in asked:
            done = server.ctl(*words)
            assert done.returncode == 1, words
            assert "the outcome is unknown" in done.stderr and "did not do it" not in done.stderr, done.stderr
        status, problem, _ = post(server, "say", {"room": "lobby", "text": "x"}, key)
        assert (status, problem["code"]) == (504, "unavailable")
        assert problem["detail"] == "the store did not answer; the outcome is unknown"
    finally:
        os.kill(server.store_pid, signal.SIGCONT)


async def test_a_worker_that_is_stopped_keeps_no_call_from_the_others(server: Chatmaster) -> None:
    victim = next(row["pid"] for row in server.status()["workers"])
    async with AsyncGateway(store_of(server)) as gateway:
        os.kill(victim, signal.SIGSTOP)
        try:
            for number in range(5):
                await gateway.say("hall", str(number), user="bot")
        finally:
            os.kill(victim, signal.SIGCONT)
        assert [one["text"] for one in await gateway.history("hall")] == ["0", "1", "2", "3", "4"]
    until(lambda: server.states() == ["ready", "ready"], what="it is well again")
