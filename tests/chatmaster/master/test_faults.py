"""What counts as wrong with a running server, with its cause and how long it lasts."""

from __future__ import annotations

from typing import Any

import pytest

from chatmaster.master import faults

GOOD_WORKER = {
    "slot": 0, "pid": 7, "state": "ready", "uptime": 60.0, "last_exit": None, "last_exit_age": None, "silent": 0.2,
    "respawn_in": None, "accept_paused": None, "descriptors": 40, "descriptors_limit": 256, "store": "ready",
}  # fmt: skip


def status(*, master: Any = (), store: Any = (), worker: Any = ()) -> dict[str, Any]:
    return {
        "master": {"state": "ready", "uptime": 60.0, "last_failure": None, **dict(master)},
        "store": {
            "state": "ready",
            "reason": "",
            "state_age": 60.0,
            "disk_free": 10**12,
            "disk_size": 2 * 10**12,
            **dict(store),
        },
        "workers": [{**GOOD_WORKER, **dict(worker)}],
    }


def test_nothing_is_wrong_with_a_server_that_serves():
    assert faults.find(status()) == []
    assert faults.find(status(worker={"state": "starting", "uptime": 1.0})) == [], "a reload is no fault"


@pytest.mark.parametrize(
    ("given", "what", "why", "seconds"),
    [
        ({"store": {"state": "starting", "reason": "it ended: disk full", "state_age": 4.0}},
         "the store is starting", "it ended: disk full", 4.0),
        ({"store": {"disk_free": 5_000_000}},
         "the disk of the store has 5 MB left", "a full disk ends the store", None),
        ({"worker": {"accept_paused": 3.5, "descriptors": 240}},
         "worker 0 has paused accepting", "240 of 256 descriptors are in use", 3.5),
        ({"worker": {"state": "stopped", "silent": 9.0}},
         "worker 0 is stopped", "by a signal; it waits for SIGCONT", 9.0),
        ({"worker": {"state": "hung", "silent": 9.0}}, "worker 0 hangs", "its loop gives no sign of life", 9.0),
        ({"worker": {"state": "starting", "pid": None, "last_exit": "exit code 1", "last_exit_age": 2.0,
                     "respawn_in": 4.0}},
         "worker 0 has no process", "exit code 1; its replacement starts in 4 s", 2.0),
        ({"worker": {"state": "starting", "uptime": 12.0, "last_exit": "exit code 5"}},
         "worker 0 is starting", "exit code 5", 12.0),
        ({"worker": {"store": "away"}}, "worker 0 does not reach the store", "others do", None),
        ({"master": {"last_failure": {"kind": "reload", "reason": "a.toml:1: no", "age": 5.0}}},
         "the last reload failed: the server runs as before", "a.toml:1: no", 5.0),
        ({"master": {"state": "starting", "uptime": 2.0}}, "the server is starting", "", 2.0),
    ],
)  # fmt: skip
def test_each_fault_has_its_cause_and_how_long_it_lasts(given, what, why, seconds):
    assert faults.find(status(**given)) == [{"what": what, "why": why, "seconds": seconds}]


def test_a_store_that_is_away_is_one_fault_and_not_one_of_each_worker():
    found = faults.find(status(store={"state": "away", "reason": "x"}, worker={"store": "away"}))
    assert [row["what"] for row in found] == ["the store is away"]


@pytest.mark.parametrize(
    ("free", "size", "low"),
    [
        (0, 10**12, True), (99_000_000, 10**12, True), (101_000_000, 10**12, False), (60 << 20, 64 << 20, False),
        (2 << 20, 64 << 20, True), (2 << 20, 4 << 20, False), (0, 4 << 20, True),
    ],
)  # fmt: skip
def test_a_small_disk_is_not_full_for_being_small(free, size, low):
    assert faults.is_low(free, size) is low
