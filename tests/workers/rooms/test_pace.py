"""How much a turn writes, and how long a batch waits: by what the last ones took."""

from __future__ import annotations

from workers.rooms.flush import BUSY_LEAST, BUSY_TURN, LEAST, MOST, TURN, Pace


def after(turns: int, *, writes: int, took: float) -> Pace:
    pace = Pace(0.0)
    for _ in range(turns):
        pace.turned(writes, took)
    return pace


def test_a_turn_takes_as_long_whatever_a_write_costs():
    for price in (2.5e-6, 5e-6, 10e-6):
        pace = after(40, writes=1000, took=1000 * price)
        assert abs(pace.writes * price - TURN) < 0.1 * TURN


def test_a_slow_machine_and_a_fast_one_have_a_bound():
    assert after(40, writes=1000, took=1.0).writes == LEAST
    assert after(40, writes=1000, took=1e-4).writes == MOST


def test_a_turn_with_few_writes_says_nothing_about_their_price():
    assert after(40, writes=BUSY_LEAST - 1, took=1.0).writes == Pace(0.0).writes


def test_turns_are_short_while_messages_come_faster_than_they_are_written():
    pace = after(40, writes=1000, took=1000 * 5e-6)
    pace.gathered(2)
    assert abs(pace.writes * 5e-6 - BUSY_TURN) < 0.1 * BUSY_TURN
    pace.gathered(1)
    assert abs(pace.writes * 5e-6 - TURN) < 0.1 * TURN


def test_a_short_turn_has_a_bound_too():
    pace = after(40, writes=1000, took=1.0)
    pace.gathered(2)
    assert pace.writes == BUSY_LEAST


def test_without_a_delay_nothing_ever_waits():
    pace = Pace(0.0)
    pace.flushed(0.5, 10.0)
    assert not pace.may_wait
    assert pace.wait(10.0) == 0


def test_after_a_quiet_moment_a_message_leaves_at_once():
    pace = Pace(0.05)
    assert pace.wait(10.0) == 0
    pace.flushed(0.01, 10.0)
    assert pace.wait(10.011) == 0


def test_under_load_batches_wait_as_long_as_the_last_one_took_up_to_the_delay():
    pace = Pace(0.05)
    pace.flushed(0.01, 10.0)
    assert abs(pace.wait(10.004) - 0.006) < 1e-9
    pace.flushed(0.2, 11.0)
    assert abs(pace.wait(11.0) - 0.05) < 1e-9
