"""Every verb against every way to be refused: one table, so that no verb has a way round that another has not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.workers.chat.play import GUEST, Play, guest, kinds, shown
from workers.chat.rules.effects import Consult, PublishNotice, TellRead
from workers.chat.rules.permissions import MODERATE, RULES

ROOM = "closed"
MODERATE_VERBS = sorted(MODERATE)
REQUESTS: dict[str, dict[str, Any]] = {
    "join": {},
    "history": {},
    "leave": {},
    "read": {"offset": 1},
    "members": {},
    "say": {"text": "x"},
    "edit": {"offset": 1, "text": "x"},
    "delete": {"offset": 1},
    "react": {"offset": 1, "emoji": "+"},
    "typing": {},
    **{verb: {"user": "somebody"} for verb in sorted(MODERATE_VERBS)},
    "sanctions": {},
}
ENTER = ("join", "history")  # what can be asked for from outside
SPEAK = ("say", "edit", "delete", "react", "typing")
TOLD = ("read", "typing")  # what may be told to another user
INSIDE = [verb for verb in REQUESTS if verb not in ENTER and verb not in MODERATE_VERBS]


def test_the_table_has_every_verb():
    assert REQUESTS.keys() | {"direct"} == RULES.keys()


def ask(play: Play, verb: str, room: str = ROOM) -> list[Any]:
    return play.sends(type=verb, id=1, room=room, **REQUESTS[verb])


def code(effects: list[Any]) -> str:
    """The error's code, where the one effect is an error."""
    assert kinds(effects) == ["Reply"], effects
    answer = shown(effects)[0]
    assert (answer["type"], answer["id"]) == ("error", 1)
    return str(answer["code"])


def named(play: Play, **changes: Any) -> Play:
    play.session.identity = msgspec.structs.replace(play.session.identity, **changes)
    return play


@pytest.mark.parametrize("verb", INSIDE)
def test_who_is_not_in_the_room_does_nothing_there(verb: str):
    assert code(ask(guest(), verb)) == "not_joined"


@pytest.mark.parametrize("verb", ENTER)
def test_the_tokens_rooms_bind_who_enters(verb: str):
    assert code(ask(named(guest(), patterns=("lobby",)), verb)) == "forbidden"


@pytest.mark.parametrize("verb", [*INSIDE, "history", *sorted(MODERATE_VERBS)])
def test_the_tokens_rooms_bind_every_verb(verb: str):
    """As after a renewed token, before the room was left."""
    assert code(ask(named(guest(ROOM), patterns=("lobby",)), verb)) == "forbidden"


@pytest.mark.parametrize("verb", REQUESTS)
def test_the_rooms_option_join_binds_every_verb(verb: str):
    rooms = [{"match": ROOM, "join": ["role:moderator"]}]
    outside = code(ask(guest(settings={"rooms": rooms}), verb))
    assert outside == ("forbidden" if verb in (*ENTER, *MODERATE_VERBS) else "not_joined")
    play = guest(settings={"rooms": rooms})
    play.session.rooms = (*play.session.rooms, ROOM)
    if verb != "join":
        assert code(ask(play, verb)) == "forbidden"


@pytest.mark.parametrize("verb", SPEAK)
def test_the_rooms_option_say_binds_every_way_to_speak(verb: str):
    play = guest(ROOM, settings={"rooms": [{"match": ROOM, "say": ["role:moderator"]}]})
    assert code(ask(play, verb)) == "forbidden"


@pytest.mark.parametrize("verb", [*INSIDE, *ENTER])
def test_a_ban_from_the_room_keeps_everything_away(verb: str):
    play = guest()
    play.known.bans[GUEST, ROOM] = "no"
    assert code(ask(play, verb)) == ("banned" if verb in ENTER else "not_joined")


@pytest.mark.parametrize("verb", SPEAK)
@pytest.mark.parametrize("where", [ROOM, ""])
def test_a_mute_binds_every_way_to_speak(verb: str, where: str):
    play = guest(ROOM)
    play.known.mutes[GUEST, where] = float("inf")
    assert code(ask(play, verb)) == "muted"


@pytest.mark.parametrize("verb", ENTER)
def test_the_hook_on_join_is_asked_by_every_verb_that_needs_no_joining(verb: str):
    (consult,) = ask(guest(consulted=frozenset({"join"})), verb)
    assert (kinds([consult]), consult.hook) == (["Consult"], "join")


@pytest.mark.parametrize("verb", INSIDE)
def test_what_a_hook_on_join_keeps_out_does_nothing_else_there(verb: str):
    assert code(ask(guest(consulted=frozenset({"join"})), verb)) == "not_joined"


@pytest.mark.parametrize("verb", ["say", "edit"])
def test_the_hook_on_say_is_asked_by_every_verb_that_brings_words(verb: str):
    (consult,) = ask(guest(ROOM, consulted=frozenset({"say"})), verb)
    assert (kinds([consult]), consult.hook) == (["Consult"], "say")


@pytest.mark.parametrize("verb", sorted(MODERATE_VERBS))
def test_who_is_no_moderator_moderates_nothing(verb: str):
    assert code(ask(guest(ROOM), verb)) == "forbidden"


@pytest.mark.parametrize("verb", [verb for verb in REQUESTS if verb not in (*MODERATE_VERBS, *TOLD)])
def test_another_users_inbox_is_closed_to_every_verb(verb: str):
    assert code(ask(guest(), verb, "@somebody")) == ("forbidden" if verb in ENTER else "not_joined")


@pytest.mark.parametrize("verb", TOLD)
def test_a_user_is_told_by_whoever_may_write_to_them(verb: str):
    """That one writes to them, and how far one has read what they wrote: nothing of it is kept."""
    (effect,) = ask(guest(), verb, "@somebody")
    assert effect in (TellRead("somebody", 1), PublishNotice("@somebody", getattr(effect, "payload", b"")))
    play = guest()
    play.known.mutes[GUEST, ""] = float("inf")
    assert code(ask(play, verb, "@somebody")) == "muted"
    assert code(ask(guest(), verb, "@some body")) == "bad_request"


def put_out(play: Play) -> None:
    play.session.expelled(ROOM, "kicked")


def muted(play: Play) -> None:
    play.known.mutes[GUEST, ""] = float("inf")


def banned(play: Play) -> None:
    play.known.bans[GUEST, ROOM] = "no"
    put_out(play)


def narrowed(play: Play) -> None:
    named(play, patterns=("lobby",))


@pytest.mark.parametrize(
    ("verb", "inside", "happens", "expected"),
    [
        *((verb, True, put_out, "not_joined") for verb in ("say", "edit")),
        *((verb, True, banned, "not_joined") for verb in ("say", "edit")),
        *((verb, True, muted, "muted") for verb in ("say", "edit", "direct")),
        *((verb, True, narrowed, "forbidden") for verb in ("say", "edit")),
        *((verb, False, banned, "banned") for verb in ENTER),
        *((verb, False, narrowed, "forbidden") for verb in ENTER),
    ],
)
def test_what_happens_while_a_hook_is_asked_counts_when_it_has_answered(
    verb: str, inside: bool, happens: Any, expected: str
):
    play = guest(*([ROOM] if inside else []), consulted=frozenset({"say", "join"}))
    request = {"to": "somebody", "text": "x"} if verb == "direct" else {"room": ROOM, **REQUESTS[verb]}
    (consult,) = play.sends(type=verb, id=1, **request)
    assert isinstance(consult, Consult)
    happens(play)
    assert code(list(play.session.approved(consult, play.now))) == expected
