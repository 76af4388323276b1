"""Deadlines come due in order, once, and not when they were cleared."""

from workers.transport.timeouts import Timeouts


def test_what_is_due_comes_out_once_and_in_order() -> None:
    deadlines: Timeouts[str] = Timeouts(10)
    deadlines.set("a", 0)
    deadlines.set("b", 1)
    deadlines.set("c", 5)
    assert list(deadlines.expired(9)) == []
    assert list(deadlines.expired(11)) == ["a", "b"]
    assert list(deadlines.expired(11)) == []
    assert list(deadlines) == ["c"]


def test_setting_again_gives_the_whole_time_again() -> None:
    deadlines: Timeouts[str] = Timeouts(10)
    deadlines.set("a", 0)
    deadlines.set("b", 1)
    deadlines.set("a", 2)
    assert list(deadlines.expired(11)) == ["b"]


def test_one_that_is_cleared_while_others_expire_does_not_come() -> None:
    deadlines: Timeouts[str] = Timeouts(1)
    for item in "abc":
        deadlines.set(item, 0)
    seen = []
    for item in deadlines.expired(5):
        seen.append(item)
        deadlines.clear("b")
    assert seen == ["a", "c"]
    assert len(deadlines) == 0
