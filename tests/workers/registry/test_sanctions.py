"""What a worker knows of bans and mutes: cheap to ask, and the later word counts, whichever way it came."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.registry import Sanction, Sanctions
from workers.registry.sanctions import field_of, packed, unpack

NOW = 1_000.0  # Unix time


def holding(*sanctions: Sanction, subjects: tuple[str, ...] = ("ann", "*a:10.0.0.1")) -> Sanctions:
    known = Sanctions(subjects)
    for sanction in sanctions:
        known.apply(sanction)
    return known


def test_nobody_is_banned_or_muted_by_default() -> None:
    known = holding()
    assert known.banned("ann", "10.0.0.1", "lobby", NOW) is None
    assert known.muted("ann", "", "lobby", NOW) is None


def test_a_ban_of_a_room_holds_for_that_room_only() -> None:
    known = holding(Sanction("ban", "ann", "lobby", reason="spam", at=1))
    assert known.banned("ann", "", "lobby", NOW) == "spam"
    assert known.banned("ann", "", "other", NOW) is None
    assert known.banned("ann", "", "", NOW) is None
    assert known.banned("bob", "", "lobby", NOW) is None


def test_a_ban_from_everywhere_holds_for_every_room() -> None:
    known = holding(Sanction("ban", "ann", reason="spam", at=1))
    assert known.banned("ann", "", "", NOW) == known.banned("ann", "", "lobby", NOW) == "spam"


def test_a_guest_is_kept_out_by_address() -> None:
    known = holding(Sanction("ban", "ann", at=1, addresses=("10.0.0.1",)))
    assert known.banned("guest:2", "10.0.0.1", "", NOW) == ""
    assert known.banned("guest:2", "", "", NOW) is None


def test_a_mute_ends_in_time() -> None:
    known = holding(Sanction("mute", "ann", "lobby", until=1_000_500, at=1))
    assert known.muted("ann", "", "lobby", NOW) == 1000.5
    assert known.muted("ann", "", "lobby", NOW + 0.5) is None


def test_the_longest_mute_counts() -> None:
    known = holding(Sanction("mute", "ann", "lobby", until=1_000_500, at=1), Sanction("mute", "ann", at=2))
    assert known.muted("ann", "", "lobby", NOW) == math.inf


def test_it_is_forgotten_with_the_last_connection() -> None:
    concerned = {"ann"}
    known = Sanctions(concerned)
    known.begin("ann")
    known.loaded("ann", [Sanction("ban", "ann", at=1)])
    assert known.complete("ann") and known.banned("ann", "", "", NOW) == ""
    concerned.clear()
    known.forget("ann")
    assert not known.complete("ann")
    assert known.banned("ann", "", "", NOW) is None
    known.apply(Sanction("ban", "ann", at=2))
    assert known.banned("ann", "", "", NOW) is None, "it concerns nobody here"


@given(st.permutations([1, 2, 3, 4]), st.integers(1, 4))
def test_the_later_word_counts_whichever_comes_first(order: list[int], loaded: int) -> None:
    """Imposed at 1 and 3, lifted at 2 and 4; one of them is what the store said, the rest came by the control room."""
    known = holding()
    for at in order:
        sanction = Sanction("ban", "ann", at=at, lifted=at % 2 == 0)
        if at == loaded and not sanction.lifted:
            known.loaded("ann", [sanction])
        else:
            known.apply(sanction)
    assert known.banned("ann", "", "", NOW) is None


@pytest.mark.parametrize("room", ["", "lobby"])
def test_the_store_gives_back_what_it_was_given(room: str) -> None:
    sanction = Sanction(
        "mute", "ann", room, until=5, reason="a b  c ü", by="bob", at=3, addresses=("::1", "2001:db8::/64")
    )
    assert unpack(field_of(sanction), packed(sanction)) == sanction


def test_what_the_store_has_still_to_be_asked_about() -> None:
    known = Sanctions(("*", "ann", "*a:10.0.0.1"))
    assert known.unread(("*", "ann", "*a:10.0.0.1")) == []
    known.begin("ann")
    known.begin("*a:10.0.0.1")
    assert known.unread(("*", "ann", "*a:10.0.0.1")) == ["ann", "*a:10.0.0.1"]
    known.loaded("ann", [])
    assert known.unread(("*", "ann", "*a:10.0.0.1")) == ["*a:10.0.0.1"]


def test_whether_there_is_anything_to_look_for() -> None:
    known = holding()
    assert known.none
    known.apply(Sanction("ban", "bob", at=1))  # who is not here
    assert known.none
    known.apply(Sanction("mute", "ann", at=1))
    assert not known.none
