"""The simulation against what is known of queues and against a real run, the arithmetic, and the floods' curves."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from tests.sizing import arithmetic, floods, picture
from tests.sizing.__main__ import COSTS, RETURN, known_costs
from tests.sizing.reconnect import Region, simulate
from tests.sizing.returning import Measured

SMALL = Region(people=2000, workers=1, shards=1, server_newcomer=0.0005, store_newcomer=0.0001)


def test_a_simulation_is_the_same_each_time_and_another_with_another_seed() -> None:
    assert simulate(SMALL) == simulate(SMALL)
    assert simulate(SMALL).back_after != simulate(replace(SMALL, seed=2)).back_after


def test_everybody_comes_back_and_no_sooner_than_the_slowest_queue_lets_them() -> None:
    course = simulate(SMALL)
    assert len(course.back_after) == 2000 and course.turned_away == 0
    assert 1.0 <= course.back_after[-1] <= 1.1, "2,000 times half a millisecond, and the first knock"
    behind = simulate(replace(SMALL, store_newcomer=0.001))
    assert 2.0 <= behind.back_after[-1] <= 2.2, "the store is slower than the worker"
    assert simulate(replace(SMALL, workers=4)).back_after[-1] < 0.6, "the back-off itself, with four workers"


def test_who_waits_for_too_long_is_turned_away_and_comes_again() -> None:
    course = simulate(replace(SMALL, server_newcomer=0.01, patience=5.0))
    assert len(course.back_after) == 2000 and course.turned_away > 1000
    assert course.back_after[-1] > 20.0
    unavailable = simulate(replace(SMALL, store_newcomer=0.01))
    assert len(unavailable.back_after) == 2000 and unavailable.turned_away > 1000


def test_grains_change_nothing_but_the_work_of_the_simulation() -> None:
    region = Region(people=40_000, workers=8, shards=4, server_newcomer=0.001, store_newcomer=0.0003)
    fine, coarse = simulate(region), simulate(replace(region, grain=10))
    for part in (0.25, 0.5, 0.9, 0.99):
        assert coarse.quantile(part) == pytest.approx(fine.quantile(part), rel=0.1, abs=0.1)


def test_the_simulation_agrees_with_the_real_run() -> None:
    measured = msgspec.json.decode(RETURN.read_bytes(), type=Measured)
    course = simulate(arithmetic.same_as(measured))
    # The real clients need some tenths of a second of the other core to notice the loss and to knock.
    late = [
        measured.back_after[int(len(measured.back_after) * part)] - course.quantile(part) for part in (0.25, 0.5, 0.9)
    ]
    assert all(0.0 <= one < 0.35 for one in late), late


def test_the_arithmetic_follows_from_what_was_measured() -> None:
    found = arithmetic.factors(known_costs())
    million, ten = (arithmetic.need(found, people) for people in (1_000_000, 10_000_000))
    assert million.delivered == 100_000 and 9 * million.server_cores < ten.server_cores
    assert ten.workers == pytest.approx(10 * million.workers, rel=0.1)
    region = replace(arithmetic.region(found, 1_000_000), grain=200)
    course = simulate(region)
    assert course.quantile(0.5) >= arithmetic.BACK / 4 and course.back_after[-1] < 4 * arithmetic.BACK
    assert "<polyline" in picture.draw("title", "subtitle", course)
    assert "1,000,000" in arithmetic.people_table(found) and COSTS.exists()


def test_floods_reach_their_bounds_and_no_more() -> None:
    """After the first round there are no more keys, but for a tenth, and no more memory than what a trim leaves."""
    names = {floods.letters, floods.made_up_users, floods.rooms, floods.api}
    for outcome in floods.run(tuple(one for one in floods.FLOODS if one.play in names)):
        first, _, last = outcome.kept
        assert last.lasting <= 1.1 * first.lasting + 2, outcome
        assert last.kib <= 1.3 * first.kib + 16, outcome
