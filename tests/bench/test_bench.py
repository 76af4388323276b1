"""The benchmark itself: it measures a running server without losing anything, and its plots and tables can be read."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import msgspec
import pytest

from tests.bench import curves, report, run, svg
from tests.bench.curves import Curve, TooMany
from tests.bench.run import Figure
from tests.bench.scenarios import SCENARIOS


@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("room-16-keys", "chatmaster"),
        ("room-16", "baseline"),
        ("two-rooms", "chatmaster"),
        ("room-16", "floor"),
        ("two-rooms", "floor"),
        ("rate-50", "floor"),
        ("deflate", "floor"),
    ],
)
def test_a_scenario_gives_a_figure_and_every_message_arrives(name, server):
    scenario = next(one for one in SCENARIOS if one.name == name)
    figure = run.measure_one(scenario, server, runs=1, seconds=1)
    assert figure.faults == []
    assert figure.median > 0


def test_a_table_says_how_much_better_and_what_changed(tmp_path):
    now = report.Report(figures={"room-16": {"chatmaster": Figure([0.3, 0.4, 0.5]), "baseline": Figure([4.0])}})
    now.figures["room-16"]["floor"] = Figure([0.2])
    now.save(tmp_path / "saved.json")
    before = report.load(tmp_path / "saved.json")
    before.figures["room-16"]["chatmaster"].values = [0.5]
    row = report.table(now, before).splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")][3:-1] == [
        *("0.4", "±25%", "0.4", "0.33", "4", "10.0", "0.2", "2.00", "0.5", "-20%")
    ]
    assert report.missed(now) == []
    assert report.missed(report.Report(figures={"connect": {"chatmaster": Figure([7999.0])}})) == ["connect"]


def test_the_floor_is_measured_where_it_can_do_the_same_work():
    measured = {scenario.name: scenario.servers for scenario in SCENARIOS}
    assert [name for name, by in measured.items() if "floor" not in by] == ["large"]
    assert [name for name, by in measured.items() if "baseline" not in by] == ["deflate", "large"]


def test_the_floor_is_given_the_rate_that_ours_had():
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    ours = Figure()
    for rate in (100.0, 300.0, 120.0):
        ours.add(10.0, rate=rate)
    assert run.as_loaded(by_name["half-load"], ours) == msgspec.structs.replace(by_name["half-load"], rate=120.0)
    assert run.as_loaded(by_name["rate-50"], ours) == by_name["rate-50"]
    assert run.as_loaded(by_name["two-16"], ours) == by_name["two-16"]


def test_what_belongs_under_a_table_is_said_where_its_rows_need_it():
    one, two = {"room-1": {"chatmaster": Figure([3.0])}}, {"two-16": {"chatmaster": Figure([3.0])}}
    (store,) = report.notes(report.Report(figures=one))
    assert "store" in store
    assert "core" in store
    assert len(report.notes(report.Report(figures=two))) == 1  # nothing of a floor that was not measured
    two["two-16"]["floor"] = Figure([1.0])
    assert any("without a bus" in note for note in report.notes(report.Report(figures={**one, **two})))
    one["room-1"]["floor"] = Figure([1.0])
    assert not any("without a bus" in note for note in report.notes(report.Report(figures=one)))


SVG = "{http://www.w3.org/2000/svg}"


def test_a_plot_is_a_picture_with_its_points_and_the_range_of_the_runs():
    ours = [svg.Point(10, 0.5, 0.4, 0.7), svg.Point(1000, 2.0, 2.0, 2.0)]
    text = svg.plot("Cost & more", x="members", y="µs", lines={"ours": ours, "theirs": [svg.Point(10, 5.0, 5.0, 5.0)]})
    picture = ET.fromstring(text)
    assert len(picture.findall(f"{SVG}circle")) == 3
    assert len(picture.findall(f"{SVG}polygon")) == 1  # one run, or all the same: no range
    assert len(picture.findall(f"{SVG}line[@class='range']")) == 1


def test_a_curve_ends_where_the_machine_does_and_says_so(tmp_path):
    values = iter([3.0, 1.0, 2.0])

    def cost(x: int, seconds: float) -> float:
        if x > 10:
            raise TooMany("20 connections, 1 x 10 fit")
        return next(values)

    curve = Curve("some", "Some & more", "things", (10, 20, 30), {"ours": cost})
    assert curves.draw(curve, tmp_path, runs=3, seconds=1) == {"ours": [svg.Point(10.0, 2.0, 1.0, 3.0)]}
    picture = ET.parse(tmp_path / "some.svg")
    told = picture.find(f"{SVG}text[@class='subtitle']")
    assert told is not None
    assert told.text == "median and range of 3 runs; ours ends before 20 things: 20 connections, 1 x 10 fit"


def test_a_curve_that_loses_something_is_none(tmp_path):
    def cost(x: int, seconds: float) -> float:
        raise RuntimeError("9 deliveries instead of 10")

    with pytest.raises(RuntimeError):
        curves.draw(Curve("some", "", "things", (10,), {"ours": cost}), tmp_path, runs=1, seconds=1)
    assert list(tmp_path.iterdir()) == []


def test_many_rooms_are_spread_over_several_loads():
    assert curves.shares(20, 40, 2) == [(0, 20)]
    assert curves.shares(20_000, 15_000, 2) == [(0, 10_000), (10_000, 10_000)]
    assert curves.shares(22, 10, 2) == [(0, 6), (6, 8), (14, 8)]
    assert curves.rooms(30, 0.5, per_load=20) > 0  # each load has got exactly what was said in its rooms
