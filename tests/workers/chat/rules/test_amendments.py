"""A message as it now stands, after edits, reactions and deletion."""

from __future__ import annotations

import itertools
import json
from typing import Any

from workers.bus.port import Amendment
from workers.chat.rules import entries
from workers.chat.rules.amendments import amended

BY = entries.sender("u", "U")
MESSAGE = entries.message("r", BY, entries.body_of_text("old @x", ["x"]), reply_to=3)


def edit(text: str, time: int = 5) -> Amendment:
    return Amendment("edit", time, entries.edited("r", BY, 1, entries.body_of_text(text)))


def react(user: str, emoji: str, verb: str = "react") -> Amendment:
    by = entries.sender(user, user)
    return Amendment(verb, 6, entries.reacted("r", by, 1, emoji, remove=verb != "react"))


DELETE = Amendment("delete", 7, entries.deleted("r", BY, 1))


def now(*amendments: Amendment, message: bytes = MESSAGE) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(amended(message, amendments))
    return shown


def test_an_edit_replaces_the_body_and_its_mentions():
    assert now(edit("new")) == {
        "type": "message", "room": "r", "from": {"user": "u", "name": "U"}, "reply_to": 3, "text": "new", "edited": 5,
    }  # fmt: skip


def test_the_last_edit_counts_and_may_change_text_into_data():
    data = Amendment("edit", 9, entries.edited("r", BY, 1, b'"data":{"a":1.50}'))
    shown = amended(MESSAGE, [edit("a"), data])
    assert b'"data":{"a":1.50}' in shown and json.loads(shown)["edited"] == 9 and b'"text"' not in shown


def test_reactions_are_users_by_emoji_each_once():
    reactions = now(react("a", "👍"), react("b", "👍"), react("a", "👍"), react("a", "🎉"))["reactions"]
    assert reactions == {"👍": ["a", "b"], "🎉": ["a"]}


def test_the_last_reaction_that_is_taken_back_leaves_nothing():
    assert "reactions" not in now(react("a", "👍"), react("a", "👍", "unreact"), react("b", "x", "unreact"))


def test_a_deleted_message_is_a_tombstone_whatever_else_happens():
    expected = {"type": "message", "room": "r", "from": {"user": "u", "name": "U"}, "deleted": True}
    for order in itertools.permutations([edit("x"), react("a", "👍"), DELETE]):
        assert now(*order) == expected


def test_a_message_with_its_place_keeps_it():
    placed = entries.spliced(MESSAGE, epoch="e", offset=1, time=2)
    assert now(DELETE, message=placed) | {"from": None} == {
        "epoch": "e", "offset": 1, "time": 2, "type": "message", "room": "r", "from": None, "deleted": True,
    }  # fmt: skip


def test_a_change_may_be_applied_twice():
    once = amended(MESSAGE, [edit("x"), react("a", "👍")])
    assert json.loads(amended(once, [edit("x"), react("a", "👍")])) == json.loads(once)
