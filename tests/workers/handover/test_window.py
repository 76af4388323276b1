"""The window of connections that are on their way: it follows what the other side can take."""

from __future__ import annotations

from workers.handover.window import FIRST, IN_TIME, LEAST, MOST, Window


def test_it_grows_while_batches_come_through_in_time_and_shrinks_when_they_do_not() -> None:
    window = Window()
    for batch in range(1000):
        window.sent(batch, 64, 0.0)
        window.taken(batch, IN_TIME / 2)
    assert window.size == MOST
    window.sent(1000, 64, 0.0)
    window.taken(1000, IN_TIME * 2)
    assert FIRST < window.size < MOST
    for batch in range(1001, 1100):
        window.sent(batch, 1, batch * 10.0)
        window.taken(batch, batch * 10.0 + 5)
    assert window.size == LEAST


def test_what_was_late_together_shrinks_it_once() -> None:
    window = Window()
    for batch in range(8):
        window.sent(batch, 64, batch * 0.001)
    for batch in range(8):
        window.taken(batch, 1.0 + batch * 0.001)
    assert window.size == FIRST * 3 // 4


def test_what_is_on_its_way_counts_until_it_is_served_or_back() -> None:
    window = Window()
    window.sent(1, 64, 0.0)
    window.sent(2, 32, 0.0)
    assert window.given == 96
    window.taken(1, 0.1)
    window.settled(2)
    window.taken(2, 100.0)  # an answer that crossed the abort says nothing about the pace
    assert window.given == 0
    assert window.size > FIRST
