"""The judge of delivery finds what is missing, doubled, out of order, or not what was acknowledged."""

from __future__ import annotations

import pytest

from tests.support.recorder import Recorder, Seen, assert_kept, check
from workers.client import Gap, Reset


def recorder(name: str, *seen: tuple[int, str] | Gap | Reset, start: int = 0) -> Recorder:
    made = Recorder("ws://127.0.0.1:1/", "lobby", name=name)
    made.start = start
    made.seen = [one if isinstance(one, Gap | Reset) else Seen(one[0], "e", one[1]) for one in seen]
    return made


ALL = ((1, "a"), (2, "b"), (3, "c"))


def test_those_who_saw_the_same_are_right():
    one, late = recorder("one", *ALL), recorder("late", (3, "c"), start=2)
    one.acked = {"b": ("e", 2)}
    finding = assert_kept([one, late])
    assert (finding.acked, finding.deliveries) == (1, 4)


@pytest.mark.parametrize(
    ("seen", "figure"),
    [
        ([(1, "a"), (3, "c")], "missing"),
        ([(1, "a"), (2, "b")], "missing"),
        ([(1, "a"), (2, "b"), (2, "b"), (3, "c")], "doubled"),
        ([(1, "a"), (3, "c"), (2, "b")], "disordered"),
        ([(1, "a"), (2, "c"), (3, "b")], "disordered"),
    ],
)
def test_one_who_saw_something_else_is_found(seen, figure):
    finding = check([recorder("one", *ALL), recorder("two", *seen)])
    assert getattr(finding, figure) > 0
    assert finding.faults


def test_an_acknowledged_message_that_nobody_saw_is_found():
    one = recorder("one", *ALL)
    one.acked = {"d": ("e", 4)}
    assert check([one]).missing == 1
    one.acked = {"x": ("e", 2)}
    assert check([one]).missing == 1


def test_the_store_has_the_last_word():
    assert check([recorder("one", (1, "a"))], {1: "a", 2: "b"}).missing == 1


def test_what_a_gap_or_a_reset_named_is_no_fault():
    gap = Gap(room="lobby", epoch="e", first=1, last=2)
    assert_kept([recorder("one", *ALL), recorder("two", gap, (3, "c"))])
    reset = Reset(room="lobby", epoch="f", offset=0)
    assert_kept([recorder("one", (1, "old"), reset, *ALL), recorder("two", *ALL)])
