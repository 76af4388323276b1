"""What the log says of what the operator asked for, and of a master that did not come to its end."""

from __future__ import annotations

import pytest

from chatmaster.master.boot import crash_report
from chatmaster.master.commands.outcome import MoveCounts, asked_by, sentence
from chatmaster.policy.processes import Process
from chatmaster.runtime.pidfile import PreviousMaster


def line(past: str, moves: MoveCounts, *, workers: int = 4, generation: int | None = 3, version: str = "") -> str:
    return sentence(past, "chatctl", workers=workers, generation=generation, seconds=2.14, moves=moves, version=version)


def test_a_reload_tells_who_asked_how_many_workers_how_long_and_what_moved():
    assert line("reloaded", MoveCounts()) == "reloaded, as chatctl asked: 4 workers of generation 3, after 2.1 s"
    assert line("reloaded", MoveCounts(120, 2)).endswith(
        "2.1 s; 120 connections moved to another worker, 2 could not and had to connect again"
    )
    assert line("reloaded", MoveCounts(1)).endswith("; 1 connection moved to another worker")
    scaled = line("scaled", MoveCounts(), workers=1, generation=None)
    assert scaled == "scaled, as chatctl asked: 1 worker, after 2.1 s"
    assert line("upgraded", MoveCounts(), version="1.2").startswith(
        "upgraded, as chatctl asked: chatmaster 1.2, 4 workers of generation 3"
    )


def test_several_who_asked_for_the_same_are_named_once():
    assert asked_by(["chatctl", "SIGHUP", "SIGHUP"]) == "chatctl and SIGHUP"
    assert asked_by([]) == "a client that has gone"


def test_moves_are_counted_from_the_beginning_of_what_was_asked():
    assert MoveCounts(12, 3).since(MoveCounts(10, 3)) == MoveCounts(2, 0)


def test_a_master_that_was_killed_is_told_from_a_machine_that_went_down():
    left = PreviousMaster(pid=77, seen=1000.0)
    killed = crash_report(left, booted=500.0)
    assert killed.startswith("the last master (pid 77) did not end properly: it was killed or crashed")
    assert killed.endswith("last seen alive at 1970-01-01 00:16:40Z")
    assert "the machine was restarted since" in crash_report(left, booted=1500.0)


@pytest.mark.parametrize(
    ("ending", "killed", "code", "words"),
    [
        ("replaced", False, 0, "worker 2 (generation 1) has ended as ordered: replaced"),
        ("stopped", True, -9, "worker 2 (generation 1) ended: stopped: killed by SIGKILL"),
        ("", False, 3, "worker 2 (generation 1) died: exit code 3"),
        ("", True, -9, "worker 2 (generation 1) died: killed by SIGKILL"),
        (
            "", False, -9,
            "worker 2 (generation 1) died: killed by SIGKILL (by a user, or by the kernel when memory ran out)",
        ),
    ],
)  # fmt: skip
def test_an_end_that_was_ordered_is_told_from_one_that_was_not(ending, killed, code, words):
    process = Process(1, 2, 1, spawned=0.0, deadline=None, alive=0.0, ending=ending, killed=killed)
    assert process.describe_end(code, refused=False) == words
