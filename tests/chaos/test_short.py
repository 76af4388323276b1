"""A short run of the chaos suite with a fixed seed; `python -m tests.chaos --minutes 10` is the long one."""

from __future__ import annotations

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.run import Run, schedule, short_faults

SEED = 7
SECONDS = 22.0


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_half_a_minute_of_everything():
    due = schedule(SEED, SECONDS, short_faults(), pause=(0.3, 1.5))
    run = Run(SEED, due, herd=100)
    verdict = await run.run()
    assert not verdict.faults, str(verdict)
    assert not run.failures, run.failures
    assert verdict.acked > 500, str(verdict)


def test_a_schedule_is_the_same_for_the_same_seed_and_has_every_fault_in_time():
    assert schedule(3, 600, FAULTS.values()) == schedule(3, 600, FAULTS.values())
    assert schedule(3, 600, FAULTS.values()) != schedule(4, 600, FAULTS.values())
    names = [one.fault.name for one in schedule(3, 600, FAULTS.values())]
    assert all(names.count(name) >= 3 for name in FAULTS)
