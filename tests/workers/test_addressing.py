"""What rooms, users and connections may be called: one grammar, in any script, in one spelling."""

from __future__ import annotations

import enum
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import addressing
from workers.addressing import connection_id, connection_ids, is_plain_room, log_name, room_name, room_or_inbox, user_id

NAMES = [
    "lobby", "Lobby", "a", "x" * 64, "_.:-", "42", "Küche", "会議室", "комната", "غرفة", "रसोई", "ห้อง", "방", "Ⅷ",
    "٣", "é" * 64, "𝒳" * 64,
]  # fmt: skip
NO_NAMES = [
    "", " ", "a b", "!x", "!all", "@bob", "a@b", "a!", "x" * 65, "x" * 300, "é" * 65, "a\n",
    "a\0", "a\ud800", "{a}", "a,b", "a/b", "\uff20bob", "\ufe6bbob", "\uff01all", "\ufe57all", "\u01c3all", "\u2d51all",
    "a\u200b", "a\u200d", "a\u00a0b", "a\u2060", "lob\u034fby", "\u3164", "\u115f", "\uffa0", "lobby\ufe0f",
    "lobby\U000e0100", "a\u180b", "\u2800", "a\u202eb", "😀", "\ue000", "%",
]  # fmt: skip


@pytest.mark.parametrize("check", [room_name, user_id, room_or_inbox, log_name])
@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_script_are_taken(check: Callable[[object], str], name: str) -> None:
    assert check(name) == name


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_is_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a room: 1 to 64 letters, marks and digits of any script"):
        room_name(name)
    if name != "%":
        with pytest.raises(ValueError, match="no user id: 1 to 64 letters"):
            user_id(name)


@pytest.mark.parametrize("value", [None, 5, 1.5, True, b"lobby", ["lobby"], {"room": "lobby"}, object(), str])
@pytest.mark.parametrize("check", [room_name, user_id, room_or_inbox, log_name, connection_id])
def test_what_is_no_string_is_a_type_error_that_says_so(check: Callable[[object], str], value: Any) -> None:
    with pytest.raises(TypeError, match="string"):
        check(value)


def test_two_spellings_are_one_name_and_two_cases_are_two() -> None:
    assert room_name("Ku\u0308che") == user_id("Ku\u0308che") == "K\u00fcche"
    assert room_name("\u1112\u1161\u11ab" * 64) == "한" * 64
    assert room_or_inbox("@Ku\u0308che") == "@Küche"
    assert room_name("Küche") != room_name("küche")


def test_only_the_operator_names_the_servers_own_rooms_and_nobody_an_inbox_that_is_none() -> None:
    assert log_name("!all") == addressing.ALL_ROOM and log_name("@a%20b") == "@a%20b"
    for name in ("@", "@@bob", "@a b", "@!x", "@\uff20"):
        with pytest.raises(ValueError):
            room_or_inbox(name)
    for name in ("!", "!!", "!a b"):
        with pytest.raises(ValueError):
            log_name(name)


@pytest.mark.parametrize("name", ["lobby", "@ann", "@a%20b", "_.:-", "x" * 64, "@" + "x" * 64])
def test_what_is_plain_is_kept_as_it_is(name: str) -> None:
    assert is_plain_room(name) and room_or_inbox(name) == name


@pytest.mark.parametrize("name", [*NO_NAMES, "K\u00fcche", "@", "@@bob", "@a b", "lobby\n", "@" + "x" * 65])
def test_what_has_to_be_looked_at_is_not_plain(name: str) -> None:
    assert not is_plain_room(name) or room_or_inbox(name) == name


def test_ids_of_connections_come_one_by_one_or_together() -> None:
    assert connection_ids("a1") == connection_ids(["a1"]) == ("a1",)
    assert connection_ids(()) == () and connection_ids({"a1": 1}) == ("a1",)
    for wrong in (None, 5, b"a1", object()):
        with pytest.raises(TypeError, match="exclude takes ids of connections"):
            connection_ids(wrong)
    for wrong in ([5], [None], [object()]):
        with pytest.raises(TypeError, match="a connection id is a string"):
            connection_ids(wrong)
    with pytest.raises(ValueError, match="not the id of a connection"):
        connection_ids("a1,b2")


@given(st.text(alphabet=st.characters(categories=("L", "M", "N")) | st.sampled_from("_.:-"), min_size=1, max_size=64))
def test_whatever_is_taken_is_kept_in_one_bounded_spelling(name: str) -> None:
    try:
        kept = room_name(name)
    except ValueError:
        composed = unicodedata.normalize("NFC", name)
        odd = any(not addressing.is_allowed(one) for one in composed)
        assert odd or len(composed) > 64 or composed.startswith(("\u01c3", "\u2d51"))
        return
    assert kept == unicodedata.normalize("NFC", name) == room_name(kept)
    assert kept == room_name(unicodedata.normalize("NFD", name))
    assert 1 <= len(kept) <= 64 and len(kept.encode()) <= addressing.MAX_BYTES
    assert not kept.startswith(("@", "!"))


def test_a_name_costs_little_whatever_it_is() -> None:
    began = time.process_time()
    for number in range(300):
        with pytest.raises(ValueError):
            room_name(chr(0x300) * 60_000 + str(number))
    assert time.process_time() - began < 1.0


def test_of_an_enum_that_is_a_string_its_value_counts() -> None:
    class Name(str, enum.Enum):  # noqa: UP042  # unlike a StrEnum it prints as Name.LOBBY
        LOBBY = "lobby"
        ARTIST = "Bj\u006f\u0308rk"

    assert room_name(Name.LOBBY) == user_id(Name.LOBBY) == "lobby"
    assert type(room_name(Name.LOBBY)) is str and room_name(Name.ARTIST) == "Bj\u00f6rk"
