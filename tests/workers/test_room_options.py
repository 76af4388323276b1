"""Patterns of room names, the options of rooms by name, and how much of a room's history is kept."""

from __future__ import annotations

import pytest

from chatmaster.settings import RoomRule, Settings, Store
from workers.room_options import Options, matches, retention


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*", "anything", True), ("lobby", "lobby", True), ("lobby", "lobby2", False), ("lobby", "Lobby", False),
        ("support-*", "support-1", True), ("support-*", "support-", True), ("support-*", "support", False),
        ("*-de", "chat-de", True), ("a*c*e", "abcde", True), ("a*c", "abd", False), ("a.c", "abc", False),
        ("a?c", "abc", False), ("[ab]", "a", False), ("a*", "a\nb", True), ("", "a", False),
    ],
)  # fmt: skip
def test_only_the_star_is_special(pattern: str, name: str, fits: bool):
    assert bool(matches([pattern], name)) is fits


def test_the_first_rule_that_fits_counts():
    options = Options((RoomRule(match="a-b", slow_mode=1), RoomRule(match="a-*", slow_mode=2), RoomRule(match="*")))
    assert [options.of(room).slow_mode for room in ("a-b", "a-c", "x", "a-b")] == [1, 2, 0, 1]
    assert options.of("@a-b").presence is False and options.of("@a-b").slow_mode == 0


def test_options_of_made_up_rooms_do_not_pile_up():
    options = Options((RoomRule(match="a*", slow_mode=1),))
    for number in range(10_000):
        options.of(f"a{number}")
    assert options.of.cache_info().currsize == 4096


def test_a_rooms_history_is_kept_as_its_options_say():
    rules = (RoomRule(match="log-*", history_size=5), RoomRule(match="tmp", history_ttl=60))
    keep = retention(Settings(rooms=rules, store=Store(history_size=100, history_ttl=1000)))
    assert [keep(room) for room in ("log-1", "tmp", "x", "@log-1")] == [(5, 1000), (100, 60), (100, 1000), (100, 1000)]
