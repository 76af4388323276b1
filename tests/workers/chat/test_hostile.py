"""Hostile requests: each gets the right error, names the field where one is to blame, and none a traceback."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.workers.chat.play import Play, guest, shown
from workers.chat.rules.effects import (
    CloseSession,
    Effect,
    Publish,
)
from workers.chat.rules.state import SessionPhase

BIG = 2**53
DEEP = "[" * 100_000 + "]" * 100_000
SAY = '{"type":"say","room":"lobby","text":"a"'

# What was sent, and the field that the error names ("": none).
RAW: list[tuple[str | bytes, str]] = [
    ("", ""), (" ", ""), ("x", ""), ("null", ""), ("true", ""), ("1", ""), ('"say"', ""), ("[]", ""), ("{}", "type"),
    ("{", ""), ("}", ""), ("[" * 50_000, ""), (DEEP, ""), ('{"type":"say"', ""), ("{'type':'ping'}", ""),
    ('{"type":"ping"}{"type":"ping"}', ""), ('{"type":"ping"},', ""), ('{"type":"ping",}', ""),
    ('\ufeff{"type":"ping"}', ""), ("{\"type\":\"ping\"}\x00", ""), ("// hi\n{}", ""), ("NaN", ""), ("undefined", ""),
    ('{"type":null}', "type"), ('{"type":1}', "type"), ('{"type":["say"]}', "type"), ('{"type":{}}', "type"),
    ('{"type":"nope"}', "type"), ('{"type":"SAY"}', "type"), ('{"type":"welcome"}', "type"), ('{"type":""}', "type"),
    ('{"type":"ping","type":"say"}', "type"), ('{"type":"__class__"}', "type"), ('{"Type":"ping"}', "type"),
    ('{"type":"ping","id":1.5}', "id"), ('{"type":"ping","id":true}', "id"), ('{"type":"ping","id":[]}', "id"),
    ('{"type":"ping","id":{}}', "id"), ('{"type":"ping","id":1e400}', "id"), ('{"type":"ping","id":NaN}', ""),
    ('{"type":"ping","id":9007199254740992}', "id"), ('{"type":"ping","id":-9007199254740992}', "id"),
    ('{"type":"ping","id":' + "9" * 5000 + "}", "id"), ('{"type":"ping","id":"' + "x" * 65 + '"}', "id"),
    ('{"type":"ping","id":"\\ud800"}', ""), ('{"type":"ping","\\ud800":1}', ""), ('{"type":"ping","id":"\ud800"}', ""),
    ('{"type":"ping","extra":1}', "extra"), ('{"type":"ping","room":"lobby"}', "room"), ('{"type":"ping","":0}', ""),
    ('{"type":"ping","x":' + DEEP + "}", "x"), (b'{"type":"ping","id":"\xff"}', ""), (b"\xff\xfe", ""),
    (b'{"type":"say","room":"lobby","text":"\xed\xa0\x80"}', ""), (b"\x00" * 100, ""),
    (SAY + ',"data":1}', "text"), (SAY + ',"key":""}', "key"), (SAY + ',"key":null}', "key"),
    (SAY + ',"key":1}', "key"),
    (SAY + ',"key":"' + "k" * 65 + '"}', "key"), (SAY + ',"reply_to":0}', "reply_to"),
    (SAY + ',"reply_to":-1}', "reply_to"), (SAY + ',"reply_to":1.5}', "reply_to"),
    (SAY + ',"reply_to":9007199254740992}', "reply_to"), (SAY + ',"reply_to":"1"}', "reply_to"),
    (SAY + ',"offset":1}', "offset"), (SAY + ',"from":{"user":"root"}}', "from"),
    (SAY + ',"time":1}', "time"), (SAY + ',"mentions":["x"]}', "mentions"), (SAY + ',"to":"bob"}', "to"),
    (SAY + ',"text":1}', "text"), (SAY + ',"__proto__":{}}', "__proto__"), (SAY + ',"text":"\\u"}', ""),
    (SAY + ',"text":"\\ud83d"}', ""), (SAY + ',"text":"\\udc00x"}', ""), (SAY + ',"text":"\n"}', ""),
    (SAY + ',"text":"\\x41"}', ""), (SAY + "]", ""),
    *(
        ('{"type":"say","room":"lobby","data":' + data + "}", field)
        for data, field in [
            ("NaN", ""), ("Infinity", ""), ("-Infinity", ""), ("1e999", "data"), ("-1e999", "data"), ("01", ""),
            ("+1", ""), (".5", ""), ("1.", ""), ("0x10", ""), ("'a'", ""), ('"\\ud800"', ""), ('"\\q"', ""),
            ('{"a":"\\udfff"}', ""), ('{"\\ud800":1}', ""), ("[1,]", ""), ('{"a":1,}', ""), ("{a:1}", ""),
            ("[" * 65 + "]" * 65, "data"), ('{"a":' * 70 + "1" + "}" * 70, "data"), (DEEP, ""), ("", ""),
            ("undefined", ""), ("/**/1", ""), ('"\t"', ""), ("[1 2]", ""), ('{"a" 1}', ""), ("tru", ""),
        ]
    ),
]  # fmt: skip


def _each(*values: Any) -> list[Any]:
    """Values of any types, for one field."""
    return list(values)


WRONG: list[tuple[dict[str, Any], str]] = [
    *(({"type": "join", "room": room}, "room") for room in _each(
        "", " ", "a b", "a/b", "a\n", "\u01c3all", "\uff20bob", "lob\u034fby",
        "lobby\u0000", "x" * 65, "!control", "!all", "@", "@a b", "#a", "a,b", "{a}",
        "a\u200b", "*", 1, None, True, [], {}, ["lobby"],
    )),
    *(({"type": "say", "room": room, "text": "a"}, "room") for room in _each(
        "", " lobby", "lobby ", "a b", "{lobby}", "!control", "x" * 65, "l\uff01bby", "lobby\n", 1, None, [], {},
    )),
    *(({"type": "say", "room": "lobby", "text": text}, "text") for text in _each(
        "", None, 1, 1.5, True, [], {}, ["a"], {"toString": "x"},
    )),
    *(({"type": "join", "room": "a", "since": since}, field) for since, field in _each(
        (1, "since"), ([], "since"), ({}, "since.epoch"), ({"epoch": "e"}, "since.offset"),
        ({"epoch": 1, "offset": 1}, "since.epoch"), ({"epoch": "", "offset": 1}, "since.epoch"),
        ({"epoch": "e" * 200, "offset": 1}, "since.epoch"), ({"epoch": "e", "offset": -1}, "since.offset"),
        ({"epoch": "e", "offset": BIG}, "since.offset"), ({"epoch": "e", "offset": 10**400}, "since.offset"),
        ({"epoch": "e", "offset": "1"}, "since.offset"), ({"epoch": "e", "offset": 1, "x": 1}, "since.x"),
        ("e:1", "since"), (True, "since"),
    )),
    *(({"type": "direct", "to": to, "text": "a"}, "to") for to in _each(
        "", "@bob", "a b", "x" * 65, "b\u2060b", "\ufe6bbob", "bob\n", None, 1, ["bob"],
    )),
    *(({"type": "edit", "room": "lobby", "text": "a", "offset": offset}, "offset") for offset in _each(
        0, -1, BIG, 1.5, "1", None, True, [], 10**400,
    )),
    *(({"type": "react", "room": "lobby", "offset": 1, "emoji": emoji}, "emoji") for emoji in _each(
        "", " ", "a b", "x" * 33, "\u0000", "a\n", None, 1, [], "\u007f",
    )),
    ({"type": "react", "room": "lobby", "offset": 1, "emoji": "x", "remove": 1}, "remove"),
    ({"type": "react", "room": "lobby", "offset": 1, "emoji": "x", "remove": "yes"}, "remove"),
    *(({"type": "history", "room": "lobby", **more}, field) for more, field in (
        ({"limit": 0}, "limit"), ({"limit": 101}, "limit"), ({"limit": -1}, "limit"), ({"limit": "5"}, "limit"),
        ({"limit": 10**30}, "limit"), ({"before": 0}, "before"), ({"before": -5}, "before"),
        ({"after": -1}, "after"), ({"after": BIG}, "after"), ({"before": 5, "after": 1}, "after"),
        ({"before": "9"}, "before"), ({"offset": 1}, "offset"),
    )),
    *(({"type": "read", "room": "lobby", "offset": offset}, "offset") for offset in _each(-1, BIG, 1.5, "1", None, [])),
    *(({"type": "rename", "name": name}, "name") for name in _each(
        "", " ", "\u200b", "\u200d", "a\u202eb", "a\u0000b", "a\nb", "x" * 33, "x" * 300, "\u2028", "a\u2066b",
        "z\u0300\u0301\u0302\u0303\u0304\u0305", "\ufdfa\ufdfa", "\uffff", "\ue000", None, 1, [], {},
    )),
    *(({"type": "kick", "user": user}, "user") for user in _each("", "a b", "x" * 65, None, 1, "@a", "*", [])),
    *(({"type": "ban", "user": "bob", **more}, field) for more, field in (
        ({"seconds": -1}, "seconds"), ({"seconds": 0}, "seconds"), ({"seconds": 1e18}, "seconds"),
        ({"seconds": "60"}, "seconds"), ({"room": "@bob"}, "room"), ({"room": ""}, "room"), ({"reason": 1}, "reason"),
        ({"reason": "x" * 257}, "reason"), ({"rooms": []}, "rooms"),
    )),
]  # fmt: skip


def test_there_are_more_than_two_hundred():
    assert len(RAW) + len(WRONG) > 200


@pytest.mark.parametrize(("data", "field"), RAW, ids=[f"raw{n}" for n in range(len(RAW))])
def test_what_is_no_request_is_answered_with_bad_request(data: str | bytes, field: str):
    play = guest("lobby")
    _assert_refused(play, play.sends(data), field)


@pytest.mark.parametrize(("members", "field"), WRONG, ids=[f"wrong{n}" for n in range(len(WRONG))])
def test_a_request_with_a_wrong_field_is_answered_with_bad_request(members: dict[str, Any], field: str):
    play = guest("lobby")
    answer = _assert_refused(play, play.sends(id=7, **members), field)
    assert answer["id"] == 7


def _assert_refused(play: Play, effects: list[Effect], field: str) -> dict[str, Any]:
    (answer,) = shown(effects)
    assert (answer["type"], answer["code"]) == ("error", "bad_request"), answer
    assert answer.get("field", "") == field, answer
    assert 0 < len(answer["message"]) <= 250 and "Traceback" not in answer["message"]
    assert play.session.phase is SessionPhase.OPEN
    assert play.asks(type="ping")["type"] == "pong"
    return answer


@pytest.mark.parametrize(
    "token",
    [
        "", "x", "a.b.c", "eyJ.eyJ.x", "guest.", "guest.guest:zz.x", "guest.alice." + "A" * 22,
        "guest.guest:00000000000000ff." + "A" * 22, "guest.guest:00000000000000ff.\u00e4" + "A" * 21,
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.", "." * 100, "\u0000", "eyJhbGciOlsiSFMyNTYiXX0.e30.AA",
        "eyJhbGciOiJIUzI1NiIsImtpZCI6MX0.e30.AA", "bnVsbA.bnVsbA.AA", "W10.W10.AA", "x" * 16_384,
    ],
)  # fmt: skip
def test_a_forged_token_ends_the_connection_and_is_never_logged(token: str):
    play = Play({"auth": {"mode": "token", "secret": "s" * 32}})
    (bye,) = play.sends(type="hello", token=token)
    assert isinstance(bye, CloseSession) and bye.code == 4001
    assert not token or len(token) < 5 or token not in bye.note + bye.reason
    assert play.session.phase is SessionPhase.ENDED


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"rooms": "lobby"}, "rooms"), ({"rooms": [{}]}, "rooms[0].room"), ({"rooms": ["lobby"]}, "rooms[0]"),
        ({"rooms": [{"room": "a b"}]}, "rooms[0].room"), ({"rooms": [{"room": "a", "since": 1}]}, "rooms[0].since"),
        ({"rooms": [{"room": "a"}] * 1001}, "rooms"), ({"token": 1}, "token"), ({"token": "x" * 16_385}, "token"),
        ({"name": ""}, "name"), ({"name": 1}, "name"), ({"user": "root"}, "user"), ({"role": "admin"}, "role"),
    ],
)  # fmt: skip
def test_a_wrong_hello_is_no_hello(members: dict[str, Any], field: str):
    play = Play()
    answer = play.asks(type="hello", id="h", **members)
    assert (answer["code"], answer["field"], answer["id"]) == ("bad_request", field, "h")
    assert play.session.phase is SessionPhase.NEW


def test_nested_data_that_others_can_read_is_kept():
    play = guest("lobby")
    for data in ("[" * 64 + "]" * 64, json.dumps([[]] * 500), '{"a":{"a":1},"a":[[]]}'):
        (publish,) = play.sends('{"type":"say","room":"lobby","data":' + data + "}")
        assert isinstance(publish, Publish), data[:50]
