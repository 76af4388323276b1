"""The picture in the documents is the one that the present imports give."""

from __future__ import annotations

import pytest

from tests.trace import picture


def test_the_picture_in_the_tree_is_current() -> None:
    current = picture.picture() == picture.TARGET.read_text()
    assert current, f"{picture.TARGET} is out of date: python -m tests.trace map"


def test_a_circle_has_no_picture() -> None:
    with pytest.raises(ValueError, match="a, b"):
        picture.reduced({"a": {"b"}, "b": {"a"}, "c": {"a"}})


def test_what_follows_from_other_arrows_is_left_out() -> None:
    assert picture.reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": ["b"], "b": ["c"], "c": []}


def test_what_one_box_imports_stands_right_below_it() -> None:
    graph = {"top": ["middle", "helper"], "middle": ["bottom"], "bottom": [], "helper": [], "alone": []}
    assert picture.ranks_of(graph) == {"top": 2, "middle": 1, "bottom": 0, "helper": 1, "alone": 2}
