"""Results as a table for people and as JSON for the next run to compare with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, field

from tests.bench import measure
from tests.bench.run import Figure
from tests.bench.scenarios import SCENARIOS, Scenario

# The servers beside ours, as the table names them, in its order; TAKEN only write: they are what the work takes here.
BESIDE = {"bound": "C", "floor": "floor", "baseline": "plain relay", "centrifugo": "Centrifugo"}
TAKEN = frozenset({"bound", "floor"})
RESULTS = Path(__file__).parent / "results"


class Report(Struct):
    """One run of the benchmark."""

    machine: dict[str, str] = field(default_factory=measure.machine)
    when: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))
    runs: int = 0
    seconds: float = 0.0
    peers: dict[str, str] = field(default_factory=dict)  # the versions of what was measured beside ours
    figures: dict[str, dict[str, Figure]] = field(default_factory=dict)  # by scenario and server

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")


def load(path: Path) -> Report:
    return msgspec.json.decode(path.read_bytes(), type=Report)


def table(report: Report, saved: Report | None = None) -> str:
    """Markdown: a row a scenario, and for each server beside ours its figure and ours as a part of it.

    A ratio above 1 says for every row how many times better ours is, or, of the bound and the floor, how many times
    what they take. With a saved run the change against it. One run has no spread.
    """
    beside = [name for name in BESIDE if any(name in by_server for by_server in report.figures.values())]
    head = ["scenario", "unit", "ours", "spread"]
    for name in beside:
        head += [BESIDE[name], f"× {BESIDE[name]}" if name in TAKEN else f"× better than {BESIDE[name]}"]
    head += ["before", "change"] if saved is not None else []
    rows = [head, ["---"] * len(head)]
    for scenario in SCENARIOS:
        if scenario.name in report.figures:
            rows.append(_row(scenario, report, beside, saved))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def notes(report: Report) -> list[str]:
    """What belongs under the table: what the figures of these rows hold and what they leave out."""
    measured = [scenario for scenario in SCENARIOS if scenario.name in report.figures]
    with_floor = [scenario for scenario in measured if TAKEN & report.figures[scenario.name].keys()]
    with_centrifugo = any("centrifugo" in figures for figures in report.figures.values())
    of_half = any(scenario.kind == "latency" and not scenario.rate for scenario in with_floor)
    wanted = {
        _ONE_CORE: True,
        _FLOOR: bool(with_floor),
        _CENTRIFUGO.format(report.peers.get("centrifugo", "Centrifugo")): with_centrifugo,
        _NO_BUS: any(scenario.workers > 1 for scenario in with_floor),
        _SAME_RATE: of_half,
        _PASSED_ON: any(scenario.compressed for scenario in with_floor),
    }
    return [note for note, needed in wanted.items() if needed]


_ONE_CORE = (
    "All processes of a server share one core, its store (chatmaster's embedded one, the others' Redis) with them: "
    "the store's CPU is left out of the figures, but while it runs the server waits, which ages and loop lag hold."
)
_FLOOR = (
    "The floor is one bare uvloop process that writes what comes to the room, at once: no JSON, no store, no order; C "
    "is the same over epoll without an interpreter. They are what the machine takes, not bounds: where a server waits "
    "a little, more messages leave by one write, which may cost less."
)
_NO_BUS = "For two workers, too, floor and C are one process without a bus: what the deliveries alone take."
_SAME_RATE = "At half of what saturates, floor and C get chatmaster's rate, the others half of what saturates them."
_PASSED_ON = "Compressed messages pass floor and C as they came; chatmaster inflates, checks and deflates each once."
_CENTRIFUGO = (
    "{}: one process with as many threads for Go (GOMAXPROCS) as chatmaster has workers; history, recovery and "
    "presence on, in a Redis that keeps nothing on disk, where chatmaster's store syncs every write."
)


def faults(report: Report) -> list[str]:
    """What makes a figure worthless."""
    return [
        f"{scenario} ({server}): {fault}"
        for scenario, by_server in report.figures.items()
        for server, figure in by_server.items()
        for fault in figure.faults
    ]


def _row(scenario: Scenario, report: Report, beside: Sequence[str], saved: Report | None) -> list[str]:
    figures = report.figures[scenario.name]
    ours = figures.get("chatmaster", Figure())
    row = [scenario.title, scenario.unit, _short(ours.median), f"±{ours.spread:.0%}" if len(ours.values) > 1 else "–"]
    for name in beside:
        if (other := figures.get(name)) is None:
            row += ["", ""]
            continue
        better = _ratio(scenario, ours, other)
        row += [_short(other.median), f"{1 / better:.2f}" if name in TAKEN else f"{better:.1f}"]
    if saved is not None:
        before = saved.figures.get(scenario.name, {}).get("chatmaster")
        row += [_short(before.median), f"{ours.median / before.median - 1:+.0%}"] if before is not None else ["", ""]
    return row


def _ratio(scenario: Scenario, ours: Figure, other: Figure) -> float:
    """How many times better ours is."""
    return ours.median / other.median if scenario.more_is_better else other.median / ours.median


def _short(number: float) -> str:
    if number != number:
        return "–"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
