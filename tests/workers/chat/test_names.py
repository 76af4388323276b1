"""Names: what is allowed, which look alike, who is mentioned, who is a moderator."""

from __future__ import annotations

import pytest

from workers.chat.hooks import Person, Refuse, SayRequest, WordFilter
from workers.chat.names import NameRefused, cleaned, generated, keys_of
from workers.chat.people import People
from workers.chat.rights import Role
from workers.chat.staff import Officer, Staff


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Ada", "Ada"), ("  Ada  L ", "Ada L"), ("\uff21da", "Ada"), ("\u212b", "\u00c5"), ("José", "José"),
        ("محمد", "محمد"), ("می\u200cخواهم", "می\u200cخواهم"), ("👩\u200d🚀", "👩\u200d🚀"),
        ("a" * 32, "a" * 32), ("❤️", "❤️"),
    ],
)  # fmt: skip
def test_a_name_is_kept_in_one_form(given: str, kept: str):
    assert cleaned(given) == kept


@pytest.mark.parametrize(
    "name",
    ["", " ", "\u200d", "a" * 33, "a\x00", "a\x1bb", "a\u202eb", "a\u2066",
     "\ufeffa", "a\ud800", "a\uffff", "\u3164\u115f\x7f"],
)  # fmt: skip
def test_a_name_that_cannot_be_seen_or_deceives_is_refused(name: str):
    with pytest.raises(NameRefused):
        cleaned(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("admin", "ADMIN"), ("admin", "\u0430dmin"), ("admin", "adrnin"), ("paypal", "p\u0430yp\u0430l"),
        ("Bill", "BiII"), ("Bill", "Bi11"), ("root", "r00t"), ("Oscar", "0scar"), ("moderator", "mode rator"),
        ("scope", "\u0455\u0441\u043e\u0440\u0435"), ("Alice", "\u0391lice"), ("max", "m\u0430x"), ("a", "a\u200d"),
    ],
)  # fmt: skip
def test_names_that_look_alike_share_a_key(one: str, other: str):
    assert keys_of(one) & keys_of(other)


@pytest.mark.parametrize(("one", "other"), [("admin", "badmin"), ("Ada", "Eda"), ("Jörg", "Jorg"), ("a", "b")])
def test_names_that_do_not_look_alike_share_none(one: str, other: str):
    assert not keys_of(one) & keys_of(other)


def test_generated_names_are_friendly_and_repeatable():
    names = {generated(number) for number in range(0, 2**64, 2**54 + 1)}
    assert len(names) > 900 and all(cleaned(name) == name for name in names)
    assert generated(12345) == generated(12345)


def test_the_longest_known_name_is_meant():
    people = People()
    for user, name in (("u1", "Ada"), ("u2", "Ada Lovelace"), ("u3", "Grace"), ("u4", "José")):
        people.called(user, name)
    assert people.mentioned("r", "@Ada hi") == ("u1",)
    assert people.mentioned("r", "hi @ada lovelace, and @GRACE!") == ("u2", "u3")
    assert people.mentioned("r", "(@José)") == ("u4",)
    assert people.mentioned("r", "@Ada's") == ("u1",)


@pytest.mark.parametrize("text", ["Ada", "@Adam", "mail@Ada.com", "@@Ada", "@ Ada", "@nobody", "@", "a@"])
def test_what_is_no_mention_is_none(text: str):
    people = People()
    people.called("u1", "Ada")
    assert people.mentioned("r", text) == ()


def test_the_room_can_be_mentioned_and_each_user_once():
    people = People()
    people.called("u1", "Ada")
    assert people.mentioned("r", "@room @Ada @ada @room") == ("@room", "u1")


def test_a_name_given_up_is_nobodys():
    people = People()
    people.called("u1", "Ada")
    people.called("u1", "Eve")
    assert people.mentioned("r", "@Ada @Eve") == ("u1",)
    assert people.mentioned("r", "@Ada") == ()


def test_what_was_once_said_does_not_bring_back_an_old_name():
    people = People()
    people.met("u1", "Ada")
    people.called("u2", "Eve")
    people.met("u2", "Bea")
    assert people.mentioned("r", "@Ada @Eve @Bea") == ("u1", "u2")
    assert people.mentioned("r", "@Bea") == ()


def test_mentions_are_bounded():
    people = People()
    for number in range(300):
        people.called(f"u{number}", f"n{number}")
    assert len(people.mentioned("r", " ".join(f"@n{number}" for number in range(300)))) == 50


def test_staff_are_known_by_role_and_name_until_they_have_none():
    staff = Staff()
    assert staff.enlist(Officer("m", "Alice", Role.MODERATOR)) and not staff.enlist(
        Officer("m", "Alice", Role.MODERATOR)
    )
    assert (
        staff.role_of("m") is Role.MODERATOR and staff.looks_like("AIice", "x") and not staff.looks_like("Alice", "m")
    )
    assert staff.enlist(Officer("m", "Bea", Role.ADMIN))
    assert not staff.looks_like("Alice", "x") and staff.looks_like("bea", "x")
    assert staff.enlist(Officer("m", "Bea", Role.USER))
    assert staff.role_of("m") is Role.USER and not staff.looks_like("Bea", "x")


def test_nobody_may_be_called_as_the_operator():
    staff = Staff()
    for name in ("operator", "Operator", "\u043eperator"):
        assert staff.looks_like(name, "x")
    assert not staff.looks_like("operetta", "x")


def test_two_moderators_may_share_a_name_and_one_may_leave():
    staff = Staff()
    staff.enlist(Officer("m", "Alice", Role.MODERATOR))
    staff.enlist(Officer("n", "Alice", Role.MODERATOR))
    staff.enlist(Officer("m", "Alice", Role.USER))
    assert staff.looks_like("Alice", "x")


def test_the_word_filter_stars_out_words_however_they_are_written():
    polite = WordFilter(["darn"])
    person = Person("u", "U", "user", "", True)
    assert polite(SayRequest(person, "r", text="Darn it, d\u0430rn darning!")) == "D*** it, d*** darning!"
    assert polite(SayRequest(person, "r", text="fine")) is None and polite(SayRequest(person, "r", data=1)) is None
    assert isinstance(WordFilter(["darn"], refuse=True)(SayRequest(person, "r", text="darn")), Refuse)
