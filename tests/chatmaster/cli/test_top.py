"""The live table: it fits the terminal, whatever its size, sorts, and makes rates of totals."""

from __future__ import annotations

from typing import Any

import pytest

from chatmaster.cli.top import SORTS, Top, cells, clip


def worker(slot: int, **more: Any) -> dict[str, Any]:
    return {
        "slot": slot, "worker": "chat", "pid": 1000 + slot, "state": "ready", "generation": 1, "uptime": 60.0 + slot,
        "connections": 10 * slot, "users": slot, "rooms": 1, "messages_in": 0, "messages_out": 0, "deliveries": 0,
        "dropped": 0, "in_rate": 1.0, "out_rate": 2.0, "cpu": 0.1, "loop_lag_ms": 0.1, "memory": 5 << 20, "restarts": 0,
        "last_exit": None, "last_exit_age": None, "accept_paused": None, **more,
    }  # fmt: skip


def status(workers: list[dict[str, Any]], *, faults: int = 0, **totals: Any) -> dict[str, Any]:
    summed = {"connections": 7, "messages_in": 0, "messages_out": 0, "deliveries": 0, **totals}
    return {
        "master": {"name": "chat", "pid": 1, "uptime": 9.0, "generation": 1, "version": "1", "state": "ready"},
        "store": {"state": "ready", "url": "unix:///" + "x" * 90},
        "workers": workers,
        "totals": summed,
        "faults": [{"what": f"fault {number}", "why": "because " * 20, "seconds": 3.0} for number in range(faults)],
    }  # fmt: skip


def shown(top: Top, width: int = 140, height: int = 40) -> str:
    return "\n".join(top.frame(width, height))


@pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 100, 132, 200])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 12, 24, 50])
def test_no_line_wraps_and_nothing_scrolls(width, height):
    for count, faults in ((1, 0), (3, 1), (100, 9)):
        top = Top()
        assert all(cells(line) <= width for line in top.frame(width, height))
        for second in range(20):
            workers = [worker(slot, last_exit="killed by SIGKILL", last_exit_age=3.0) for slot in range(count)]
            top.update(status(workers, faults=faults), second, second)
        lines = top.frame(width, height, notice="the master did not answer within 10 s")
        assert len(lines) <= height
        assert max(cells(line) for line in lines) <= width


def test_totals_become_what_happened_in_each_second():
    top = Top()
    top.update(status([worker(0, deliveries=100)], deliveries=100, messages_in=10), 5.0, 1000.0)
    top.update(status([worker(0, deliveries=400)], deliveries=400, messages_in=20), 7.0, 1002.0)
    (second,) = top.seconds
    assert (second["deliveries"], second["messages_in"]) == (150.0, 5.0)
    top.update(status([worker(0, deliveries=0)], deliveries=0), 8.0, 1003.0)
    assert top.seconds[-1]["deliveries"] == 0.0, "a server that began anew has no negative rate"
    assert "deliveries/s" in shown(top) and "all" in shown(top)


@pytest.mark.parametrize("sort", SORTS)
def test_each_column_can_be_sorted_by_and_turned_round(sort):
    top = Top(sort=sort)
    rows = [worker(slot, **({"loop_lag_ms": None} if slot == 2 else {})) for slot in (1, 0, 2)]
    for now in (0.0, 1.0):
        top.update(status(rows), now, now)
    assert f"sorted by {sort}" in shown(top)
    top.reverse = True
    assert "reversed" in shown(top)


def test_the_largest_comes_first_and_slots_begin_with_nought():
    def order(top: Top) -> list[str]:
        top.update(status([worker(1), worker(0), worker(2)]), 0.0, 0.0)
        return [line.split()[0] for line in top.frame(140, 40) if " 100" in line]

    assert order(Top()) == ["0", "1", "2"]
    assert order(Top(sort="connections")) == ["2", "1", "0"]
    assert order(Top(sort="connections", reverse=True)) == ["0", "1", "2"]
    top = Top()
    top.next_sort(-1)
    assert top.sort == SORTS[-1]


def test_the_workers_that_have_no_room_are_counted():
    top = Top()
    top.update(status([worker(slot) for slot in range(100)]), 0.0, 0.0)
    text = shown(top, height=20)
    assert "more workers" in text and text.splitlines()[-3].split()[0] == "all"


def test_a_line_is_clipped_by_cells_and_its_colour_ends():
    assert clip("abc", 3) == "abc"
    assert clip("abcd", 3) == "ab…"
    assert clip("日本語", 4) == "日…"
    assert clip("\x1b[31mabcd", 3) == "\x1b[31mab\x1b[0m…"
    assert cells("\x1b[1m日a\u0301\x1b[0m") == 3
