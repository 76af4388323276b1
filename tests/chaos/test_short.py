"""A short run of the chaos suite with a fixed seed; `python -m tests.chaos --minutes 10` is the long one."""

from __future__ import annotations

import random

import pytest

from tests.chaos.faults import FAULTS, Turn
from tests.chaos.run import Run, schedule

SEED = 7
SECONDS = 9.0
# One of every kind of trouble that is over in a few seconds; the others are for the long run.
SHORT = (
    "client network: cut",
    "client network: reset in mid frame",
    "clients: herd",
    "clients: half closed",
    "clients: flood",
    "client link: link cut",
    "master: master killed",
    "master: reload onto broken code",
    "operator: reload",
    "operator: scale up and down",
    "store network: cut",
    "store link: packets lost one way",
    "store: connections cut",
    "store: scripts flushed",
    "store: store killed",
    "store: wiped",
    "worker: all killed",
    "worker: killed",
)


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_some_seconds_of_one_of_every_kind():
    due = schedule(SEED, SECONDS, [FAULTS[name] for name in SHORT], alone=False)
    run = Run(SEED, due, herd=100)
    verdict = await run.run()
    assert set(run.done) | set(run.skipped) == set(SHORT)
    assert not verdict.faults, str(verdict)
    assert not run.failures, run.failures
    assert verdict.acked > 50, str(verdict)  # the crowd was there; how much it said is the machine's


def test_a_schedule_is_the_same_for_the_same_seed_and_has_every_fault_in_time():
    assert schedule(3, 600, FAULTS.values()) == schedule(3, 600, FAULTS.values())
    assert schedule(3, 600, FAULTS.values()) != schedule(4, 600, FAULTS.values())


def test_in_ten_minutes_every_fault_comes_three_times_alone_and_among_others():
    for seed in range(20):
        due = schedule(seed, 600, FAULTS.values())
        assert all(one.at < 600 for one in due)
        for name in FAULTS:
            turns = [one for one in due if one.fault.name == name]
            assert len(turns) >= 3
            assert {one.alone for one in turns} == {True, False}


def test_a_minute_has_a_part_of_them():
    due = schedule(3, 60, FAULTS.values())
    assert 5 < len(due) < len(FAULTS)


def test_who_has_its_turn_alone_has_to_show_its_effect():
    Turn(random.Random(1), alone=False).expect(False, "whatever")
    Turn(random.Random(1), alone=True).expect(True, "fine")
    with pytest.raises(AssertionError, match="nothing happened"):
        Turn(random.Random(1), alone=True).expect(False, "nothing happened")


def test_a_replay_draws_the_same_numbers_whatever_else_is_going_on():
    """Each turn has its chance from the schedule, and none shares it with others that overlap."""
    first, again = (schedule(5, 600, FAULTS.values()) for _ in range(2))
    draws = [[random.Random(one.seed).random() for one in due] for due in (first, again)]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == len(first)
