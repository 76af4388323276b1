"""The picture of the demonstration: it fits the terminal, and shows who is there, who moves and who was lost."""

from __future__ import annotations

import click
import pytest

from chatmaster.cli.demo_crowd import Tally
from chatmaster.cli.demo_picture import Scene, frame, summary
from chatmaster.cli.top import cells


def scene(wanted: int = 1000, *, lost: int = 0, reloading: bool = False) -> Scene:
    tally = Tally(connected=wanted - lost, dropped=lost, said=4, deliveries=4 * wanted)
    tally.lines.extend([("Ada", "hello"), ("Grace", "界" * 300)])
    workers = [{"slot": 0, "generation": 1, "state": "draining", "connections": wanted - wanted // 4}]
    workers += [{"slot": 0, "generation": 2, "state": "ready", "connections": wanted // 4}] if reloading else []
    alive = [False] * lost + [True] * (wanted - lost)
    return Scene(wanted, "http://127.0.0.1:8000/", tally, alive, workers, 2, reloading, 7.0)


def shown(now: Scene, width: int = 100, height: int = 40) -> list[str]:
    return [click.unstyle(line) for line in frame(now, width, height)]


@pytest.mark.parametrize("width", [10, 40, 80, 132])
@pytest.mark.parametrize("height", [1, 2, 5, 12, 24, 60])
@pytest.mark.parametrize("wanted", [10, 1000, 20_000])
def test_no_line_wraps_and_nothing_scrolls(width: int, height: int, wanted: int) -> None:
    lines = frame(scene(wanted, reloading=True), width, height)
    assert len(lines) <= height
    assert [line for line in lines if cells(line) > width] == []


def test_each_connection_has_a_mark_where_there_is_room() -> None:
    text = "\n".join(shown(scene(300, lost=2)))
    assert (text.count("■"), text.count("✗")) == (298, 2)
    assert "dropped 2" in text and "Ada  hello" in text


def test_a_lost_connection_is_seen_among_many_for_which_one_mark_stands() -> None:
    assert "✗" in "\n".join(shown(scene(20_000, lost=1), 80, 24))


def test_a_connection_that_is_awaited_is_neither_there_nor_lost() -> None:
    now = scene(100)
    now.alive, now.tally = [True] * 40, Tally(connected=40)
    text = "\n".join(shown(now))
    assert (text.count("■"), text.count("·"), text.count("✗")) == (40, 60, 0)
    assert "opening 100 connections" in text


def test_bars_show_how_connections_move_and_what_is_below_them_stays() -> None:
    before, during = shown(scene()), shown(scene(reloading=True))
    bars = [line.count("█") for line in during if line.startswith("worker 0")]
    assert bars[0] == pytest.approx(3 * bars[1], abs=2)
    assert [line.startswith("■") for line in before].index(True) == [line.startswith("■") for line in during].index(
        True
    )


def test_the_verdict_fits_into_a_narrow_terminal() -> None:
    assert "doubled 0" in shown(scene(20_000), 80)[1] and "reloads 2" in shown(scene(20_000), 80)[1]


def test_the_summary_says_what_was_lost() -> None:
    assert summary(scene(lost=1)).startswith("1,000 connections, 2 reloads: 1 dropped; 4,000 deliveries: 0 missing")
    assert not scene(lost=1).tally.is_clean
