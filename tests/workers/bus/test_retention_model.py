"""Messages and what changes them at random, on the real scripts of a real store, with a history of a few messages.

What must hold: as many messages as the room keeps can be read, whatever changes came, each as it stands now; a message
that is kept can be changed; from every offset on, each entry is read in its place or was a change. Each mutant leaves
out a part of that and must be caught.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from chatmaster.settings import Limits, Settings, Store
from tests.contract.conftest import Under
from tests.contract.stores import RealStore
from workers.bus import publisher, redis_bus, store_bus
from workers.bus.port import Change, Entry, NoTarget, NotAuthor, StoreRefused, TooMany
from workers.bus.script import Script, load_own
from workers.chat.rules.amendments import amended

KEPT = 20
CHANGES = 100  # as many are kept in any case; see amend.lua
USERS = ("ann", "bob", "cid")
EMOJI = [f"e{number}" for number in range(20)]
OF_ONE = 16


@dataclass
class Shown:
    """A message as a client has to see it."""

    author: str
    text: str
    deleted: bool = False
    reactions: set[tuple[str, str]] = field(default_factory=set)  # user and emoji


@dataclass
class World:
    """What one room must look like."""

    room: str
    messages: dict[int, Shown] = field(default_factory=dict)
    changes: list[int] = field(default_factory=list)  # offsets
    top: int = 0

    @property
    def kept(self) -> list[int]:
        return sorted(self.messages)[-KEPT:]


async def say(under: Under, world: World, user: str, text: str) -> None:
    payload = json.dumps({"type": "message", "from": {"user": user}, "text": text}).encode()
    placed = await under.publish(world.room, payload, author=user)
    assert placed.offset == world.top + 1, "offsets leave nothing out"
    world.top = placed.offset
    world.messages[placed.offset] = Shown(user, text)


async def change(under: Under, world: World, user: str, verb: str, target: int, what: str) -> None:
    """Change a message and see that the store allows it exactly where it has to."""
    body = {"type": verb, "from": {"user": user}, "target": target, "text": what, "emoji": what}
    emoji = what if verb in ("react", "unreact") else ""
    shown = world.messages.get(target)
    wrong: type[StoreRefused] | None = None
    if target not in world.kept or shown is None or shown.deleted:
        wrong = NoTarget
    elif not emoji and shown.author != user:
        wrong = NotAuthor
    elif verb == "react" and (user, what) not in shown.reactions and _of(shown, user) >= OF_ONE:
        wrong = TooMany
    options = {"author": user, "change": Change(verb, target, emoji), "any_author": bool(emoji)}
    if wrong is not None:
        with pytest.raises(wrong):
            await under.publish(world.room, json.dumps(body).encode(), **options)
        return
    placed = await under.publish(world.room, json.dumps(body).encode(), **options)
    assert placed.offset == world.top + 1 and shown is not None
    world.top = placed.offset
    world.changes.append(placed.offset)
    _apply(shown, user, verb, what)


def _of(shown: Shown, user: str) -> int:
    return sum(one == user for one, _ in shown.reactions)


def _apply(shown: Shown, user: str, verb: str, what: str) -> None:
    if verb == "edit":
        shown.text = what
    elif verb == "delete":
        shown.deleted, shown.text, shown.reactions = True, "", set()
    elif verb == "react":
        shown.reactions.add((user, what))
    else:
        shown.reactions.discard((user, what))


async def look(under: Under, world: World, after: int) -> None:
    """Read from an offset on to the top, and from the top back, and compare."""
    entries: list[Entry] = []
    at = after
    while True:
        page = await under.bus.read(world.room, after=at, limit=7, max_bytes=1 << 20)
        entries += page.entries
        if not page.more:
            break
        at = page.entries[-1].offset
    assert page.state.top == world.top
    assert page.state.first == (world.kept[0] if world.kept else world.top + 1), "messages that are kept"
    offsets = [entry.offset for entry in entries]
    assert offsets == sorted(set(offsets)) and all(offset > after for offset in offsets)
    assert all(offset >= page.state.first for offset in offsets), "what was changed is gone, and so are its changes"
    missing = set(range(max(after + 1, page.state.first), world.top + 1)) - set(offsets)
    assert missing <= set(world.changes), "a message is missing"
    assert not missing & set(world.changes[-CHANGES:]), "changes are missing for which there is place"
    back = await under.bus.read_before(world.room, before=world.top + 1, limit=100, max_bytes=1 << 20)
    assert [entry.offset for entry in back.entries] == world.kept, "as many messages as are kept, and nothing else"
    for entry in [*entries, *back.entries]:
        if entry.change is None:
            judge(world.messages[entry.offset], json.loads(amended(entry.payload, entry.amendments)))


def judge(shown: Shown, told: dict[str, Any]) -> None:
    assert (told.get("text", ""), told.get("deleted", False)) == (shown.text, shown.deleted)
    reactions = {(user, emoji) for emoji, users in told.get("reactions", {}).items() for user in users}
    assert reactions == shown.reactions


async def play(under: Under, seed: int, length: int = 500) -> None:
    chance = random.Random(seed)
    world = World(f"room-{seed}")
    verbs = ["say"] * 2 + ["react"] * 12 + ["unreact"] * 3 + ["edit"] * 3 + ["delete"]
    popular = 1  # a message that many react to
    for number in range(length):
        verb, user = chance.choice(verbs), chance.choice(USERS)
        if chance.random() < 0.02:
            popular = max(world.messages, default=1)
        if verb == "say" or not world.messages:
            await say(under, world, user, f"m{number}")
        else:
            known = sorted(world.messages)
            target = chance.choice(
                known[-KEPT - 3 :] if chance.random() < 0.9 else [world.top + 1, *world.changes[-1:]]
            )
            if verb == "react" and chance.random() < 0.5:
                target, user = popular, USERS[0]
            what = chance.choice(EMOJI) if verb in ("react", "unreact") else f"t{number}"
            await change(under, world, user, verb, target, what)
        if chance.random() < 0.05:
            await look(under, world, chance.randint(0, world.top))
    await look(under, world, 0)


async def games(store: RealStore, count: int) -> None:
    settings = Settings(store=Store(url=store.url, timeout=10.0, history_size=KEPT), limits=Limits())
    under = Under(store, settings)
    under.bus.start()
    try:
        await under.bus.ready(10)
        for seed in range(count):
            await play(under, seed)
    finally:
        await under.bus.stop()


async def test_changes_push_no_message_out_and_messages_show_what_changed_them(store):
    await games(store, 4)


def without(name: str, old: str, new: str) -> Any:
    """The bus's scripts, one of them with a rule left out."""

    def load(asked: str) -> Script:
        script = load_own(asked)
        if asked != name:
            return script
        assert old in script.source, "the rule is written otherwise now"
        return Script(asked, script.source.replace(old, new))

    return load


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("amend", "ARGV[6], KEYS[4], math.max(tonumber(ARGV[3]), LEAST)", "ARGV[6], KEYS[2], ARGV[3]"),
        ("amend", "math.max(tonumber(ARGV[3]), LEAST)", "ARGV[3]"),
        ("amend", "or own >= REACTIONS_OF_ONE", ""),
        ("amend", "redis.call('HEXISTS', KEYS[3], target .. 'd') == 1", "false"),
        ("read", "changes and peek(changes)", "nil"),
        ("read", "or offset_of(change) < offset_of(message)", ""),
        ("read", "edge = math.max(edge, first - 1)", "edge = edge"),
        ("read", "if #told > 0 and", "if #told > 0 and false and"),
    ],
    ids=[
        "changes count as messages", "changes of few messages", "no bound for one user", "deleted ones change",
        "no changes are read", "changes after all messages", "changes of what is gone", "no overlay",
    ],
)  # fmt: skip
async def test_the_game_finds_the_fault_when_a_rule_is_left_out(store, monkeypatch, name, old, new):
    for user in (publisher, redis_bus, store_bus):
        monkeypatch.setattr(user, "load_own", without(name, old, new))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await games(store, 4)
