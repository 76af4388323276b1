"""`auth.jwks`: keys by URL that rotate, go away and come back, in running servers."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from jwt.algorithms import OKPAlgorithm

from chatmaster.settings import Auth
from tests.support.backend import Backend
from tests.support.server import Chatmaster
from tests.support.wait import until, until_async
from tests.support.ws import ChatSocket
from workers.chat.rules.token_verifier import TokenVerifier
from workers.chat.token_keys import TokenKeys
from workers.tasks import Tasks

Make = Callable[..., Chatmaster]

KEYS = {kid: ed25519.Ed25519PrivateKey.generate() for kid in ("old", "new", "other")}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as made:
        yield made


def key_set(*kids: str) -> dict[str, Any]:
    return {"keys": [{**json.loads(OKPAlgorithm.to_jwk(KEYS[kid].public_key())), "kid": kid} for kid in kids]}


def token(kid: str, user: str = "ada", **more: Any) -> str:
    return jwt.encode(
        {"sub": user, "exp": time.time() + 60, **more}, KEYS[kid], algorithm="EdDSA", headers={"kid": kid}
    )


async def hello(server: Chatmaster, given: str) -> dict[str, Any]:
    """What answers a hello with a token."""
    async with await ChatSocket.open(server.url) as person:
        person.send_json({"type": "hello", "id": 1, "token": given})
        return await person.receive_json(20)


async def comes_in(server: Chatmaster, given: str) -> bool:
    return bool((await hello(server, given))["type"] == "welcome")


def settings(backend: Backend) -> dict[str, Any]:
    return {"auth.mode": "token", "auth.jwks": backend.url("/keys")}


async def test_keys_rotate_and_stay_while_the_url_is_away(chatmaster: Make, backend: Backend) -> None:
    backend.answers("/keys", key_set("old"))
    server = chatmaster(workers=1, settings=settings(backend))
    assert await comes_in(server, token("old"))
    backend.answers("/keys", key_set("old", "new"))
    assert await comes_in(server, token("new")), "an unknown kid fetches the keys"
    async with await ChatSocket.open(server.url) as person:
        person.send_json({"type": "hello", "token": token("old")})
        assert (await person.expect("welcome"))["user"] == "ada"
        backend.stop()
        assert await comes_in(server, token("new")), "known keys stay"
        waiting = await hello(server, token("other"))
        assert (waiting["type"], waiting["code"]) == ("error", "unavailable") and waiting["retry_after_ms"]
        assert "the known keys stay in use" in server.log()
        assert (await person.ask(type="hello", token=token("new")))["type"] == "welcome", "renewed meanwhile"
    assert server.ctl("reload").returncode == 0  # the new worker has never reached the URL
    assert await comes_in(server, token("new")), "the store has kept the keys"
    assert token("old").split(".")[0] not in server.log()


async def test_without_any_key_nobody_is_refused_for_good(chatmaster: Make, backend: Backend) -> None:
    backend.answers("/keys", "<html>", status=502)
    server = chatmaster(workers=1, settings=settings(backend))
    until(lambda: "no token can be verified" in server.log(), 20, "the log says why")
    assert f"{backend.url('/keys')} answers with 502" in server.log()
    answer = await hello(server, token("old"))
    assert (answer["type"], answer["code"]) == ("error", "unavailable")
    backend.answers("/keys", key_set("old"))
    await until_async(lambda: comes_in(server, token("old")), 30, "the keys are fetched")
    until(lambda: "keys of tokens from" in server.log(), 20, "the log says that they are here")


async def test_a_developer_is_told_the_claim(chatmaster: Make, backend: Backend) -> None:
    backend.answers("/keys", key_set("old"))
    server = chatmaster(workers=1, settings={**settings(backend), "auth.audience": "chat", "server.dev": True})
    bye = await hello(server, token("old", aud="shop"))
    assert bye["reason"] == "this token is not valid: aud: 'shop' is not auth.audience, 'chat'"
    bye = await hello(server, token("other", aud="chat"))
    assert (bye["code"], bye["reason"]) == (4001, "this token is not valid: kid: there is no key 'other'")


class Kept:
    """The records of the store, in memory."""

    def __init__(self, text: bytes = b"") -> None:
        self.text = text

    async def read(self, url: str) -> bytes:
        return self.text

    async def write(self, url: str, text: bytes) -> None:
        self.text = text


def fetching(backend: Backend, tasks: Tasks, kept: Kept, **options: Any) -> tuple[TokenKeys, TokenVerifier]:
    verifier = TokenVerifier(Auth(jwks=backend.url("/keys")))
    services: Any = SimpleNamespace(
        tasks=tasks, loop=asyncio.get_running_loop(), store=SimpleNamespace(token_keys=kept)
    )
    return TokenKeys(services, verifier, **{"refresh": 600.0, **options}), verifier


async def test_many_unknown_kids_cause_one_fetch_an_interval(backend: Backend) -> None:
    backend.answers("/keys", key_set("old"))
    tasks = Tasks()
    keys, verifier = fetching(backend, tasks, Kept(), min_interval=0.5)
    try:
        began = time.monotonic()
        for _ in range(3):
            await asyncio.gather(*(keys.fetch_on_demand() for _ in range(50)))
        assert len(backend.requests("/keys")) == 3 and time.monotonic() - began >= 1.0
        assert not verifier.lacks_key(token("old"))
    finally:
        await tasks.cancel()
        await keys.close()


async def test_keys_are_fetched_again_from_time_to_time(backend: Backend) -> None:
    backend.answers("/keys", key_set("old"))
    tasks, kept = Tasks(), Kept()
    keys, verifier = fetching(backend, tasks, kept, refresh=0.2)
    try:
        keys.start()
        await until_async(lambda: not verifier.lacks_key(token("old")), what="the first keys")
        backend.answers("/keys", key_set("new"))
        await until_async(lambda: not verifier.lacks_key(token("new")), what="the next keys")
        assert verifier.lacks_key(token("old")), "a key that is gone verifies nothing"
        await until_async(lambda: kept.text == json.dumps(key_set("new")).encode(), what="they are kept")
    finally:
        await tasks.cancel()
        await keys.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"body": {"keys": []}}, "no key that verifies"),
        ({"body": "x" * 300_000}, "more than 262144 bytes"),
        ({"body": key_set("new"), "status": 203}, "answers with 203"),
        ({"body": key_set("new"), "how": "cut"}, "cannot be asked"),
    ],
    ids=["empty", "large", "203", "cut"],
)
async def test_a_bad_answer_leaves_the_kept_keys(
    backend: Backend, answer: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend.answers("/keys", **answer)
    tasks = Tasks()
    keys, verifier = fetching(backend, tasks, Kept(json.dumps(key_set("old")).encode()))
    caplog.set_level(logging.INFO)
    try:
        keys.start()
        await until_async(lambda: said in caplog.text, what="the log says why")
        assert not verifier.lacks_key(token("old")) and verifier.lacks_key(token("new")) and not verifier.is_current
    finally:
        await tasks.cancel()
        await keys.close()
