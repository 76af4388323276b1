"""The tests' own tools: a store that can be killed, frozen and wiped; waiting that ends; frames as they should be."""

from __future__ import annotations

import asyncio

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support import processes, wait, ws


def test_waiting_returns_what_the_condition_gave_and_ends_at_its_deadline():
    given = iter([0, "", "there"])
    assert wait.until(lambda: next(given)) == "there"
    with pytest.raises(wait.WaitedTooLong, match="the moon is green"):
        wait.until(lambda: False, 0.05, "the moon is green")


async def test_waiting_in_a_loop_takes_coroutines_too():
    async def later() -> int:
        return 7

    assert await wait.until_async(later) == 7
    assert await wait.until_async(lambda: "now") == "now"


def test_a_store_that_syncs_has_its_data_after_a_kill_and_not_after_a_wipe(redis_server):
    store = redis_server(fsync="always")
    store.client.set("a", 1)
    first = store.pid
    store.restart()
    assert store.pid != first
    assert not processes.alive(first)
    assert store.client.get("a") == b"1"
    store.restart(wipe=True)
    assert store.client.get("a") is None


def test_an_old_append_only_file_can_be_put_back(redis_server):
    store = redis_server(fsync="always")
    store.client.set("a", "old")
    copy = store.save_copy()
    store.client.set("a", "new")
    store.kill()
    store.restore(copy)
    store.start()
    assert store.client.get("a") == b"old"


def test_a_frozen_store_keeps_its_connections_and_does_not_answer(redis_server):
    store = redis_server(tcp=True)
    with redis.Redis(port=store.port, socket_timeout=0.1, retry=Retry(NoBackoff(), 0)) as client:
        assert client.ping()
        store.freeze()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        store.thaw()
        wait.until(store.answers)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
async def test_a_frame_comes_back_as_it_was_made(size):
    reader = asyncio.StreamReader(limit=2**20)
    payload = bytes(range(256)) * (size // 256 + 1)
    reader.feed_data(ws.frame(ws.BINARY, payload[:size], masked=False))
    socket = ws.RawSocket(reader, None)  # type: ignore[arg-type]
    assert await socket.read_frame() == ws.Frame(ws.BINARY, payload[:size])
