"""Names: what is allowed, which look alike, who is mentioned, who is a moderator."""

from __future__ import annotations

import json
import shutil
import subprocess
import unicodedata

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmaster.settings import Auth
from tests.workers.chat.play import SECRET, Play, guest, kinds
from workers.chat.hooks import Person, Refuse, SayRequest, WordFilter
from workers.chat.rules import names
from workers.chat.rules.identity import Identities, Identity, Role
from workers.chat.rules.mentions import MentionIndex
from workers.chat.rules.moderators import Moderator, ModeratorIndex
from workers.chat.rules.names import NameRefused, cleaned, generated, is_reserved, is_the_operators, keys_of, not_taken


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Ada", "Ada"), ("  Ada  L ", "Ada L"), ("\uff21da", "Ada"), ("\u212b", "\u00c5"), ("José", "José"),
        ("محمد", "محمد"), ("می\u200cخواهم", "می\u200cخواهم"), ("👩\u200d🚀", "👩\u200d🚀"),
        ("a" * 32, "a" * 32), ("❤️", "❤️"), ("രാജന്\u200d", "രാജന്\u200d"), ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("辻\U000e0100", "辻"), ("👍🏽", "👍🏽"), ("क\u094d\u200dष", "क\u094d\u200dष"), ("~", "~"), ("7", "7"),
    ],
)  # fmt: skip
def test_a_name_is_kept_in_one_form(given: str, kept: str):
    assert cleaned(given) == kept


@pytest.mark.parametrize(
    "name",
    ["", " ", "\u200d", "a" * 33, "a\x00", "a\x1bb", "a\u202eb", "a\u2066",
     "\ufeffa", "a\ud800", "a\uffff", "\u3164\u115f\x7f", "a\u200d", "a\u200cb",
     "\u0301", "a\ufe0f", "\ufe0f", "a\u1680b"],
)  # fmt: skip
def test_a_name_that_cannot_be_seen_or_deceives_is_refused(name: str):
    with pytest.raises(NameRefused):
        cleaned(name)


UNSEEN = [
    0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180E, 0x180F, 0x200B, 0x200E, 0x2060,
    0x2064, 0x206A, 0x3164, *range(0xFE00, 0xFE10), 0xFEFF, 0xFFA0, 0xFFF0, 0x1BCA0, 0x1D173, 0xE0001, 0xE0020, 0xE0100,
    0xE01EF, 0x2800, 0x16FE4, 0x13441, 0x1D159,
]  # fmt: skip


@pytest.mark.parametrize("code", UNSEEN, ids=hex)
def test_what_cannot_be_seen_is_in_no_name(code: int):
    """`Moderator` followed by one of these passed as a name, and so did a name that is nothing else."""
    for name in (chr(code), chr(code) * 3, f"Moderator{chr(code)}", f"A{chr(code)}b", f"{chr(code)}A"):
        with pytest.raises(NameRefused):
            cleaned(name)
    assert keys_of(f"Mod{chr(code)}erator") & keys_of("Moderator") or code in (
        0x1680,
        0x2800,
        0x16FE4,
        0x13441,
        0x1D159,
    )


@pytest.mark.skipif(shutil.which("node") is None, reason="node knows Unicode's properties, and is not here")
def test_all_that_unicode_calls_ignorable_is_ignored():
    """The ranges are written down here; another implementation of Unicode is asked whether they are all."""
    script = r"""
        const found = [];
        for (let code = 0; code < 0x110000; code++)
            if (/\p{Default_Ignorable_Code_Point}/u.test(String.fromCodePoint(code))) found.push(code);
        console.log(JSON.stringify(found));
    """
    done = subprocess.run(["node", "-e", script], capture_output=True, check=True, timeout=60)
    assert set(json.loads(done.stdout)) == names._IGNORABLE


@given(st.text(min_size=1, max_size=40))
def test_a_name_that_is_kept_can_be_seen_and_is_kept_again(name: str):
    try:
        kept = cleaned(name)
    except NameRefused:
        return
    assert cleaned(kept) == kept and len(kept) <= 32
    assert any(unicodedata.category(one)[0] in "LNPS" for one in kept)


@pytest.mark.parametrize(
    "name",
    [
        "operator", "Operator", "OPERATOR", "\u043eperator", "\u03bfperator", "0perator", "op3rat0r",
        "oper\u0430tor", "\uff4f\uff50\uff45\uff52\uff41\uff54\uff4f\uff52", "operator.", "-operator-",
        "\u00f6perator", "operator7", "\U0001d428perator", "admin", "Admin", "adm1n", "\u0430dmin",
        "\u0430d\u043c\u0456n", "@dmin", "admin1", "4dmin", "\u24d0dmin", "ADM\u0406N", "Administrator",
        "adrninistrator", "moderator", "M0derator", "mod3r4t0r", "m\u043ed\u0435rator", "Moderat\u043er",
        "MODERAT\u039fR", "rnoderator", "o p e r a t o r", "operator!", "!operator", "oper|ator", "Moderator+",
        "operator\u0345", "operator\u0b03", "\U0001f150dmin", "1admin", "\u2c65dmin", "admi\u0235", "moderator \u2b50",
        "".join(chr(0x1f170 + ord(one) - 97) for one in "operator"),
        "".join(chr(0x1f1e6 + ord(one) - 97) for one in "admin"),
    ],
)  # fmt: skip
def test_names_that_say_what_somebody_is_are_reserved(name: str):
    assert is_reserved(cleaned(name))


@pytest.mark.parametrize(
    "name", ["Ada", "operetta", "Adam", "Roderick", "modem", "Opera", "Norman", "7", "운영자", "~"]
)
def test_other_names_are_not(name: str):
    assert not is_reserved(cleaned(name))


@pytest.mark.parametrize("code", [code for code in range(0x21, 0x3100) if chr(code).isprintable()][::7])
def test_no_mark_or_symbol_beside_the_word_makes_it_another(code: int):
    """`operator!` was free, since `!` may stand for an `l`."""
    character = chr(code)
    for name in (f"operator{character}", f"{character}operator"):
        if all(unicodedata.category(one)[0] in "MPSZ" for one in unicodedata.normalize("NFKC", character)):
            try:
                assert is_reserved(cleaned(name)), name
            except NameRefused:
                pass


def test_a_name_of_any_length_costs_little_to_refuse():
    with pytest.raises(NameRefused, match="32"):
        cleaned("a" * 257)


@pytest.mark.parametrize("claims", [
    {"sub": "operator"}, {"sub": "u1", "name": "operator"}, {"sub": "Operator", "name": "\u043eperator"},
    {"sub": "0perator"}, {"sub": "operator", "name": "operator", "role": "admin"}, {"sub": "operator\u200b"},
])  # fmt: skip
def test_nobody_with_a_token_is_shown_as_the_operator(claims: dict[str, str]):
    identities = Identities(Auth(secret=SECRET), guest_secret=b"s", new_guest=lambda: "0" * 16)
    identity = identities.identify(jwt.encode(claims, SECRET, algorithm="HS256"), 0.0)
    assert isinstance(identity, Identity) and not is_the_operators(identity.name), identity


def test_reserved_names_are_refused_to_guests_and_the_operators_to_all():
    play = guest("lobby")
    for name in ("Moderator", "adm1n", "operat\u043er", "Moderator\u3164"):
        assert play.asks(type="rename", name=name)["code"] == "bad_request"
    moderator = Play({"auth": {"secret": SECRET}})
    moderator.says_hello(token=jwt.encode({"sub": "m", "name": "Mo", "role": "moderator"}, SECRET, algorithm="HS256"))
    assert kinds(moderator.sends(type="rename", name="Moderator")) == ["ChangeName"]
    assert moderator.asks(type="rename", name="0perator")["code"] == "bad_request"


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


def test_the_short_way_for_ascii_finds_the_same_look():
    """Where nothing is in a normal form yet, all of the steps of UTS #39 are taken."""
    for character in map(chr, range(128)):
        name = f"a{character}m"
        longer = names._skeleton(f"\u00e9{name}")
        assert names._skeleton(name) == longer.removeprefix(names._skeleton("\u00e9"))


def test_generated_names_are_friendly_and_repeatable():
    names = {generated(number) for number in range(0, 2**64, 2**54 + 1)}
    assert len(names) > 900 and all(cleaned(name) == name for name in names)
    assert generated(12345) == generated(12345)


def test_the_longest_known_name_is_meant():
    people = MentionIndex()
    for user, name in (("u1", "Ada"), ("u2", "Ada Lovelace"), ("u3", "Grace"), ("u4", "José")):
        people.add(user, name)
    assert people.mentioned("r", "@Ada hi") == ("u1",)
    assert people.mentioned("r", "hi @ada lovelace, and @GRACE!") == ("u2", "u3")
    assert people.mentioned("r", "(@José)") == ("u4",)
    assert people.mentioned("r", "@Ada's") == ("u1",)


@pytest.mark.parametrize("text", ["Ada", "@Adam", "mail@Ada.com", "@@Ada", "@ Ada", "@nobody", "@", "a@"])
def test_what_is_no_mention_is_none(text: str):
    people = MentionIndex()
    people.add("u1", "Ada")
    assert people.mentioned("r", text) == ()


def test_the_room_can_be_mentioned_and_each_user_once():
    people = MentionIndex()
    people.add("u1", "Ada")
    assert people.mentioned("r", "@room @Ada @ada @room") == ("@room", "u1")


def test_a_name_given_up_is_nobodys():
    people = MentionIndex()
    people.add("u1", "Ada")
    people.add("u1", "Eve")
    assert people.mentioned("r", "@Ada @Eve") == ("u1",)
    assert people.mentioned("r", "@Ada") == ()


def test_what_was_once_said_does_not_bring_back_an_old_name():
    people = MentionIndex()
    people.add_if_new("u1", "Ada")
    people.add("u2", "Eve")
    people.add_if_new("u2", "Bea")
    assert people.mentioned("r", "@Ada @Eve @Bea") == ("u1", "u2")
    assert people.mentioned("r", "@Bea") == ()


def test_mentions_are_bounded():
    people = MentionIndex()
    for number in range(300):
        people.add(f"u{number}", f"n{number}")
    assert len(people.mentioned("r", " ".join(f"@n{number}" for number in range(300)))) == 50


def test_moderators_are_known_by_role_and_name_until_they_have_none():
    index = ModeratorIndex()
    assert index.update(Moderator("m", "Alice", Role.MODERATOR)) and not index.update(
        Moderator("m", "Alice", Role.MODERATOR)
    )
    assert (
        index.role_of("m") is Role.MODERATOR and index.looks_like("AIice", "x") and not index.looks_like("Alice", "m")
    )
    assert index.update(Moderator("m", "Bea", Role.ADMIN))
    assert not index.looks_like("Alice", "x") and index.looks_like("bea", "x")
    assert index.update(Moderator("m", "Bea", Role.USER))
    assert index.role_of("m") is Role.USER and not index.looks_like("Bea", "x")


def test_nobody_may_be_called_as_the_operator():
    index = ModeratorIndex()
    for name in ("operator", "Operator", "\u043eperator"):
        assert index.looks_like(name, "x")
    assert not index.looks_like("operetta", "x")


def test_two_moderators_may_share_a_name_and_one_may_leave():
    index = ModeratorIndex()
    index.update(Moderator("m", "Alice", Role.MODERATOR))
    index.update(Moderator("n", "Alice", Role.MODERATOR))
    index.update(Moderator("m", "Alice", Role.USER))
    assert index.looks_like("Alice", "x")


def test_the_word_filter_stars_out_words_however_they_are_written():
    polite = WordFilter(["darn"])
    person = Person("u", "U", "user", "", True)
    assert polite(SayRequest(person, "r", text="Darn it, d\u0430rn darning!")) == "D*** it, d*** darning!"
    assert polite(SayRequest(person, "r", text="fine")) is None and polite(SayRequest(person, "r", data=1)) is None
    assert isinstance(WordFilter(["darn"], refuse=True)(SayRequest(person, "r", text="darn")), Refuse)


def test_a_generated_name_that_somebody_bears_is_not_given_again():
    people, given = MentionIndex(), []
    for number in range(40):
        name = not_taken(generated(7), 7, people.knows)
        people.add(f"guest:{number}", name)
        given.append(name)
    assert given[0] == generated(7) and len(set(given)) == 32, "then there are no more to try"
    assert not_taken("Ada", 7, lambda name: False) == "Ada"
