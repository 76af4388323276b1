"""Claims that are held once, often, and by users with several names are counted as a counter would."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from workers.chat.name_claims import HeldNames

CLAIMS = [(user, name) for user in ("ann", "bob") for name in ("Ann", "An", "A")]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(CLAIMS)), max_size=40))
def test_they_cannot_be_told_from_a_counter(steps: list[tuple[bool, tuple[str, str]]]) -> None:
    held, expected = HeldNames(), Counter[tuple[str, str]]()
    for add, claim in steps:
        if add:
            assert held.add(claim) == (not expected[claim])
            expected[claim] += 1
        elif expected[claim]:
            expected[claim] -= 1
            assert held.remove(claim) == (not expected[claim])
        there = {one for one in CLAIMS if expected[one]}
        assert set(held) == there == {one for one in CLAIMS if one in held}
        assert len(list(held)) == len(there)
        for user in ("ann", "bob"):
            assert sorted(held.of(user)) == sorted(name for one, name in there if one == user)


def test_a_part_of_a_name_is_not_the_name() -> None:
    held = HeldNames()
    held.add(("ann", "Ann"))
    assert ("ann", "An") not in held and ("bob", "Ann") not in held
