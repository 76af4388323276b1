"""The client's pure core as transcripts: what the server says, what the client then does."""

from __future__ import annotations

import json
import math
from typing import Any

from workers.client import events
from workers.client.core import Action, Core, Finish, Resume, Send, StayAway, Tell
from workers.client.errors import OutcomeUnknown, RequestRefused


def server(**message: Any) -> events.FromServer:
    """A message as it comes from the wire."""
    event = events.decode(json.dumps(message))
    assert event is not None, message
    return event


def welcome(*rooms: dict[str, Any], user: str = "u1", **more: Any) -> events.FromServer:
    fixed = {"id": 0, "connection": "c1", "user": user, "name": "Ada", "server_time": 1}
    return server(type="welcome", rooms=list(rooms), **{**fixed, **more})


def state(room: str, offset: int, epoch: str = "e", **more: Any) -> dict[str, Any]:
    return {"room": room, "epoch": epoch, "offset": offset, **more}


def message(room: str, offset: int, epoch: str = "e", text: str = "hi") -> events.FromServer:
    sender = {"user": "u2", "name": "Bob"}
    fields = {"room": room, "epoch": epoch, "offset": offset, "time": 1, "from": sender, "text": text}
    return server(type="message", **fields)


def core(*rooms: str, name: str | None = None) -> Core:
    return Core(rooms, name=name, key_prefix="k")


def heard(one: Core, event: events.FromServer, now: float = 0.0) -> list[Action]:
    return one.receive(event, now)


def greeted(*rooms: str, offset: int = 5) -> Core:
    made = core(*rooms)
    made.hello(None)
    heard(made, welcome(*(state(room, offset) for room in rooms)))
    return made


def due(one: Core, now: float = 0.0) -> list[dict[str, Any]]:
    """What is sent by then."""
    return sent(one.due(now)[0])


def sent(actions: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(action.data) for action in actions if isinstance(action, Send)]


def shown(actions: list[Any]) -> list[int]:
    """The offsets of the entries that the application is shown."""
    return [one.event.offset for one in actions if isinstance(one, Tell) and isinstance(one.event, events.Entry)]


def test_the_first_hello_names_rooms_and_the_next_one_the_place_in_each():
    one = core("lobby", name="Ada")
    first = json.loads(one.hello(None))
    assert first == {"type": "hello", "id": 0, "name": "Ada", "rooms": [{"room": "lobby"}]}
    heard(one, welcome(state("lobby", 5), state("@u1", 0), token="guest.u1.x"))
    heard(one, message("lobby", 6, epoch="e2"))
    one.lost()
    again = json.loads(one.hello(None))
    assert again["token"] == "guest.u1.x"
    assert again["rooms"] == [
        {"room": "lobby", "since": {"epoch": "e2", "offset": 6}},
        {"room": "@u1", "since": {"epoch": "e", "offset": 0}},
    ]


def test_a_given_token_goes_before_the_guests():
    one = greeted()
    one.guest_token = "guest"
    assert json.loads(one.hello("mine"))["token"] == "mine"


def test_entries_are_shown_once_and_in_order():
    one = greeted("lobby")
    assert shown(heard(one, message("lobby", 6))) == [6]
    assert heard(one, message("lobby", 6)) == []
    assert shown(heard(one, message("lobby", 7))) == [7]
    assert heard(one, message("lobby", 5)) == []
    assert one.rooms["lobby"].dropped == 2


def test_every_kind_of_entry_moves_the_place():
    one = greeted("lobby")
    common = {"room": "lobby", "epoch": "e", "time": 1, "from": {"user": "u2"}, "target": 3}
    for offset, more in ((6, {"type": "edited", "text": "x"}), (7, {"type": "deleted"}), (8, {"type": "reacted"})):
        more.setdefault("emoji", "+") if more["type"] == "reacted" else None
        assert shown(heard(one, server(offset=offset, **common, **more))) == [offset]


def test_a_hole_makes_it_resume_and_what_was_missed_comes_then():
    one = greeted("lobby")
    assert heard(one, message("lobby", 8)) == [Resume()]
    one.lost()
    assert json.loads(one.hello(None))["rooms"][0]["since"] == {"epoch": "e", "offset": 5}
    heard(one, welcome(state("lobby", 8, recovered=True)))
    assert [offset for n in (6, 7, 8) for offset in shown(heard(one, message("lobby", n)))] == [6, 7, 8]


def test_a_hole_that_is_still_there_is_told_as_a_gap():
    one = greeted("lobby")
    assert heard(one, message("lobby", 8)) == [Resume()]
    heard(one, welcome(state("lobby", 8, recovered=True)))
    gap, entry = heard(one, message("lobby", 8))
    assert isinstance(gap, Tell)
    assert isinstance(gap.event, events.Gap)
    assert (gap.event.first, gap.event.last) == (6, 7)
    assert shown([entry]) == [8]


def test_gap_and_reset_move_the_place_and_are_told():
    one = greeted("lobby")
    (told,) = heard(one, server(type="gap", room="lobby", epoch="e", **{"from": 6, "to": 9}))
    assert isinstance(told, Tell)
    assert shown(heard(one, message("lobby", 10))) == [10]
    (told,) = heard(one, server(type="reset", room="lobby", epoch="f", offset=2))
    assert isinstance(told, Tell)
    assert shown(heard(one, message("lobby", 3, epoch="f"))) == [3]


def test_a_request_is_answered_by_its_id_only():
    one = greeted("lobby")
    first, second = one.ask("say", room="lobby", text="a"), one.ask("say", room="lobby", text="b")
    assert first.key != second.key
    (done,) = heard(one, server(type="ack", id=second.id, room="lobby", epoch="e", offset=7))
    assert isinstance(done, Finish)
    assert done.id == second.id
    assert list(one.requests.pending) == [first.id]
    assert heard(one, server(type="ack", id=second.id, room="lobby", epoch="e", offset=7)) == []


def test_what_was_not_answered_is_sent_again_in_order_and_under_the_same_key():
    one = greeted("a", "b", "c")
    wanted = [one.ask("say", room=room, text=room) for room in "abc"]
    assert [line["text"] for line in due(one)] == ["a", "b", "c"]
    assert due(one) == []
    heard(one, server(type="ack", id=wanted[1].id, room="b", epoch="e", offset=6))
    one.lost()
    one.hello(None)
    heard(one, welcome(state("a", 6), state("b", 6), state("c", 6)))
    assert [(line["text"], line["key"]) for line in due(one)] == [("a", wanted[0].key), ("c", wanted[2].key)]


def test_a_given_key_is_kept():
    assert greeted("lobby").ask("say", room="lobby", text="a", key="mine").key == "mine"


def test_what_is_worth_a_retry_waits_and_stays():
    one = greeted("lobby")
    request = one.ask("say", room="lobby", text="a")
    due(one)
    assert heard(one, server(type="error", id=request.id, code="unavailable", retry_after_ms=250), 1.0) == []
    assert one.due(1.2) == ([], 1.25)
    (again,) = due(one, 1.25)
    assert again["key"] == request.key


def test_a_refusal_ends_the_request_and_not_the_others():
    one = greeted("lobby")
    request, other = one.ask("say", room="lobby", text="a"), one.ask("say", room="lobby", text="b")
    (done,) = heard(one, server(type="error", id=request.id, code="muted", message="for a while"))
    assert isinstance(done, Finish)
    assert isinstance(done.answer, RequestRefused)
    assert done.answer.code == "muted"
    assert list(one.requests.pending) == [other.id]


def test_a_join_under_way_is_settled_by_the_next_welcome():
    one = greeted()
    request = one.ask("join", room="tea")
    one.lost()
    assert {"room": "tea"} in json.loads(one.hello(None))["rooms"]
    done = [action for action in heard(one, welcome(state("tea", 3, members=2))) if isinstance(action, Finish)]
    assert done[0].id == request.id
    assert isinstance(done[0].answer, events.Joined)
    assert done[0].answer.offset == 3


def test_a_join_with_a_place_keeps_it():
    one = greeted()
    one.ask("join", room="tea", since={"epoch": "e", "offset": 1})
    heard(one, server(type="joined", id=1, room="tea", epoch="e", offset=3, recovered=True))
    assert shown(heard(one, message("tea", 2))) == [2]


def test_a_refused_join_is_not_tried_again():
    one = greeted()
    request = one.ask("join", room="tea")
    heard(one, server(type="error", id=request.id, code="forbidden"))
    one.lost()
    assert json.loads(one.hello(None))["rooms"] == []


def test_a_room_that_the_welcome_does_not_list_is_gone():
    one = core("lobby", "secret")
    one.hello(None)
    told = [one.event for one in heard(one, welcome(state("lobby", 1))) if isinstance(one, Tell)]
    assert [event.room for event in told if isinstance(event, events.Left)] == ["secret"]
    assert list(one.rooms) == ["lobby"]


def test_who_was_put_out_of_a_room_does_not_come_back_to_it():
    one = greeted("lobby")
    heard(one, server(type="left", room="lobby", reason="kicked"))
    assert heard(one, message("lobby", 6)) == []
    assert json.loads(one.hello(None))["rooms"] == []


def test_a_leave_that_was_cut_off_is_done():
    one = greeted("lobby")
    request = one.ask("leave", room="lobby")
    one.lost()
    assert json.loads(one.hello(None))["rooms"] == []
    assert any(isinstance(a, Finish) and a.id == request.id for a in heard(one, welcome()))


def test_a_renewed_hello_does_not_touch_the_places():
    one = greeted("lobby")
    request = one.ask("hello", token="fresh")
    heard(one, message("lobby", 6))
    (done,) = heard(one, welcome(state("lobby", 9), id=request.id))
    assert isinstance(done, Finish)
    assert shown(heard(one, message("lobby", 7))) == [7]


def test_read_marks_never_move_back_and_survive_a_reconnect():
    one = greeted("lobby")
    assert one.mark_read("lobby", 5)
    assert one.mark_read("lobby", 4) is None
    one.lost()
    assert one.mark_read("lobby", 6) is None
    one.hello(None)
    assert {"type": "read", "room": "lobby", "offset": 6} in sent(heard(one, welcome(state("lobby", 6))))


def test_a_new_name_is_used_after_a_reconnect():
    one = greeted()
    request = one.ask("rename", name="Eve")
    heard(one, server(type="ack", id=request.id))
    assert json.loads(one.hello(None))["name"] == "Eve"


def test_a_stranger_comes_without_the_old_inbox():
    one = greeted("lobby", "@u1")
    one.guest_token = "guest.u1.x"
    one.become_a_stranger(30.0)
    hello = json.loads(one.hello(None))
    assert "token" not in hello
    assert [wanted["room"] for wanted in hello["rooms"]] == ["lobby"]


def test_messages_of_a_type_to_come_are_ignored():
    assert events.decode('{"type":"hologram","room":"lobby"}') is None


def test_a_hello_that_found_no_store_is_said_again_on_the_same_connection():
    one = core("lobby")
    first = one.hello("token")
    error = server(type="error", id=0, code="unavailable", retry_after_ms=250)
    assert heard(one, error, 1.0) == [Tell(error)]
    assert one.due(1.1) == ([], 1.25)
    assert one.due(1.25) == ([Send(first)], math.inf)
    assert one.due(9.0) == ([], math.inf), "not twice for one refusal"
    heard(one, error, 9.0)
    one.lost()
    one.hello("token")
    assert one.due(99.0) == ([], math.inf), "the next connection says its own"


def test_what_a_guest_may_have_said_already_is_not_said_again_by_a_stranger():
    one = greeted("lobby")
    said = one.ask("say", room="lobby", text="once")
    due(one)
    one.lost()
    waiting = one.ask("say", room="lobby", text="not yet")
    (done,) = one.become_a_stranger(30.0)
    assert isinstance(done, Finish)
    assert done.id == said.id
    assert isinstance(done.answer, OutcomeUnknown)
    one.hello(None)
    heard(one, welcome(state("lobby", 5), user="u2"))
    assert [message["key"] for message in due(one)] == [waiting.key]


def test_who_is_not_let_in_stays_away():
    one = core("lobby")
    one.hello(None)
    told, away = heard(one, server(type="error", id=0, code="forbidden", message="no", field="token"))
    assert isinstance(told, Tell)
    assert isinstance(away, StayAway)
    assert (away.why.code, away.why.field) == ("forbidden", "token")


def test_a_room_that_a_program_brings_the_client_into_is_told_and_kept() -> None:
    one = greeted("tea")
    (told,) = heard(one, server(type="joined", room="hall", epoch="e", offset=3))
    assert isinstance(told, Tell) and isinstance(told.event, events.Joined) and told.event.room == "hall"
    assert shown(heard(one, message("hall", 4))) == [4]
    assert {room["room"] for room in json.loads(one.hello(None))["rooms"]} == {"tea", "hall"}
