"""A refusal is logged once per cause, and what a stranger varies fills neither the log nor the memory."""

from __future__ import annotations

import pytest

from workers.transport.refusal_log import LONGEST, MOST, RefusalLog


def test_each_cause_is_logged_once_and_the_kinds_do_not_disturb_each_other(caplog: pytest.LogCaptureFixture) -> None:
    refusals = RefusalLog()
    for _ in range(3):
        refusals.foreign_host("evil.example")
        refusals.unknown_path("/other")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "'evil.example' was refused (421)" in caplog.text
    assert "'/other' (404)" in caplog.text


def test_after_many_causes_one_line_says_that_no_more_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    refusals = RefusalLog()
    for number in range(MOST + 20):
        refusals.foreign_host(f"{number}.example")
    assert len(caplog.records) == MOST + 1
    assert caplog.records[-1].getMessage().endswith("not logged any more: foreign hosts")
    assert len(refusals) == MOST + 1


def test_what_a_stranger_sent_is_cut_and_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    RefusalLog().foreign_origin('https://"\n' + "x" * 1000, "host\r\nforged")
    (record,) = caplog.records
    assert "\n" not in record.getMessage() and "\r" not in record.getMessage()
    assert len(record.getMessage()) < 2 * LONGEST + 400
    assert 'http.origins = ["https://??xxx' in record.getMessage()


def test_a_unix_socket_has_a_name(caplog: pytest.LogCaptureFixture) -> None:
    RefusalLog().large_header("", 8192)
    assert "a request from a unix socket with a header of more than 8192 bytes" in caplog.text
