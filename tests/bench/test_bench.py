"""The benchmark itself: it measures a running server without losing anything, and its plots and tables can be read."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import msgspec
import pytest
import uvloop

from tests.bench import curves, peers, report, run, svg, targets, writes
from tests.bench.curves import Curve, TooMany
from tests.bench.run import Figure
from tests.bench.scenarios import SCENARIOS, Scenario


def _scenario(name: str) -> Scenario:
    return next(one for one in SCENARIOS if one.name == name)


def _built(server: str) -> None:
    """Skip where a server cannot be built, and where Centrifugo is not built yet: that takes minutes."""
    if server == "centrifugo" and not peers.built(server):
        pytest.skip("Centrifugo is not built: `python -m tests.bench room-1` does that")
    if reason := peers.absent(server):
        pytest.skip(reason)


@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("room-16-keys", "chatmaster"),
        ("room-16", "baseline"),
        ("room-16", "centrifugo"),
        ("room-16", "bound"),
        ("room-16", "floor"),
        ("two-rooms", "chatmaster"),
        ("two-rooms", "centrifugo"),
        ("two-rooms", "bound"),
        ("two-rooms", "floor"),
        ("rate-50", "centrifugo"),
        ("rate-50", "bound"),
        ("rate-50", "floor"),
        ("deflate", "bound"),
        ("deflate", "floor"),
    ],
)
def test_a_scenario_gives_a_figure_and_every_message_arrives(name, server):
    _built(server)
    figure = run.measure_one(_scenario(name), server, runs=1, seconds=1)
    assert figure.faults == []
    assert figure.median > 0


@pytest.mark.parametrize("server", ["bound", "floor", "centrifugo"])
def test_a_server_beside_ours_takes_newcomers(server):
    _built(server)
    scenario = msgspec.structs.replace(_scenario("welcome"), connections=500)
    figure = run.measure_one(scenario, server, runs=1, seconds=1)
    assert figure.faults == []
    assert figure.median > 0


def test_a_table_says_how_each_server_beside_ours_stands_and_what_changed(tmp_path):
    now = report.Report(figures={"room-16": {"chatmaster": Figure([0.3, 0.4, 0.5]), "baseline": Figure([4.0])}})
    now.figures["room-16"]["floor"] = Figure([0.2])
    now.figures["welcome"] = {"chatmaster": Figure([3000.0]), "centrifugo": Figure([1500.0])}
    now.save(tmp_path / "saved.json")
    before = report.load(tmp_path / "saved.json")
    before.figures["room-16"]["chatmaster"].values = [0.5]
    head, _, room, welcome = [
        [cell.strip() for cell in line.split("|")][3:-1] for line in report.table(now, before).splitlines()
    ]
    assert head[1:] == [
        *(
            "spread",
            "floor",
            "× floor",
            "plain relay",
            "× better than plain relay",
            "Centrifugo",
            "× better than Centrifugo",
            "before",
            "change",
        )
    ]
    assert room == ["0.4", "±25%", "0.2", "2.00", "4", "10.0", "", "", "0.5", "-20%"]
    assert welcome == ["3,000", "–", "", "", "", "", "1,500", "2.0", "3,000", "+0%"]


def test_the_servers_of_a_round_are_measured_in_turn(monkeypatch):
    met = []

    def measured(scenario, name, seconds, figure):
        met.append((name, scenario.rate))
        figure.add(1.0, rate=100.0 * len(met))

    monkeypatch.setattr(run, "_measure", measured)
    run.measure_all(_scenario("half-load"), ["chatmaster", "bound", "centrifugo"], runs=2, seconds=1)
    assert met == [
        *(("chatmaster", 0.0), ("bound", 100.0), ("centrifugo", 0.0)),
        *(("chatmaster", 0.0), ("bound", 400.0), ("centrifugo", 0.0)),
    ]


def test_a_target_is_the_ratio_of_each_round_and_says_how_far_the_rounds_lie_apart():
    figures = {
        "room-16": {"chatmaster": Figure([2.0, 4.0, 3.0]), "bound": Figure([2.0, 2.0, 2.0])},
        "two-16": {"chatmaster": Figure([2.2, 4.4, 3.3])},
        "welcome": {"chatmaster": Figure([3000.0]), "centrifugo": Figure([1000.0])},
        "handover": {"chatmaster": Figure([2.5], [{"silence_ms": 700.0}])},
    }
    rows = [[cell.strip() for cell in line.split("|")][1:-1] for line in targets.table(figures).splitlines()[2:]]
    assert rows == [
        ["1,000, 16 in flight / C", "1.5", "1 to 2", "≤ 1.3", "≤ 1.15", "missed"],
        ["two workers, 16 in flight / one worker", "1.1", "1.1 to 1.1", "≤ 1.4", "≤ 1.2", "reached"],
        ["newcomers a second / Centrifugo", "3", "3 to 3", "≥ 1.3", "≥ 2", "reached"],
        ["reload of 10,000 in a busy room", "2.5 s", "2.5 to 2.5", "≤ 3", "≤ 2", "met"],
        ["longest silence in it", "700 ms", "700 to 700", "≤ 500", "≤ 300", "missed"],
    ]
    assert targets.table({}) == ""


def test_every_target_speaks_of_what_is_measured():
    measured = {scenario.name: scenario.servers for scenario in SCENARIOS} | {"handover": ("chatmaster",)}
    for target in targets.TARGETS:
        assert not target.beside or target.beside in {*measured[target.scenario], *measured}, target.row


def test_each_server_is_measured_where_it_can_do_the_same_work():
    measured = {scenario.name: scenario.servers for scenario in SCENARIOS}
    assert [name for name, by in measured.items() if not {"floor", "bound"} & set(by)] == ["large"]
    assert [name for name, by in measured.items() if "baseline" not in by] == ["deflate", "large"]
    assert [name for name, by in measured.items() if "centrifugo" not in by] == ["room-16-keys", "deflate", "large"]


def test_a_server_that_cannot_be_built_is_left_out_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    peers.bound_program.cache_clear()
    peers.centrifugo_program.cache_clear()
    try:
        assert peers.absent("bound") == "no C compiler (cc, gcc, clang)"
        assert peers.absent("centrifugo") == "no Go tool chain (go)"
        assert peers.absent("floor") == ""
    finally:
        peers.bound_program.cache_clear()
        peers.centrifugo_program.cache_clear()


def test_floor_and_bound_are_given_the_rate_that_ours_had():
    ours = Figure()
    for rate in (300.0, 120.0):
        ours.add(10.0, rate=rate)
    half = _scenario("half-load")
    assert run.as_loaded(half, ours) == msgspec.structs.replace(half, rate=120.0)
    assert run.as_loaded(_scenario("rate-50"), ours) == _scenario("rate-50")
    assert run.as_loaded(_scenario("two-16"), ours) == _scenario("two-16")


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


def test_a_point_that_costs_too_little_is_left_out_and_told(tmp_path):
    curve = Curve("some", "Some", "things", (1, 10), {"ours": lambda x, seconds: x - 1.0})
    assert curves.draw(curve, tmp_path, runs=1, seconds=1) == {"ours": [svg.Point(10.0, 9.0, 9.0, 9.0)]}
    assert "ours at 1 things: too little to be measured" in (tmp_path / "some.svg").read_text()


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


def test_writes_are_compared_by_three_ways() -> None:
    found = uvloop.run(writes.measure(members=20, rounds=3))
    assert list(found) == ["uvloop", "chatmaster", "send alone"]
    assert all(len(values) == 3 and min(values) > 0 for values in found.values())
