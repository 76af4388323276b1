"""Results as a table for people and as JSON for the next run to compare with."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
from msgspec import Struct, field

from tests.bench import measure
from tests.bench.run import Figure
from tests.bench.scenarios import SCENARIOS, Scenario

RESULTS = Path(__file__).parent / "results"


class Report(Struct):
    """One run of the benchmark."""

    machine: dict[str, str] = field(default_factory=measure.machine)
    when: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))
    runs: int = 0
    seconds: float = 0.0
    figures: dict[str, dict[str, Figure]] = field(default_factory=dict)  # by scenario and server

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")


def load(path: Path) -> Report:
    return msgspec.json.decode(path.read_bytes(), type=Report)


def table(report: Report, saved: Report | None = None) -> str:
    """Markdown: a row a scenario; with a saved run the change against it."""
    head = [
        "scenario",
        "unit",
        "median",
        "spread",
        "at most",
        "reach",
        "baseline",
        "times better",
        "floor",
        "of the floor",
    ]
    head += ["before", "change"] if saved is not None else []
    rows = [head, ["---"] * len(head)]
    for scenario in SCENARIOS:
        if scenario.name in report.figures:
            rows.append(_row(scenario, report, saved))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def notes(report: Report) -> list[str]:
    """What belongs under the table: what the figures of these rows hold and what they leave out."""
    measured = [scenario for scenario in SCENARIOS if scenario.name in report.figures]
    with_floor = [scenario for scenario in measured if "floor" in report.figures[scenario.name]]
    of_half = any(scenario.kind == "latency" and not scenario.rate for scenario in with_floor)
    wanted = {
        _ONE_CORE: True,
        _FLOOR: bool(with_floor),
        _NO_BUS: any(scenario.workers > 1 for scenario in with_floor),
        _SAME_RATE: of_half,
        _PASSED_ON: any(scenario.compressed for scenario in with_floor),
    }
    return [note for note, needed in wanted.items() if needed]


_ONE_CORE = (
    "All processes of a server share one core, its store (chatmaster's embedded one, the baseline's Redis) with them: "
    "the store's CPU is left out of the figures, but while it runs the server waits, which ages and loop lag hold."
)
_FLOOR = (
    "The floor is one bare uvloop process that writes what comes to the room, at once: no JSON, no store, no order. It "
    "is what the machine takes, not a bound: where a server waits a little, more messages leave by one write, which "
    "may cost less than the floor."
)
_NO_BUS = "For two workers, too, the floor is one process without a bus: what the deliveries alone take."
_SAME_RATE = "At half of what saturates, the floor gets chatmaster's rate, the baseline half of what saturates itself."
_PASSED_ON = "Compressed messages the floor passes on as they came; chatmaster inflates, checks and deflates each once."


def faults(report: Report) -> list[str]:
    """What makes a figure worthless."""
    return [
        f"{scenario} ({server}): {fault}"
        for scenario, by_server in report.figures.items()
        for server, figure in by_server.items()
        for fault in figure.faults
    ]


def missed(report: Report) -> list[str]:
    """The scenarios whose figure is beyond its bound."""
    return [
        scenario.name
        for scenario in SCENARIOS
        if (figure := report.figures.get(scenario.name, {}).get("chatmaster")) is not None
        and (figure.median < scenario.at_most if scenario.more_is_better else figure.median > scenario.at_most)
    ]


def _row(scenario: Scenario, report: Report, saved: Report | None) -> list[str]:
    ours = report.figures[scenario.name].get("chatmaster", Figure())
    other = report.figures[scenario.name].get("baseline")
    row = [scenario.title, scenario.unit, _short(ours.median), f"±{ours.spread:.0%}"]
    row += [_short(scenario.at_most), _short(scenario.reach)]
    row += [_short(other.median), f"{_ratio(scenario, ours, other):.1f}"] if other is not None else ["", ""]
    floor = report.figures[scenario.name].get("floor")
    row += [_short(floor.median), f"{1 / _ratio(scenario, ours, floor):.2f}"] if floor is not None else ["", ""]
    if saved is not None:
        before = saved.figures.get(scenario.name, {}).get("chatmaster")
        row += [_short(before.median), f"{ours.median / before.median - 1:+.0%}"] if before is not None else ["", ""]
    return row


def _ratio(scenario: Scenario, ours: Figure, other: Figure) -> float:
    return ours.median / other.median if scenario.more_is_better else other.median / ours.median


def _short(number: float) -> str:
    if number != number:
        return "–"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
