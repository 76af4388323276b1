"""The end of a process in words, and the wait before its replacement."""

from __future__ import annotations

import signal

from chatmaster.runtime.exit_status import backoff, describe


def test_the_wait_begins_with_the_third_quick_death_and_doubles_up_to_30_seconds():
    assert [backoff(deaths) for deaths in range(9)] == [0, 0, 0, 1, 2, 4, 8, 16, 30]


def test_an_exit_is_described_by_its_code_or_its_signal():
    assert describe(3) == "exit code 3"
    assert describe(-signal.SIGKILL) == "killed by SIGKILL"
    assert describe(-63) == "killed by signal 63"
