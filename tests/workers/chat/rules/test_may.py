"""Who may do what in which room."""

from __future__ import annotations

import pytest

from chatmaster.settings import RoomRule
from workers.chat.rules.identity import Identity, Role
from workers.chat.rules.permissions import may

PLAIN = RoomRule(match="*")
ALICE = Identity("alice", "Alice")
VERBS = ("join", "say", "edit", "delete", "react", "read", "typing", "history", "members", "kick", "ban")


@pytest.mark.parametrize("verb", VERBS)
def test_an_inbox_is_for_its_user_alone(verb: str):
    assert not may(ALICE, verb, "@bob", PLAIN)
    assert not may(Identity("alice", "A", Role.ADMIN), verb, "@bob", PLAIN)
    own = may(ALICE, verb, "@alice", PLAIN)
    assert own is (verb in ("join", "history", "read", "edit", "delete", "react"))


def test_everybody_may_write_to_an_inbox_and_only_directly():
    assert may(ALICE, "direct", "@bob", PLAIN) and may(ALICE, "direct", "@alice", PLAIN)
    assert may(Identity("alice", "A", patterns=()), "direct", "@bob", PLAIN)
    assert not may(ALICE, "direct", "lobby", PLAIN) and not may(ALICE, "direct", "", PLAIN)
    assert not may(ALICE, "direct", "@bob", RoomRule(match="@*", say=("role:admin",)))


def test_no_pattern_of_a_token_covers_an_inbox_or_hides_ones_own():
    everything, nothing = Identity("alice", "A", patterns=("*", "@*", "@bob")), Identity("alice", "A", patterns=())
    assert not may(everything, "join", "@bob", PLAIN)
    assert may(nothing, "join", "@alice", PLAIN)


@pytest.mark.parametrize("verb", ["join", "say", "history", "members", "typing", "react", "read"])
def test_a_tokens_patterns_limit_every_verb(verb: str):
    limited = Identity("alice", "A", patterns=("support-*", "lobby"))
    assert may(limited, verb, "support-7", PLAIN) and may(limited, verb, "lobby", PLAIN)
    assert not may(limited, verb, "staff", PLAIN)
    assert not may(Identity("alice", "A", patterns=()), verb, "lobby", PLAIN)


def test_a_rule_names_users_and_roles():
    rule = RoomRule(match="staff", join=("role:moderator", "alice", "team-*"), say=("role:admin",))
    assert may(ALICE, "join", "staff", rule) and may(Identity("team-7", ""), "join", "staff", rule)
    assert not may(Identity("bob", ""), "join", "staff", rule)
    assert may(Identity("bob", "", Role.MODERATOR), "join", "staff", rule)
    assert may(Identity("bob", "", Role.ADMIN), "say", "staff", rule)
    assert not may(ALICE, "say", "staff", rule) and may(ALICE, "history", "staff", rule)
    assert not may(Identity("bob", ""), "history", "staff", rule)


def test_who_may_not_join_may_not_say_either():
    rule = RoomRule(match="a", join=("bob",), say=("*",))
    assert not may(ALICE, "say", "a", rule)


def test_a_role_that_does_not_exist_lets_nobody_in():
    assert not may(Identity("a", "", Role.ADMIN), "join", "r", RoomRule(match="r", join=("role:root",)))


@pytest.mark.parametrize("verb", ["kick", "ban", "mute", "unban", "unmute"])
def test_moderation_needs_the_role_and_the_room(verb: str):
    moderator = Identity("m", "M", Role.MODERATOR)
    assert not may(ALICE, verb, "lobby", PLAIN) and not may(ALICE, verb, "", PLAIN)
    assert may(moderator, verb, "lobby", PLAIN) and may(moderator, verb, "", PLAIN)
    local = Identity("m", "M", Role.MODERATOR, patterns=("support-*",))
    assert may(local, verb, "support-1", PLAIN)
    assert not may(local, verb, "lobby", PLAIN) and not may(local, verb, "", PLAIN)


def test_nothing_else_can_be_done_everywhere():
    assert not may(Identity("m", "M", Role.ADMIN), "say", "", PLAIN)
