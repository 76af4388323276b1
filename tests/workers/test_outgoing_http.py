"""Requests to other servers: the answer, and everything that is not one, within the deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.backend import Backend
from workers.outgoing_http import HttpAnswer, OutgoingError, OutgoingHttp

pytestmark = pytest.mark.usefixtures("no_proxies")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend() as made:
        yield made


async def ask(http: OutgoingHttp, url: str, **options: Any) -> HttpAnswer:
    return await http.request("POST", url, **{"timeout": 5.0, "max_size": 1000, "headers": {}, **options})


async def error_of(url: str, **options: Any) -> str:
    http = OutgoingHttp(max_connections=1, keep=True)
    try:
        with pytest.raises(OutgoingError) as raised:
            await ask(http, url, **options)
    finally:
        await http.close()
    return str(raised.value)


async def test_an_answer_is_status_and_body_and_the_connection_is_kept(backend: Backend) -> None:
    backend.answers("/good", {"a": 1}, status=418)
    http = OutgoingHttp(max_connections=1, keep=True)
    try:
        for _ in range(2):
            answer = await ask(http, backend.url("/good"), content=b"asked", headers={"x-a": "b"})
            assert answer == HttpAnswer(418, b'{"a": 1}')
    finally:
        await http.close()
    asked = backend.requests("/good")[-1]
    assert (asked["body"], asked["headers"]["x-a"], asked["headers"]["user-agent"]) == ("asked", "b", "chatmaster")


async def test_a_redirect_is_an_answer_and_nobody_follows_it(backend: Backend) -> None:
    backend.answers("/moved", "", status=302, location=backend.url("/elsewhere"))
    http = OutgoingHttp(max_connections=1, keep=True)
    try:
        assert (await ask(http, backend.url("/moved"))).status == 302
    finally:
        await http.close()
    assert backend.requests("/elsewhere") == []


@pytest.mark.parametrize("how", ["hang", "drip"])
async def test_the_deadline_is_of_the_whole_exchange(backend: Backend, how: str) -> None:
    backend.answers(f"/{how}", "x" * 100, how=how)
    began = time.monotonic()
    assert await error_of(backend.url(f"/{how}"), timeout=0.5) == "does not answer within 0.5 s"
    assert time.monotonic() - began < 5  # the drip alone takes ten seconds


@pytest.mark.parametrize("how", ["cut", "close"])
async def test_an_answer_that_breaks_off_is_asked_for_once_more_and_is_none(backend: Backend, how: str) -> None:
    backend.answers(f"/{how}", "x" * 100, how=how)
    assert (await error_of(backend.url(f"/{how}"))).startswith("cannot be asked: RemoteProtocolError")
    assert len(backend.requests(f"/{how}")) == 2


async def test_too_much_and_what_is_compressed_is_not_read(backend: Backend) -> None:
    backend.answers("/large", "x" * 1001)
    assert await error_of(backend.url("/large")) == "answers with more than 1000 bytes"
    backend.answers("/packed", "x", content_encoding="gzip")
    assert "compressed" in await error_of(backend.url("/packed"))


async def test_nobody_listens_and_the_loop_goes_on_meanwhile() -> None:
    with Backend() as away:
        pass
    assert (await error_of(away.url("/"))).startswith("cannot be asked: ConnectError")


async def test_the_loop_is_not_held_by_the_first_request(backend: Backend) -> None:
    """Certificates are read in a thread."""
    backend.answers("/quick", {})
    http = OutgoingHttp(max_connections=1, keep=True)
    asking = asyncio.ensure_future(ask(http, backend.url("/quick")))
    try:
        turns = 0
        while not asking.done():
            await asyncio.sleep(0)
            turns += 1
        assert (await asking).status == 200 and turns > 100
    finally:
        await http.close()
