"""The web application that is asked: a clear answer counts, everything else is a failure within the deadline."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chatmaster import signatures
from chatmaster.settings import AskedHooks
from tests.support.backend import Backend
from workers.asked_backend import WAITING, AskedBackend, BackendAnswer, BackendFailed

SECRET = "a secret of thirty-two characters"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend() as made:
        yield made


async def asker(backend: Backend, timeout: float) -> AsyncIterator[AskedBackend]:
    hooks = AskedHooks(
        say=backend.url("/say"), secret=SECRET, timeout=timeout, concurrency=1, headers=("Cookie", "X-A")
    )
    made = AskedBackend(hooks, "chat")
    await made.prepare()
    yield made
    await made.close()


@pytest.fixture
async def asking(backend: Backend) -> AsyncIterator[AskedBackend]:
    """For answers, on however busy a machine."""
    async for made in asker(backend, 20.0):
        yield made


@pytest.fixture
async def hasty(backend: Backend) -> AsyncIterator[AskedBackend]:
    """For what does not come."""
    async for made in asker(backend, 0.5):
        yield made


async def test_a_question_is_signed_and_has_the_headers_of_the_client(backend: Backend, asking: AskedBackend) -> None:
    backend.answers("/say", {"allow": True, "text": "ä"})
    assert asking.hooks == {"say"}
    answer = await asking.ask("say", {"room": "r"}, {"cookie": "sid=1", "authorization": "no"})
    assert answer == BackendAnswer(allow=True, text="ä")
    asked = backend.requests("/say")[-1]
    signatures.verify(asked["headers"], asked["body"].encode(), secret=SECRET)
    assert json.loads(asked["body"]) == {"hook": "say", "server": "chat", "room": "r"}
    assert asked["headers"]["cookie"] == "sid=1" and "authorization" not in asked["headers"]
    assert asked["headers"]["content-type"] == "application/json"
    await asking.ask("say", {"room": "r"})
    assert backend.requests("/say")[-1]["headers"]["webhook-id"] != asked["headers"]["webhook-id"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"body": {"allow": True}, "status": 201}, "answers with 201"),
        ({"body": "", "status": 500}, "answers with 500"),
        ({"body": "", "status": 302, "location": "/"}, "answers with 302"), ({"body": ""}, "answers with b''"),
        ({"body": {}}, "missing required field `allow`"), ({"body": {"allow": 1}}, "Expected `bool`"),
        ({"body": {"allow": "true"}}, "Expected `bool`"), ({"body": {"allow": True, "deny": True}}, "unknown field"),
        ({"body": [True]}, "Expected `object`"), ({"body": "[" * 100_000}, "answers with b'[[["),
        ({"body": '{"allow": false, "allow": true}'}, "a key twice"),
        ({"body": '{"allow": false, "\\u0061llow": true}'}, "a key twice"),
        ({"body": '{"allow": true, "session": {"role": "user", "role": "admin"}}'}, "a key twice"),
        ({"body": '{"allow": true} x'}, "trailing"), ({"body": "<html>"}, "malformed"),
        ({"body": " " * 300_000 + "{}"}, "more than 262144 bytes"),
        ({"body": {"allow": True}, "how": "hang"}, "within 0.5 s"),
        ({"body": {"allow": True}, "how": "drip"}, "within 0.5 s"),
        ({"body": {"allow": True}, "how": "cut"}, "cannot be asked"),
        ({"body": {"allow": True}, "how": "close"}, "cannot be asked"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_what_is_no_clear_answer_is_a_failure(
    backend: Backend,
    asking: AskedBackend,
    hasty: AskedBackend,
    answer: dict[str, Any],
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    backend.answers("/say", **answer)
    waiting = hasty if "within" in why else asking
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        with pytest.raises(BackendFailed) as failed:
            await waiting.ask("say", {})
        assert why in str(failed.value) and len(str(failed.value)) < 300
    assert len(caplog.records) == 1 and waiting.failures == 2, "each reason is logged once a minute"
    backend.answers("/say", {"allow": True})
    assert (await asking.ask("say", {})).allow, "the next question is not hindered"


async def test_questions_wait_for_their_turn_within_the_deadline(backend: Backend, hasty: AskedBackend) -> None:
    backend.answers("/say", {"allow": True}, how="hang")
    before, began = len(backend.requests("/say")), time.monotonic()
    asked = [asyncio.ensure_future(hasty.ask("say", {})) for _ in range(WAITING + 5)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, BackendFailed) for one in results)
    assert sum("questions wait for it already" in str(one) for one in results) == 5
    assert time.monotonic() - began < 5
    # The second one's turn comes where the first one's deadline has passed, as its own has.
    assert len(backend.requests("/say")) - before <= 2, "one at a time"


async def test_a_backend_that_dies_fails_and_one_that_is_back_answers(asking: AskedBackend, backend: Backend) -> None:
    backend.answers("/say", {"allow": True})
    assert (await asking.ask("say", {})).allow
    backend.stop()
    try:
        with pytest.raises(BackendFailed, match="cannot be asked"):
            await asking.ask("say", {})
    finally:
        backend.start()
    assert (await asking.ask("say", {})).allow


async def test_a_surplus_answer_does_not_answer_the_next_question(asking: AskedBackend, backend: Backend) -> None:
    backend.answers("/say", {"allow": False, "reason": "first"}, how="two")
    assert await asking.ask("say", {}) == BackendAnswer(allow=False, reason="first")
    backend.answers("/say", {"allow": False, "reason": "next"})
    for number in range(3):
        assert await asking.ask("say", {"text": str(number)}) == BackendAnswer(allow=False, reason="next")
    asked = backend.requests("/say")[-3:]
    assert [json.loads(one["body"])["text"] for one in asked] == ["0", "1", "2"]
    assert {one["headers"]["connection"] for one in asked} == {"close"}
