"""Whose turn it is: lanes, how many at once, keys that may be forgotten."""

from __future__ import annotations

import math
from typing import Any

from workers.client.requests import AT_ONCE, KEY_TTL, MARGIN, Request, Requests


def send(requests: Requests, now: float = 0.0) -> list[Request]:
    """Send what is due."""
    turn = requests.next(now)
    for request in turn.send:
        request.sent = True
        request.first_sent = now if request.first_sent is None else request.first_sent
    return turn.send


def say(requests: Requests, room: str = "lobby", **more: Any) -> Request:
    return requests.add("say", {"room": room, "text": "hi", **more})


def test_a_lane_goes_one_after_the_other():
    requests = Requests("k")
    first, second, other = say(requests), say(requests), say(requests, "garden")
    assert send(requests) == [first, other]
    requests.take(first.id)
    assert send(requests) == [second]


def test_direct_messages_to_one_user_are_a_lane():
    requests = Requests("k")
    first, _, other = (requests.add("direct", {"to": to, "text": "hi"}) for to in ("u2", "u2", "u3"))
    assert send(requests) == [first, other]


def test_what_has_no_lane_does_not_wait_but_for_its_number():
    requests = Requests("k")
    asked = [requests.add("history", {"room": "lobby"}) for _ in range(AT_ONCE + 2)]
    assert send(requests) == asked[:AT_ONCE]
    assert send(requests) == []
    requests.take(asked[5].id)
    assert send(requests) == [asked[AT_ONCE]]


def test_a_refused_request_holds_its_lane_until_its_time():
    requests = Requests("k")
    first, second = say(requests), say(requests)
    send(requests)
    first.sent, first.not_before = False, 5.0
    assert requests.next(4.9).wake_at == 5.0
    assert send(requests, 4.9) == []
    assert send(requests, 5.0) == [first]
    requests.take(first.id)
    assert send(requests, 5.0) == [second]
    assert requests.next(5.0).wake_at == math.inf


def test_what_was_sent_too_long_ago_is_not_sent_again():
    requests = Requests("k")
    first, second = say(requests), say(requests)
    history = requests.add("history", {"room": "lobby"})
    send(requests)
    late = KEY_TTL * MARGIN + 1
    assert requests.next(late).expired == [], "on a living connection its answer may still come"
    requests.lost()
    turn = requests.next(late)
    assert (turn.expired, turn.send) == ([first], [second, history])
