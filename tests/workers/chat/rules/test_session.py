"""Transcripts of a session: every request of the protocol, what it leads to and what it is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.workers.chat.play import GUEST, NOW, Play, guest, kinds, shown
from workers.chat.rules import commands
from workers.chat.rules.effects import (
    Admit,
    AmendMessage,
    ChangeName,
    CloseSession,
    Consult,
    EnterRoom,
    Greet,
    MarkRead,
    Publish,
    PublishDirect,
    PublishNotice,
    ReadHistory,
    ReadMembers,
)
from workers.chat.rules.replies import RoomState
from workers.chat.rules.request_error import RequestError
from workers.chat.rules.session import ChatSession
from workers.chat.rules.state import SessionPhase

# ---- hello ---------------------------------------------------------------------------------------------


def test_hello_of_a_guest_admits_to_the_inbox_and_the_wanted_rooms():
    play = Play()
    (admit,) = play.sends(type="hello", id=1, rooms=[{"room": "lobby", "since": {"epoch": "e1", "offset": 3}}])
    assert isinstance(admit, Admit)
    assert admit.wanted == (commands.Wanted(f"@{GUEST}"), commands.Wanted("lobby", commands.Since("e1", 3)))
    welcome, *rest = shown(play.admits([admit]))
    assert not rest
    assert welcome["type"] == "welcome" and welcome["id"] == 1
    assert welcome["user"] == GUEST and welcome["connection"] == "c1"
    assert welcome["server_time"] == NOW * 1000 and welcome["ping_interval"] == 25.0
    assert welcome["limits"]["message_size"] == 65536
    assert [room["room"] for room in welcome["rooms"]] == [f"@{GUEST}", "lobby"]
    assert welcome["token"].startswith(f"guest.{GUEST}.")


def test_a_guest_who_comes_back_with_the_token_is_the_same_guest():
    token = Play().says_hello()["token"]
    play = Play()
    (admit,) = play.sends(type="hello", token=token)
    assert isinstance(admit, Admit)
    assert admit.identity.user == GUEST and not admit.identity.fresh


def test_a_forged_guest_token_ends_the_connection_with_4001():
    token = Play().says_hello()["token"]
    (bye,) = Play().sends(type="hello", token=token.replace("ff.", "fe."))
    assert isinstance(bye, CloseSession) and bye.code == 4001 and token not in bye.note


def test_hello_with_a_name_that_is_cleaned():
    assert Play().says_hello(name="  Ada   Lovelace ")["name"] == "Ada Lovelace"


def test_hello_with_a_bad_name_may_be_said_again():
    play = Play()
    answer = play.asks(type="hello", id=1, name="a\u202eb")
    assert (answer["code"], answer["field"], answer["id"]) == ("bad_request", "name", 1)
    assert play.says_hello(name="ab")["name"] == "ab"


def test_whoever_begins_with_another_request_is_a_guest_and_gets_its_answer_after_the_welcome():
    play = Play()
    effects = play.admits(play.sends(type="join", id=5, room="lobby"))
    assert kinds(effects) == ["Reply", "EnterRoom"]
    assert shown(effects)[0]["type"] == "welcome" and "id" not in shown(effects)[0]


def test_silence_makes_a_guest():
    play = Play()
    assert kinds(play.session.hello_timed_out(play.now)) == ["Admit"]


def test_what_is_no_request_does_not_make_a_guest():
    play = Play()
    assert play.asks("hello there")["code"] == "bad_request"
    assert play.session.phase is SessionPhase.NEW


def test_where_a_token_is_demanded_nothing_comes_before_hello():
    play = Play({"auth": {"mode": "token", "secret": "s" * 32}})
    assert play.asks(type="ping", id=1)["code"] == "unauthorized"
    (bye,) = play.session.hello_timed_out(play.now)
    assert isinstance(bye, CloseSession) and bye.code == 4002


def test_where_a_token_is_demanded_a_hello_without_one_is_4001():
    play = Play({"auth": {"mode": "token", "secret": "s" * 32}})
    (bye,) = play.sends(type="hello")
    assert isinstance(bye, CloseSession) and bye.code == 4001


def test_rooms_that_are_not_for_this_user_are_told_one_by_one_after_the_welcome():
    play = Play({"rooms": [{"match": "staff-*", "join": ["role:moderator"]}]})
    rooms = [{"room": "staff-1"}, {"room": "@somebody"}, {"room": "lobby"}]
    welcome, *errors = shown(play.admits(play.sends(type="hello", id=1, rooms=rooms)))
    assert [room["room"] for room in welcome["rooms"]] == [f"@{GUEST}", "lobby"]
    assert [(one["code"], one["field"]) for one in errors] == [
        ("forbidden", "rooms[0].room"),
        ("forbidden", "rooms[1].room"),
    ]
    assert all("id" not in one for one in errors)


def test_ones_own_inbox_may_be_resumed_with_since():
    play = Play()
    (admit,) = play.sends(
        type="hello", rooms=[{"room": f"@{GUEST}", "since": {"epoch": "e", "offset": 1}}, {"room": f"@{GUEST}"}]
    )
    assert isinstance(admit, Admit) and [one.room for one in admit.wanted] == [f"@{GUEST}"]


def test_somebody_who_cannot_be_let_in_now_may_try_again():
    play = Play()
    play.sends(type="join", id=7, room="lobby")
    (answer,) = shown(play.session.refused(None, RequestError("unavailable", "the store is away", retry_after=1)))
    assert (answer["code"], answer["id"], answer["retry_after_ms"]) == ("unavailable", 7, 1000)
    assert play.says_hello()["type"] == "welcome"


@pytest.mark.parametrize(("code", "wait"), [(4003, 0), (4004, 5000)])
def test_somebody_who_is_turned_away_is_told_when_to_come_back(code: int, wait: int):
    play = Play()
    play.sends(type="hello")
    assert play.session.turned_away(code, "no") == (CloseSession(code, "no", wait),)
    assert play.session.phase is SessionPhase.ENDED


# ---- the second hello -----------------------------------------------------------------------------------


def test_a_second_hello_may_change_the_name():
    play = guest()
    effects = play.sends(type="hello", id=2, name="Bo")
    assert effects == [Greet(2, "Bo")]
    play.session.rename("Bo")
    (welcome,) = shown(play.session.greeted(2, [RoomState(room="lobby", epoch="e", offset=1)], play.now))
    assert welcome["name"] == "Bo" and welcome["id"] == 2


def test_a_second_hello_joins_no_rooms():
    assert guest().asks(type="hello", rooms=[{"room": "a"}])["field"] == "rooms"


def test_a_second_hello_with_a_wrong_token_changes_nothing():
    play = guest()
    answer = play.asks(type="hello", token="guest.guest:00000000000000fe." + "A" * 22)
    assert (answer["code"], answer["field"]) == ("unauthorized", "token")
    assert play.session.phase is SessionPhase.OPEN


# ---- rooms ---------------------------------------------------------------------------------------------


def test_join_and_leave():
    play = guest()
    assert play.joins("lobby", id="j") == {
        "type": "joined", "id": "j", "room": "lobby", "epoch": "e1", "offset": 7, "members": 1,
    }  # fmt: skip
    effects = play.sends(type="leave", id="l", room="lobby")
    assert kinds(effects) == ["LeaveRoom"]
    assert shown(effects) == [{"type": "left", "id": "l", "room": "lobby"}]
    assert play.asks(type="leave", room="lobby")["code"] == "not_joined"


def test_joining_again_is_no_mistake():
    play = guest("lobby")
    (join,) = play.sends(type="join", id=1, room="lobby")
    assert isinstance(join, EnterRoom) and join.again


def test_an_inbox_cannot_be_left_nor_anothers_joined():
    play = guest()
    assert play.asks(type="leave", room=f"@{GUEST}")["code"] == "forbidden"
    assert play.asks(type="join", room="@bob")["code"] == "forbidden"


def test_rooms_of_one_connection_are_limited():
    play = guest(settings={"limits": {"rooms_per_connection": 2}})
    play.joins("a")
    play.joins("b")
    assert play.asks(type="join", room="c")["code"] == "limit_reached"
    play.sends(type="leave", room="a")
    assert play.joins("c")["room"] == "c"


def test_a_banned_user_cannot_join():
    play = guest()
    play.known.bans[GUEST, "lobby"] = "spam"
    answer = play.asks(type="join", room="lobby")
    assert (answer["code"], answer["message"]) == ("banned", "you are banned from this room: spam")
    assert answer["reason"] == "spam" and "until" not in answer, "without end"


def test_a_large_room_costs_tokens_to_join():
    play = guest(settings={"limits": {"rate": 1, "burst": 20}})
    (join,) = play.sends(type="join", room="huge")
    assert isinstance(join, EnterRoom)
    play.session.joined(join, RoomState(room="huge", epoch="e", offset=1, members=50_000))
    assert play.asks(type="ping")["code"] == "rate_limited"


# ---- say, direct ---------------------------------------------------------------------------------------


def test_say_publishes_the_message_without_its_place():
    play = guest("lobby")
    name = play.session.identity.name
    (publish,) = play.sends(type="say", id=9, room="lobby", text='<b>"hi"\n\u2028 é 👍', reply_to=3)
    assert isinstance(publish, Publish) and publish.id == 9 and publish.key == ""
    assert json.loads(publish.payload) == {
        "type": "message", "room": "lobby", "from": {"user": GUEST, "name": name},
        "text": '<b>"hi"\n\u2028 é 👍', "reply_to": 3,
    }  # fmt: skip


def test_say_keeps_data_byte_for_byte():
    play = guest("lobby")
    data = '{"a": 1.50, "a": [1e5,  "\\u00e9", null]}'
    (publish,) = play.sends('{"type":"say","room":"lobby","data":' + data + "}")
    assert isinstance(publish, Publish) and data.encode() in publish.payload


def test_data_may_be_null_or_false():
    values: list[Any] = [None, False, 0, "", [], {}]
    for value in values:
        assert kinds(guest("lobby").sends(type="say", room="lobby", data=value)) == ["Publish"]


def test_say_needs_text_or_data_but_not_both():
    play = guest("lobby")
    assert play.asks(type="say", room="lobby")["code"] == "bad_request"
    assert play.asks(type="say", room="lobby", text="a", data=1)["code"] == "bad_request"
    empty, long = (
        play.asks(type="say", room="lobby", text=""),
        play.asks(type="say", room="lobby", text="a", key="k" * 65),
    )
    assert (empty["message"], long["message"]) == ("`text` is empty", "`key` is too long: 64 at most")
    assert play.asks(type="say", room="lobby", text="")["field"] == "text"


def test_say_marks_who_is_mentioned():
    play = guest("lobby")
    play.known.people = {"Ada": "u1", "room": "@room"}
    (publish,) = play.sends(type="say", room="lobby", text="@Ada tell @room")
    assert isinstance(publish, Publish) and json.loads(publish.payload)["mentions"] == ["u1", "@room"]


def test_a_retry_under_another_name_is_the_same_request():
    play = guest("lobby")
    (first,) = play.sends(type="say", room="lobby", text="a", key="k")
    play.session.rename("Other")
    (second,) = play.sends(type="say", room="lobby", text="a", key="k")
    assert isinstance(first, Publish) and isinstance(second, Publish)
    assert first.content == second.content and first.payload != second.payload
    (third,) = play.sends(type="say", room="lobby", text="b", key="k")
    assert isinstance(third, Publish) and third.content != first.content


def test_a_room_must_be_joined_first_and_its_name_be_one():
    play = guest()
    assert play.asks(type="say", id=1, room="lobby", text="a")["code"] == "not_joined"
    assert play.asks(type="say", id=1, room="no room", text="a") | {"message": ""} == {
        "type": "error", "id": 1, "code": "bad_request", "message": "", "field": "room",
    }  # fmt: skip


def test_the_rooms_own_size_is_too_large_not_a_close():
    play = guest("tiny", settings={"rooms": [{"match": "tiny", "message_size": 4}]})
    assert kinds(play.sends(type="say", room="tiny", text="1234")) == ["Publish"]
    assert play.asks(type="say", room="tiny", text="äöü")["code"] == "too_large"
    assert play.asks(type="say", room="tiny", data=[1, 2, 3])["field"] == "data"


@pytest.mark.parametrize("verb", [{"type": "say"}, {"type": "direct", "to": "u2"}, {"type": "edit", "offset": 1}])
def test_the_servers_size_is_that_of_the_text_or_the_data(verb: dict[str, Any]):
    play = guest("lobby", settings={"limits": {"message_size": 100}})
    asked = {"room": "lobby", **verb} if "to" not in verb else verb
    for field, fits, over in (("text", "\x01" * 100, "\x01" * 101), ("data", ["x" * 96], ["x" * 97])):
        assert kinds(play.sends(**asked, **{field: fits}))[0] in ("Publish", "PublishDirect", "AmendMessage")
        refused = play.asks(id=7, **asked, **{field: over})
        assert (refused["code"], refused["field"], refused["id"]) == ("too_large", field, 7)


def test_a_room_may_not_allow_more_than_the_server():
    rules = [{"match": "wide", "message_size": 1000}]
    play = guest("wide", settings={"rooms": rules, "limits": {"message_size": 100}})
    assert play.asks(type="say", room="wide", text="x" * 101)["code"] == "too_large"


def test_only_what_is_said_may_be_larger_than_a_message():
    play = guest("lobby", settings={"limits": {"message_size": 100}})
    (refused,) = shown(play.session.receive_data('{"type": "ping", "id": 3' + " " * 9000 + "}", NOW))
    assert (refused["code"], refused["id"]) == ("too_large", 3)


def test_who_may_not_say_may_still_listen():
    play = guest("news", settings={"rooms": [{"match": "news", "say": ["role:admin"]}]})
    for verb in ({"type": "say", "text": "a"}, {"type": "typing"}, {"type": "react", "offset": 1, "emoji": "x"}):
        assert play.asks(room="news", **verb)["code"] == "forbidden"


def test_slow_mode_is_asked_of_the_store():
    play = guest("slow", settings={"rooms": [{"match": "slow", "slow_mode": 2.5}]})
    (publish,) = play.sends(type="say", room="slow", text="a")
    assert isinstance(publish, Publish) and publish.slow_mode == 2.5


def test_a_muted_user_is_told_for_how_long():
    play = guest("lobby")
    play.known.mutes[GUEST, "lobby"] = NOW + 60
    assert play.asks(type="say", room="lobby", text="a")["retry_after_ms"] == 60_000
    for seconds, words in ((59.5, "60 s"), (120, "2 min"), (5400, "90 min"), (7200, "2 h"), (864_000, "10 d")):
        play.known.mutes[GUEST, "lobby"] = NOW + seconds
        play.known.reasons[GUEST, "lobby"] = "too loud"
        refused = play.asks(type="say", room="lobby", text="a")
        assert refused["message"] == f"you are muted for {words} more: too loud"
    play.known.mutes[GUEST, ""] = float("inf")
    assert "retry_after_ms" not in play.asks(type="direct", to="bob", text="a")


def test_direct_is_written_for_both():
    play = guest()
    (direct,) = play.sends(type="direct", id=1, to="bob", text="psst", key="k")
    assert isinstance(direct, PublishDirect)
    theirs, own = json.loads(direct.payload), json.loads(direct.own_payload)
    assert (theirs["room"], own["room"], theirs["to"], own["to"]) == ("@bob", f"@{GUEST}", "bob", "bob")
    assert theirs["text"] == own["text"] == "psst"


def test_nobody_says_into_an_inbox():
    play = guest()
    assert play.asks(type="say", room=f"@{GUEST}", text="a")["code"] == "forbidden"
    assert play.asks(type="say", room="@bob", text="a")["code"] == "not_joined"


# ---- edit, delete, react ---------------------------------------------------------------------------------


def test_edit_is_an_entry_of_its_own_and_a_change_of_another():
    play = guest("lobby")
    (amend,) = play.sends(type="edit", id=1, room="lobby", offset=5, text="better")
    assert isinstance(amend, AmendMessage) and not amend.any_author
    assert (amend.change.verb, amend.change.target) == ("edit", 5)
    shown_payload = json.loads(amend.payload)
    assert shown_payload["type"] == "edited" and shown_payload["target"] == 5 and shown_payload["text"] == "better"


def test_delete_and_react():
    play = guest("lobby")
    (delete,) = play.sends(type="delete", room="lobby", offset=5, key="k")
    assert isinstance(delete, AmendMessage) and json.loads(delete.payload)["type"] == "deleted" and delete.key == "k"
    (react,) = play.sends(type="react", room="lobby", offset=5, emoji="👍")
    assert isinstance(react, AmendMessage) and react.change.emoji == "👍" and react.any_author
    (undo,) = play.sends(type="react", room="lobby", offset=5, emoji="👍", remove=True)
    assert (
        isinstance(undo, AmendMessage) and undo.change.verb == "unreact" and json.loads(undo.payload)["remove"] is True
    )


# ---- the rest ------------------------------------------------------------------------------------------


def test_read_typing_ping():
    play = guest("lobby")
    assert play.sends(type="read", room="lobby", offset=4) == [MarkRead("lobby", 4)]
    (note,) = play.sends(type="typing", room="lobby")
    assert isinstance(note, PublishNotice) and json.loads(note.payload)["type"] == "typing"
    assert play.asks(type="ping", id="p") == {"type": "pong", "id": "p", "server_time": int(NOW * 1000)}


def test_history_and_members():
    play = guest("lobby")
    assert play.sends(type="history", id=1, room="lobby", before=9, limit=3) == [ReadHistory(1, "lobby", 9, None, 3)]
    assert play.asks(type="history", room="lobby", before=9, after=1)["field"] == "after"
    assert play.sends(type="members", id=2, room="lobby") == [ReadMembers(2, "lobby")]
    assert play.asks(type="members", room="elsewhere")["code"] == "not_joined"
    assert play.asks(type="history", room="@bob")["code"] == "forbidden"


def test_history_of_a_room_that_one_may_join_needs_no_joining():
    assert kinds(guest().sends(type="history", room="lobby")) == ["ReadHistory"]


def test_rename_is_carried_out_for_all_connections_at_once():
    play = guest()
    assert play.sends(type="rename", id=1, name="Grace") == [ChangeName(1, "Grace")]
    assert play.session.rename("Grace") and play.session.identity.name == "Grace"


def test_a_name_that_looks_like_a_moderators_is_refused():
    play = guest()
    play.known.moderators["m"] = "Alice"
    for name in ("alice", "\u0410l\u0456\u0441\u0435", "AIice", "A l i c e", "\uff21lice", "al\u0131ce"):
        assert play.asks(type="rename", name=name)["field"] == "name", name


def test_somebody_who_was_kicked_from_a_room_has_left_it():
    play = guest("lobby")
    effects = play.session.expelled("lobby", "be nice")
    assert kinds(effects) == ["LeaveRoom"]
    assert shown(effects) == [{"type": "left", "room": "lobby", "reason": "be nice"}]
    assert play.asks(type="say", room="lobby", text="a")["code"] == "not_joined"
    assert play.session.expelled("lobby", "again") == ()


def test_whoever_cannot_join_again_is_told_to_be_out():
    play = guest("lobby")
    play.session.forget("lobby")
    assert shown(play.session.lost("lobby", "try again")) == [{"type": "left", "room": "lobby", "reason": "try again"}]
    assert play.asks(type="say", room="lobby", text="a")["code"] == "not_joined"
    play.session.removed("out")
    assert play.session.lost("lobby", "try again") == ()


def test_somebody_who_was_kicked_from_everything_is_sent_away_once():
    play = guest("lobby")
    assert play.session.removed("out") == (CloseSession(4003, "out"),)
    assert play.session.removed("out") == ()


# ---- limits --------------------------------------------------------------------------------------------


def test_too_many_requests_are_refused_and_a_flood_ends_the_connection():
    play = guest(settings={"limits": {"rate": 10, "burst": 5}})
    answers = [play.asks(type="ping", id=n) for n in range(6)]
    assert [one["type"] for one in answers] == ["pong"] * 4 + ["error"] * 2
    assert (answers[-1]["code"], answers[-1]["id"], answers[-1]["retry_after_ms"]) == ("rate_limited", 5, 100)
    play.passes(0.1)
    assert play.asks(type="ping")["type"] == "pong"
    effects = [play.sends(type="ping")[0] for _ in range(24)]
    assert kinds(effects) == ["Reply"] * 23 + ["CloseSession"]
    assert isinstance(effects[-1], CloseSession) and effects[-1].code == 4009


def test_whoever_stops_in_time_is_forgiven():
    play = guest(settings={"limits": {"rate": 10, "burst": 5}})
    for _ in range(3):
        for _ in range(24):
            assert kinds(play.sends(type="ping")) == ["Reply"]
        play.passes(10)


def test_large_requests_cost_more():
    play = guest("a", settings={"limits": {"rate": 1, "burst": 10}})
    play.sends(type="say", room="a", text="x" * 60_000)
    answers = [play.asks(type="ping")["type"] for _ in range(6)]
    assert answers == ["pong"] * 5 + ["error"] or answers == ["pong"] * 6


def test_a_clock_that_goes_back_does_no_harm():
    play = guest(settings={"limits": {"rate": 1, "burst": 5}})
    play.passes(-1000)
    assert play.asks(type="ping")["type"] == "pong"


def test_no_rate_means_no_limit():
    play = guest(settings={"limits": {"rate": 0, "burst": 1}})
    assert all(play.asks(type="ping")["type"] == "pong" for _ in range(1000))


# ---- hooks ---------------------------------------------------------------------------------------------


def test_the_application_is_asked_before_anything_is_kept():
    play = guest("lobby", consulted=frozenset({"say"}))
    (consult,) = play.sends(type="say", id=1, room="lobby", text="damn")
    assert isinstance(consult, Consult) and consult.hook == "say"
    (publish,) = play.session.approved(consult, play.now, text="d***")
    assert isinstance(publish, Publish) and json.loads(publish.payload)["text"] == "d***"


def test_what_cannot_be_said_is_not_even_asked_about():
    play = guest("lobby", consulted=frozenset({"say"}))
    assert play.asks(type="say", room="other", text="a")["code"] == "not_joined"
    assert play.asks(type="say", room="lobby")["code"] == "bad_request"


def test_a_new_name_and_a_second_hello_are_asked_about_as_the_first():
    play = Play(consulted=frozenset({"hello"}))
    (hello,) = play.sends(type="hello")
    assert isinstance(hello, Consult)
    play.admits(list(play.session.approved(hello, play.now)))
    (consult,) = play.sends(type="rename", id=1, name="Ada")
    assert isinstance(consult, Consult) and (consult.hook, consult.identity.name) == ("hello", "Ada")
    assert play.session.approved(consult, play.now) == (ChangeName(1, "Ada"),)
    (again,) = play.sends(type="hello", id=2, name="Eve")
    assert isinstance(again, Consult) and (again.hook, again.identity.name) == ("hello", "Eve")
    assert play.session.approved(again, play.now) == (Greet(2, "Eve"),)


def test_hello_and_join_are_asked_about_too():
    play = Play(consulted=frozenset({"hello", "join"}))
    (hello,) = play.sends(type="hello", id=1)
    assert isinstance(hello, Consult) and hello.identity.user == GUEST
    play.admits(list(play.session.approved(hello, play.now)))
    (join,) = play.sends(type="join", id=2, room="lobby")
    assert isinstance(join, Consult) and join.hook == "join"
    assert kinds(play.session.approved(join, play.now)) == ["EnterRoom"]


# ---- hand-over -----------------------------------------------------------------------------------------


def test_a_session_goes_on_elsewhere_as_it_was():
    play = guest("lobby", settings={"limits": {"rate": 1, "burst": 5}})
    play.session.rename("Ada")
    play.passes(1)
    state = play.session.snapshot(play.now)
    session = ChatSession.restore(play.context, "c1", state, play.now + 100)
    assert session.identity == play.session.identity and session.rooms == play.session.rooms
    assert session.snapshot(play.now + 100) == state
