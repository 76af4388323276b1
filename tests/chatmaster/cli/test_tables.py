"""Rows of many workers become one table."""

from __future__ import annotations

import time

import click

from chatmaster.cli import status, tables


def test_a_room_that_two_workers_know_is_one_row():
    rows = [
        {"slot": 1, "room": "b", "members": 1, "offset": 9, "lagging": 0},
        {"slot": 0, "room": "a", "members": 2, "offset": 5, "lagging": 1},
        {"slot": 1, "room": "a", "members": 3, "offset": 6, "lagging": 0},
    ]
    assert tables.merged("rooms", rows) == [
        {"room": "a", "members": 5, "offset": 6, "lagging": 1, "slots": [0, 1]},
        {"room": "b", "members": 1, "offset": 9, "lagging": 0, "slots": [1]},
    ]


def test_a_table_is_aligned_and_leaves_out_columns_that_nobody_has():
    rows = [{"user": "ann", "name": "Ann", "connections": 2}, {"user": "g-1234567", "name": "", "connections": 12}]
    assert click.unstyle(tables.render("who", rows)).splitlines() == [
        "user       name  connections",
        "ann        Ann             2",
        "g-1234567  –              12",
    ]


def test_what_clients_wrote_cannot_move_the_cursor():
    shown = tables.message({"time": 0, "offset": 1, "payload": '{"from": {"user": "a"}, "text": "x\\u001b[2Jy\\n"}'})
    assert click.unstyle(shown).endswith("a: x·[2Jy·")


def test_tail_shows_who_said_what_and_other_payloads_as_they_are():
    def shown(payload: str) -> str:
        return click.unstyle(tables.message({"time": 0, "offset": 7, "payload": payload})).partition("7  ")[2]

    assert shown('{"type": "message", "from": {"user": "a", "name": "Ann"}, "text": "hi"}') == "Ann: hi"
    assert shown('{"type": "reacted", "room": "r", "from": {"user": "a"}, "target": 3}') == 'a: [reacted] {"target": 3}'
    assert shown("plain") == "plain"


def test_figures_are_short():
    assert [tables.duration(seconds) for seconds in (None, 0.4, 59, 61, 3600, 90_061)] == [
        "–", "0s", "59s", "1m 1s", "1h", "1d 1h",
    ]  # fmt: skip
    assert [tables.size(count) for count in (None, 0, 1023, 1536, 20 << 20, 3 << 40)] == [
        "–", "0 B", "1023 B", "1.5 KiB", "20 MiB", "3.0 TiB",
    ]  # fmt: skip


def test_status_of_nothing_yet_is_shown_too():
    """While it starts, and of a master of another version: what is missing must not keep the rest from being seen."""
    shown = click.unstyle(status.render({"master": {"name": "chat", "state": "starting"}, "workers": []}))
    assert shown.startswith("master  chat  starting  pid –")
    assert shown.endswith("no workers")


def test_the_last_crash_and_the_age_of_each_exit_are_shown():
    crash = {"slot": 2, "generation": 1, "how": "killed by SIGKILL", "age": 185.2}
    row = {"slot": 0, "last_exit": "replaced: exit code 0", "last_exit_age": 61.0}
    shown = click.unstyle(status.render({"master": {"last_crash": crash}, "workers": [row]}))
    assert shown.splitlines()[-1] == "last crash: 3m 5s ago, worker 2 (generation 1): killed by SIGKILL"
    assert "replaced: exit code 0, 1m 1s ago" in shown
    assert "crash" not in status.render({"master": {"last_crash": None}, "workers": [row]})


def test_the_audit_tells_when_with_the_zone(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        shown = tables.render("audit", [{"time": 0.0, "action": "ban", "user": "bob"}])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "1970-01-01T05:30:00+05:30" in shown


def test_tail_says_how_many_were_lost():
    assert click.unstyle(tables.message({"lost": 1200})) == "… 1,200 lost: tail was too slow"


def test_what_has_happened_is_said_below_and_nothing_where_nothing_has():
    totals = {"handed_over": 12, "hand_over_failed": 0, "hung": 1}
    shown = click.unstyle(status.render({"workers": [], "totals": totals}))
    assert shown.splitlines()[-1] == "since the start: 12 connections handed over, 1 worker hung"
    assert "since the start" not in status.render({"workers": [], "totals": {"handed_over": 0}})
