"""The benchmark itself: it measures a running server without losing anything, and its plots and tables can be read."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.bench import report, run, svg
from tests.bench.run import Figure
from tests.bench.scenarios import SCENARIOS


@pytest.mark.parametrize(
    ("name", "server"),
    [("room-16-keys", "chatmaster"), ("room-16", "baseline"), ("room-16", "floor"), ("two-rooms", "chatmaster")],
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


def test_a_plot_is_a_picture_with_its_points():
    text = svg.plot("Cost & more", x="members", y="µs", lines={"ours": [(10, 0.5), (1000, 2.0)], "theirs": [(10, 5.0)]})
    picture = ET.fromstring(text)
    assert len(picture.findall("{http://www.w3.org/2000/svg}circle")) == 3
