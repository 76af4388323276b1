"""The short way of a plain text ends where the general way ends: held together by random requests and changes.

One session keeps what it found out about a room, the other forgets it before each request. Both must want the same
done. Versions that overlook one of the changes are found.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.workers.chat.play import GUEST, Play, guest
from workers.chat.rules import commands, plain_say, posting, session
from workers.chat.rules.effects import Publish
from workers.chat.rules.identity import Role
from workers.chat.rules.plain_say import PlainSay
from workers.chat.rules.session import ChatSession

ROOMS = ("lobby", "quiet", "short", "staff")
SETTINGS = {
    "limits": {"message_size": 200, "rate": 0},
    "rooms": [
        {"match": "quiet", "slow_mode": 5.0},
        {"match": "short", "message_size": 12},
        {"match": "staff", "say": ["role:moderator"]},
    ],
}
CUP = "\u2615"  # 3 bytes
TEXTS = (
    "hello", "x", " hello", "\u00fcber", f"caf\u00e9 {CUP}", 'a "quoted" \\ text\n', "@ann look", "mail@host",
    "twelve chars", "thirteen char", 4 * CUP, "abc" + 3 * CUP, "abcd" + 3 * CUP, 49 * "l", 51 * "l", 200 * "l",
    201 * "l", 66 * CUP, 67 * CUP,
    "ab" + 66 * CUP, "abc" + 66 * CUP, "\u200b", " ", "\U0001f600", "\x7f", "~", "!", "\0a", "a\0",
)  # fmt: skip


def request(chance: random.Random) -> str:
    """What a client says, mostly plain."""
    asked: dict[str, Any] = {"type": "say", "room": chance.choice((*ROOMS, "lobby", "lobby", "elsewhere"))}
    asked["text"] = chance.choice(TEXTS)
    if chance.random() < 0.3:
        asked["id"] = chance.choice((1, "a", None))
    if chance.random() < 0.3:
        asked["key"] = "k"
    if chance.random() < 0.1:
        asked["reply_to"] = 3
    if chance.random() < 0.1:
        asked["epoch"] = "e1"
    if chance.random() < 0.1:
        asked["data"] = {"a": 1}
        if chance.random() < 0.5:
            del asked["text"]
    return msgspec.json.encode(asked).decode()


def change(chance: random.Random) -> Callable[[Play], Any]:
    """Something that another request, another user or an operator changes."""
    room, name = chance.choice(ROOMS), f"Name {chance.randrange(3)}"
    role = chance.choice((Role.USER, Role.MODERATOR))
    patterns = chance.choice((None, ("lobby",), ("quiet", "staff")))

    where = chance.choice(("", room))

    def muted(play: Play) -> None:
        play.known.mutes[(GUEST, where)] = play.now + 60

    def identity(play: Play) -> None:
        play.session.identity = msgspec.structs.replace(play.session.identity, role=role, patterns=patterns)

    return chance.choice(
        (
            muted,
            lambda play: play.known.mutes.clear(),
            lambda play: play.session.rename(name),
            identity,
            lambda play: play.session.expelled(room, "kicked"),
            lambda play: play.session.forget(room),
            lambda play: setattr(play.session, "rooms", tuple(dict.fromkeys((*play.session.rooms, room)))),
        )
    )


def outcomes(seed: int, *, remembers: bool) -> list[Any]:
    """Everything that a session wants done, in a game that the seed decides."""
    chance = random.Random(seed)
    play = guest(*ROOMS, settings=SETTINGS, consulted=frozenset({"say"}) if seed % 10 == 0 else frozenset())
    told: list[Any] = []
    for _ in range(60):
        if chance.random() < 0.15:
            change(chance)(play)
        data = request(chance)
        if not remembers:
            play.session.plain_say = None
        told.append((data, play.sends(data)))
    return told


def differ(seeds: range) -> bool:
    return any(outcomes(seed, remembers=True) != outcomes(seed, remembers=False) for seed in seeds)


def test_a_plain_text_comes_to_the_same_by_both_ways():
    for seed in range(300):
        for ours, general in zip(outcomes(seed, remembers=True), outcomes(seed, remembers=False), strict=True):
            assert ours == general, seed


def test_the_second_text_takes_the_short_way(monkeypatch):
    play = guest("lobby")
    play.sends(type="say", room="lobby", text="one")
    monkeypatch.setattr("workers.chat.rules.posting.permit", None)  # the general way would fail
    (publish,) = play.sends(type="say", room="lobby", text="two", id=7)
    assert isinstance(publish, Publish)
    assert publish.id == 7
    assert b'"text":"two"' in publish.payload


def _any_identity(self: PlainSay, identity: Any, rooms: Any, room: str) -> bool:
    return rooms is self._rooms and room == self.room


def _any_rooms(self: PlainSay, identity: Any, rooms: Any, room: str) -> bool:
    return identity is self._identity and room == self.room


def _any_room(self: PlainSay, identity: Any, rooms: Any, room: str) -> bool:
    return identity is self._identity and rooms is self._rooms


@pytest.mark.parametrize("mutant", [_any_identity, _any_rooms, _any_room])
def test_a_version_that_overlooks_a_change_is_found(mutant, monkeypatch):
    monkeypatch.setattr(PlainSay, "holds", mutant)
    assert differ(range(300))


def test_a_version_that_overlooks_sanctions_is_found(monkeypatch):
    def careless(actor: ChatSession, command: commands.Say, now: float) -> Any:
        plain = actor.plain_say
        if plain is not None and plain.holds(actor.identity, actor.rooms, command.room) and plain.payload(command):
            return posting.say_approved(actor, command, now)
        return posting.say(actor, command, now)

    monkeypatch.setitem(session._HANDLERS, commands.Say, careless)
    assert differ(range(300))


def test_a_version_that_measures_characters_is_found(monkeypatch):
    monkeypatch.setattr(plain_say, "_BYTES", 1)
    assert differ(range(300))
