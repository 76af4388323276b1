"""What application code raised is said with its traceback once a minute for each place."""

from __future__ import annotations

import pytest

from workers.failures import EVERY, Failures


def caught(number: int) -> BaseException:
    try:
        raise (ValueError if number else SystemExit)(number)
    except BaseException as error:
        return error


def test_the_same_failure_is_counted_for_a_minute_and_then_said_again(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    failures = Failures(lambda: now[0])
    for _ in range(5):
        failures.log("it failed", caught(1))
    failures.log("it exited", caught(0))
    assert caplog.text.count("Traceback") == 2 and caplog.text.count("it failed") == 1
    now[0] += EVERY
    failures.log("it failed", caught(1))
    assert "it failed (and 4 times since this was last logged)" in caplog.text


def test_what_each_connection_met_is_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    failures = Failures(lambda: 0.0)
    for name in "ab":
        failures.log(f"connection {name}", caught(1), each=True)
    assert caplog.text.count("Traceback") == 1
    assert "connection b: ValueError(1), as before at" in caplog.text
