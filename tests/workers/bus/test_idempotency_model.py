"""Retries at random, on the real store, with its connections cut and its scripts flushed meanwhile.

What must hold: one user's one key in one room is one message, with the content of the first; another user, room or key
is another message. Each mutant leaves out a part of that and must be caught.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from chatmaster.settings import Settings, Store
from tests.contract.conftest import Under
from tests.contract.stores import RealStore
from workers.bus import keys
from workers.bus.port import KeyConflict, Placed
from workers.bus.publisher import Publisher

USERS, ROOMS, KEYS = ("a", "ab"), ("r", "rb"), ("c", "bc", "k")


async def play(under: Under, seed: int, *, rounds: int = 8, burst: int = 40) -> None:
    chance = random.Random(seed)
    mine = f"{seed}-"  # every game has its own rooms
    places: dict[tuple[str, str, str], tuple[str, int]] = {}
    contents: dict[tuple[str, str, str], bytes] = {}
    with under.store.client() as client:
        for _ in range(rounds):
            calls = [(chance.choice(USERS), mine + chance.choice(ROOMS), chance.choice(KEYS)) for _ in range(burst)]
            asked = [(call, b'{"n":%d}' % chance.randrange(2)) for call in calls]
            answers = asyncio.gather(
                *(under.publish(room, content, author=user, key=key) for (user, room, key), content in asked),
                return_exceptions=True,
            )
            await asyncio.sleep(0)
            if chance.random() < 0.4:
                client.client_kill_filter(_type="normal", skipme=True)
            if chance.random() < 0.3:
                client.script_flush()
            for (call, content), answer in zip(asked, await answers, strict=True):
                judge_answer(call, content, answer, places, contents)
    for room in {call[1] for call in places}:
        page = await under.bus.read(room, after=0, limit=10_000, max_bytes=1 << 20)
        calls_here = [call for call in places if call[1] == room]
        assert len(page.entries) == len(calls_here), "as many messages as there are users and keys"


def judge_answer(call, content, answer, places, contents) -> None:
    if isinstance(answer, KeyConflict):
        assert contents.get(call) not in (None, content), "refused although it repeats the first"
        return
    assert isinstance(answer, Placed), answer
    assert contents.setdefault(call, content) == content, "taken although it says something else"
    assert places.setdefault(call, (answer.epoch, answer.offset)) == (answer.epoch, answer.offset)
    taken = [other for other, place in places.items() if other[1] == call[1] and place[1] == answer.offset]
    assert taken == [call], "two messages in one place"


async def games(store: RealStore, count: int) -> None:
    under = Under(store, Settings(store=Store(url=store.url, timeout=10.0)))
    under.bus.start()
    try:
        await under.bus.ready(10)
        for seed in range(count):
            await play(under, seed)
    finally:
        await under.bus.stop()


async def test_a_key_is_one_message_whatever_happens(store):
    await games(store, 3)


def no_prefixes(*, user: str, room: str, key: str) -> bytes:
    """The parts run into each other."""
    return f"{user}{key}".encode()


def no_users(*, user: str, room: str, key: str) -> bytes:
    """Everybody shares the keys."""
    return key.encode()


@pytest.mark.parametrize("mutant", [no_prefixes, no_users])
async def test_the_game_finds_keys_that_are_not_kept_apart(store, monkeypatch, mutant):
    monkeypatch.setattr(keys, "key_field", mutant)
    with pytest.raises(AssertionError):
        await games(store, 3)


async def test_the_game_finds_a_digest_that_is_not_compared(store, monkeypatch):
    monkeypatch.setattr(keys, "digest", lambda content: b"the same one")
    with pytest.raises(AssertionError):
        await games(store, 3)


async def test_the_game_finds_keys_that_do_not_reach_the_store(store, monkeypatch):
    publish = Publisher.publish

    def without_key(self, room, payload, *, key="", **options):
        publish(self, room, payload, **options)

    monkeypatch.setattr(Publisher, "publish", without_key)
    with pytest.raises(AssertionError):
        await games(store, 3)
