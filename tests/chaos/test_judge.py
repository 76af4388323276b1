"""The judge finds each fault that it is there for, and none where there is none."""

from __future__ import annotations

import pytest

from tests.chaos.archive import Archive
from tests.chaos.judge import DISORDERED, DOUBLED, MISSING, UNSTORED, Account, judge
from tests.chaos.witness import Began, Lost, Missed, Note, Place, Said, Seen


def seen(*offsets: int, epoch: str = "a") -> list[Note]:
    return [Seen(Place(epoch, offset), f"{epoch}{offset}") for offset in offsets]


def archive(*offsets: int, epoch: str = "a", first: int = 1) -> Archive:
    return Archive({Place(epoch, o): f"{epoch}{o}" for o in offsets}, first, max(offsets, default=0))


def began(after: int, *, epoch: str = "a", resumed: bool = False) -> Note:
    return Began(1, Place(epoch, after), resumed)


def counts(notes: list[Note], *archives: Archive, said: tuple[Said, ...] = ()) -> dict[str, int]:
    return {name: n for name, n in judge([Account("w", notes, said)], archives).counts.items() if n}


ALL = archive(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("notes", "found"),
    [
        ([began(0), *seen(1, 2, 3, 4)], {}),
        ([began(2), *seen(3, 4)], {}),
        ([began(0), *seen(1, 2), began(2, resumed=True), *seen(3, 4)], {}),
        ([began(0), *seen(1), Missed("a", 2, 3), *seen(4)], {}),
        ([], {}),
        ([began(0), *seen(1, 2, 3)], {MISSING: 1}),
        ([began(0), *seen(1, 3, 4)], {MISSING: 1, DISORDERED: 1}),
        ([began(0), *seen(1, 2, 2, 3, 4)], {DOUBLED: 1}),
        ([began(0), *seen(1, 2), began(2, resumed=True), *seen(2, 3, 4)], {DOUBLED: 1}),
        ([began(0), *seen(2, 1, 3, 4)], {DISORDERED: 3}),
        ([began(0), *seen(1, 2, 3, 4, 5)], {UNSTORED: 1}),
        ([began(0), *seen(1, 2, 3), Seen(Place("a", 4), "other")], {UNSTORED: 1}),
        ([began(0), *seen(1), Missed("a", 3, 3), *seen(4)], {MISSING: 1, DISORDERED: 1}),
    ],
)
def test_what_one_client_saw(notes, found):
    assert counts(notes, ALL) == found


OLD, NEW = archive(1, 2, 3), Archive({Place("a", 1): "a1", Place("b", 2): "b2", Place("b", 3): "b3"}, 1, 3)


@pytest.mark.parametrize(
    ("notes", "found"),
    [
        ([began(0), *seen(1, 2, 3), Lost(Place("b", 1)), *seen(2, 3, epoch="b")], {}),
        ([began(0), *seen(1), *seen(2, 3, epoch="b")], {}),
        ([began(0), *seen(1, 2, 3)], {MISSING: 3}),
        ([began(0), *seen(1, 2), *seen(3, epoch="b")], {MISSING: 2}),
        ([began(0), *seen(1, 2, 3), Lost(Place("b", 1)), *seen(3, epoch="b")], {MISSING: 1, DISORDERED: 1}),
    ],
)
def test_a_log_that_lost_its_end(notes, found):
    assert counts(notes, OLD, NEW) == found


def said(text: str, offset: int, turn: int = 1, epoch: str = "a") -> Said:
    return Said(text, Place(epoch, offset), 0.0, turn)


def test_what_was_acknowledged_has_to_be_there():
    assert counts([], ALL, said=(said("a2", 2),)) == {}
    assert counts([], ALL, said=(said("x", 2),)) == {MISSING: 1}
    assert counts([], ALL, said=(said("x", 5),)) == {MISSING: 1}
    assert counts([], archive(3, 4, first=3), said=(said("x", 2),)) == {}  # trimmed
    told = Lost(Place("b", 1))
    for notes, faults in (([told], 0), ([], 1), ([*seen(1, epoch="b")], 1)):
        verdict = judge([Account("w", notes, (said("a3", 3),))], [OLD, NEW])
        assert (verdict.lost, verdict.counts[MISSING]) == (1, faults)
    early = Said("a3", Place("a", 3), 0.0, 1, noted=1)  # told before it was acknowledged
    assert judge([Account("w", [told], (early,))], [OLD, NEW]).counts[MISSING] == 1


def test_what_was_said_after_an_answer_is_stored_after_it():
    assert counts([], ALL, said=(said("a2", 2, 1), said("a3", 3, 2))) == {}
    assert counts([], ALL, said=(said("a3", 3, 1), said("a2", 2, 2))) == {DISORDERED: 1}


def test_one_text_is_stored_once():
    assert counts([], Archive({Place("a", 1): "x", Place("a", 2): "x"}, 1, 2)) == {DOUBLED: 1}
