"""What both clients must do: data only, played by `test_scenes`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.scenes.steps import (
    CUT,
    GREET,
    WELCOME,
    Close,
    Expect,
    Push,
    Scene,
    Waited,
    answer,
    bye,
    call,
    entry,
    gap,
    greet,
    hear,
    kept,
    refuse,
    reset,
)

FOR_GOOD = (1000, 1002, 1003, 1007, 1008, 1009, 4003)
SOON = (1001, 1011, 1012, 4002, 4008, 4010)
LATER = (4004, 4009)
BOB = {"user": "u2", "name": "Bob"}
LOST = ("ended", 1006)


def message(offset: int, epoch: str = "e", **state: Any) -> tuple[Any, ...]:
    """As it is told."""
    return ("message", "lobby", epoch, offset, *(state.get(name) for name in ("edited", "deleted", "reactions")))


def connections() -> Iterator[Scene]:
    """Coming back, or not."""
    yield Scene(
        name="it resumes where it was",
        connections=[
            [GREET, entry(1), entry(2), CUT],
            [
                greet(hello={"rooms": [{"room": "lobby", "since": {"epoch": "e", "offset": 2}}]}, offset=4),
                *(entry(offset) for offset in (2, 3, 4)),
            ],
        ],
        expect=Expect(told=[message(1), message(2), LOST, message(3), message(4)]),
    )
    yield Scene(
        name="a hole is resumed and then told",
        connections=[
            [greet(offset=3), entry(4), entry(6)],
            [greet(hello={"rooms": [{"room": "lobby", "since": {"epoch": "e", "offset": 4}}]}, offset=6), entry(6)],
        ],
        expect=Expect(told=[message(4), LOST, ("gap", "lobby", 5, 5), message(6)]),
    )
    yield Scene(
        name="what came behind a hole comes again",
        connections=[
            [greet(offset=3), entry(4), entry(6), entry(7)],
            [greet(offset=7), entry(5), entry(6), entry(7)],
        ],
        expect=Expect(told=[message(4), LOST, message(5), message(6), message(7)]),
    )
    yield Scene(
        name="gap and reset move on",
        connections=[[GREET, gap(1, 5), entry(6), reset("f", 0), entry(1, epoch="f")]],
        expect=Expect(told=[("gap", "lobby", 1, 5), message(6), ("reset", "lobby", "f", 0), message(1, "f")]),
    )
    yield Scene(
        name="a recovered message has the state that it is in",
        connections=[
            [GREET, CUT],
            [
                greet(offset=2),
                entry(1, text="hey", edited=9, reactions={"👍": ["u3", "u4"]}),
                entry(2, deleted=True),
            ],
        ],
        expect=Expect(told=[LOST, message(1, edited=9, reactions={"👍": ["u3", "u4"]}), message(2, deleted=True)]),
    )
    yield Scene(
        name="a new name is told",
        connections=[[GREET, Push("presence", {"room": "lobby", "count": 2, "renamed": [BOB]})]],
        expect=Expect(told=[("presence", "lobby", 2, None, [BOB])]),
    )
    yield Scene(
        name="a name given on another connection is the user's from then on",
        options={"name": "Ada"},
        connections=[
            [
                greet(hello={"name": "Ada"}),
                Push("presence", {"room": "@u1", "count": 1, "renamed": [{"user": "u1", "name": "Countess"}]}),
                CUT,
            ],
            [greet(hello={"name": "Countess"})],
        ],
        expect=Expect(told=[("presence", "@u1", 1, None, [{"user": "u1", "name": "Countess"}]), LOST]),
    )
    yield Scene(
        name="bye says when to come back",
        connections=[[GREET, bye(1012, retry_after_ms=400), Close(1012)], [Waited(0.39), GREET]],
        expect=Expect(told=[("ended", 1012)]),
    )
    yield Scene(
        name="a room that the welcome does not list is gone",
        options={"rooms": ["lobby", "secret"]},
        connections=[[greet(rooms=[{"room": "lobby", "epoch": "e", "offset": 0}]), CUT], [GREET]],
        expect=Expect(told=[("left", "secret", "refused"), LOST]),
    )
    yield Scene(
        name="who was put out of a room does not come back to it",
        connections=[
            [GREET, Push("left", {"room": "lobby", "reason": "kicked"}), CUT],
            [greet(hello={"rooms": []})],
        ],
        expect=Expect(told=[("left", "lobby", "kicked"), LOST]),
    )


def close_codes() -> Iterator[Scene]:
    """The table of the protocol: whether to come back at all, with and without a close frame after the bye."""
    for code in FOR_GOOD:
        yield Scene(
            name=f"after {code} it stays away",
            connections=[[GREET, bye(code), CUT]],
            expect=Expect(told=[("ended", code)], state="closed"),
        )
    for code in SOON:
        yield Scene(
            name=f"after {code} it comes back",
            connections=[[GREET, bye(code), CUT], [GREET]],
            expect=Expect(told=[("ended", code)]),
        )
    for code in LATER:
        yield Scene(
            name=f"after {code} it waits",
            connections=[[GREET, Close(code)]],
            expect=Expect(told=[("ended", code)], state="waiting"),
        )


def requests() -> Iterator[Scene]:
    """What becomes of a request."""
    yield Scene(
        name="a request is sent again under its key",
        do=[call("say", "lobby", "hi")],
        connections=[
            [GREET, hear("say", save="say", room="lobby", text="hi"), CUT],
            [
                GREET,
                hear("say", same="say"),
                refuse("unavailable", retry_after_ms=30),
                hear("say", same="say"),
                kept(1),
            ],
        ],
        expect=Expect(results=[{"offset": 1, "epoch": "e"}], told=[LOST]),
    )
    yield Scene(
        name="a refusal has the server's code",
        do=[call("join", "secret"), call("say", "lobby", "hi")],
        connections=[
            [
                GREET,
                hear("join", room="secret"),
                refuse("forbidden", field="room"),
                hear("say"),
                refuse("muted"),
                CUT,
            ],
            [greet(hello={"rooms": [{"room": "lobby", "since": {"epoch": "e", "offset": 0}}]})],
        ],
        expect=Expect(results=[{"error": "forbidden", "field": "room"}, {"error": "muted"}], told=[LOST]),
    )
    yield Scene(
        name="what the server would not take is refused before it is sent",
        do=[
            call("say", "lobby", "é" * 6),
            call("direct", "u2", "x" * 11),
            call("edit", "lobby", 1, "x" * 11),
            call("say", "lobby", None, data=["x" * 7]),
            call("say", "lobby", "é" * 5),
            call("say", "lobby", None, data=["x" * 6]),
        ],
        connections=[
            [
                greet(limits={"message_size": 10}),
                hear("say", text="é" * 5),
                kept(1),
                hear("say", data=["x" * 6]),
                kept(2),
            ]
        ],
        expect=Expect(
            results=[
                {"error": "too_large", "field": "text"},
                {"error": "too_large", "field": "text"},
                {"error": "too_large", "field": "text"},
                {"error": "too_large", "field": "data"},
                {"offset": 1},
                {"offset": 2},
            ]
        ),
    )
    yield Scene(
        name="what is no text is refused before it is sent",
        do=[
            call("say", "lobby", {"data": 1}),
            call("direct", "u2", 5),
            call("edit", "lobby", 1, ["x"]),
            call("say", "lobby", None, data={"data": 1}),
        ],
        connections=[[GREET, hear("say", text=None, data={"data": 1}), kept(1)]],
        expect=Expect(results=[{"error": "bad_request", "field": "text"}] * 3 + [{"offset": 1}]),
    )
    yield Scene(
        name="another spelling of a name is the same room",
        do=[call("say", "Ku\u0308che", "hi"), call("ping")],
        connections=[
            [
                GREET,
                hear("say", room="K\u00fcche"),
                answer("ack", room="K\u00fcche", epoch="e", offset=1),
                hear("ping"),
                answer("pong", server_time=7),
            ]
        ],
        expect=Expect(results=[{"room": "K\u00fcche", "offset": 1}, {"server_time": 7}]),
    )
    yield Scene(
        name="no answer in time leaves the outcome unknown",
        do=[call("say", "lobby", "hi", timeout=0.05), call("ping")],
        connections=[[GREET, hear("say"), hear("ping"), answer("pong", server_time=7)]],
        expect=Expect(results=[{"error": "outcome_unknown"}, {"server_time": 7}]),
    )
    yield Scene(
        name="what waits when the connection ends for good has ended",
        do=[call("say", "lobby", "hi"), call("ping")],
        connections=[[GREET, hear("say"), Close(4003)]],
        expect=Expect(results=[{"error": "ended"}, {"error": "ended"}], told=[("ended", 4003)], state="closed"),
    )
    yield Scene(
        name="a join under way is settled by the next welcome",
        do=[call("join", "tea")],
        connections=[[GREET, hear("join"), CUT], [greet(offset=3)]],
        expect=Expect(results=[{"room": "tea", "offset": 3}], told=[LOST]),
    )
    yield Scene(
        name="a room is a lane and another room does not wait",
        do=[[call("say", "lobby", "one"), call("say", "lobby", "two"), call("say", "garden", "other")]],
        options={"rooms": ["lobby", "garden"]},
        connections=[
            [
                GREET,
                hear("say", save="one", text="one"),
                hear("say", save="other", text="other"),
                refuse("rate_limited", to="one", retry_after_ms=30),
                kept(1, to="other", room="garden"),
                hear("say", same="one"),
                kept(1),
                hear("say", text="two"),
                kept(2),
            ]
        ],
        expect=Expect(results=[{"offset": 1}, {"offset": 2}, {"offset": 1, "room": "garden"}]),
    )
    yield Scene(
        name="what was given up does not hold up its room",
        do=[[call("say", "lobby", "one", timeout=0.05), call("say", "lobby", "two")]],
        connections=[[GREET, hear("say", text="one"), hear("say", text="two"), kept(2)]],
        expect=Expect(results=[{"error": "outcome_unknown"}, {"offset": 2}]),
    )
    yield Scene(
        name="what the server may have forgotten is not said twice",
        do=[call("say", "lobby", "once"), call("say", "lobby", "then")],
        connections=[
            [greet(limits={"key_ttl": 0.05}), hear("say", text="once"), bye(1012, retry_after_ms=100), CUT],
            [greet(limits={"key_ttl": 0.05}), hear("say", text="then"), kept(2)],
        ],
        expect=Expect(results=[{"error": "outcome_unknown"}, {"offset": 2}], told=[("ended", 1012)]),
    )


def identities() -> Iterator[Scene]:
    """Who the client is, over its connections."""
    yield Scene(
        name="the guest stays the same while known",
        connections=[
            [greet(hello={"token": None}, token="guest.1"), CUT],
            [hear("hello", token="guest.1"), bye(4001), CUT],
            [greet(hello={"token": None}, token="guest.2")],
        ],
        expect=Expect(told=[LOST, ("ended", 4001)]),
    )
    yield Scene(
        name="a stranger does not repeat what the guest may have said",
        do=[call("say", "lobby", "once"), call("say", "lobby", "then")],
        connections=[
            [greet(token="guest.1"), hear("say", text="once"), CUT],
            [hear("hello", token="guest.1"), bye(4001), CUT],
            [greet(user="u9"), hear("say", text="then"), kept(1)],
        ],
        expect=Expect(results=[{"error": "outcome_unknown"}, {"offset": 1}], told=[LOST, ("ended", 4001)]),
    )
    yield Scene(
        name="a hello that found no store is said again",
        options={"token": "mine"},
        early=True,
        do=[call("say", "lobby", "hi")],
        connections=[
            [
                hear("hello", save="hello", token="mine"),
                refuse("unavailable", retry_after_ms=30),
                hear("hello", same="hello"),
                answer("welcome", **WELCOME),
                hear("say"),
                kept(1),
            ]
        ],
        expect=Expect(results=[{"offset": 1}]),
    )
    yield Scene(
        name="a name that is refused costs only the name",
        options={"name": "operator"},
        connections=[
            [
                hear("hello", name="operator"),
                refuse("bad_request", field="name"),
                hear("hello", name=None, rooms=[{"room": "lobby"}]),
                answer("welcome", **WELCOME),
                CUT,
            ],
            [GREET],
        ],
        expect=Expect(told=[("error", "bad_request", "name"), LOST]),
    )
    yield Scene(
        name="who is not let in stays away",
        early=True,
        do=[call("ping"), call("ping")],
        connections=[[hear("hello"), refuse("forbidden")]],
        expect=Expect(
            results=[{"error": "ended"}, {"error": "ended"}],
            told=[("error", "forbidden", None), ("ended", 1008)],
            state="closed",
        ),
    )
    yield Scene(
        name="a renewed token is presented from then on",
        options={"token": "old"},
        do=[call("renew", "fresh")],
        connections=[
            [greet(hello={"token": "old"}), hear("hello", token="fresh"), answer("welcome", **WELCOME), CUT],
            [greet(hello={"token": "fresh"})],
        ],
        expect=Expect(results=[{"user": "u1"}], told=[LOST]),
    )
    yield Scene(
        name="a token that was not accepted is not presented again",
        options={"token": "old"},
        do=[call("renew", "forged")],
        connections=[
            [GREET, hear("hello", token="forged"), refuse("unauthorized", field="token"), CUT],
            [greet(hello={"token": "old"})],
        ],
        expect=Expect(results=[{"error": "unauthorized", "field": "token"}], told=[LOST]),
    )


SCENES = [*connections(), *close_codes(), *requests(), *identities()]
