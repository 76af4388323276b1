"""`python -m tests.bench`: measure, print the tables, save the figures, compare with a saved run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from chatmaster.cli import interpreters
from tests.bench import curves, handover, peers, report, run, targets
from tests.bench.scenarios import SCENARIOS, SERVERS, Scenario

NAMES = [scenario.name for scenario in SCENARIOS]
HANDOVER = "handover"  # measured in its own way
TARGETS = "targets"  # all that a target speaks of


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*NAMES, HANDOVER, TARGETS]))
@click.option("--runs", default=3, show_default=True, help="rounds of each scenario; the median counts")
@click.option("--seconds", default=5.0, show_default=True, help="of load in each run")
@click.option("--server", "beside", multiple=True, type=click.Choice(SERVERS[1:]), help="beside ours; all by default")
@click.option("--baseline/--no-baseline", default=True, show_default=True, help="others beside ours")
@click.option("--compare", type=click.Path(path_type=Path, exists=True), help="a saved run")
@click.option("--save", default="latest", show_default=True, help="name of the results")
@click.option("--connections", default=10_000, show_default=True, help="of the hand-over")
@click.option("--rate", default=5.0, show_default=True, help="messages a second during the hand-over")
@click.option("--curve", "wanted", multiple=True, type=click.Choice([one.name for one in curves.CURVES] + ["all"]))
def main(
    names: tuple[str, ...],
    runs: int,
    seconds: float,
    beside: tuple[str, ...],
    baseline: bool,
    compare: Path | None,
    save: str,
    connections: int,
    rate: float,
    wanted: tuple[str, ...],
) -> None:
    """Measure the scenarios NAMES, by default all; with --curve how the cost grows instead.

    `handover` moves --connections live ones from a worker to its successor; `targets` are the rows of the targets'
    table.
    """
    if wanted:
        return _draw(wanted, runs, seconds, save)
    chosen = _chosen(names)
    there = _there(beside or SERVERS[1:]) if baseline else ()
    result = report.Report(runs=runs, seconds=seconds, peers=peers.versions(there))
    _say_cores()
    _say_interpreter()
    for scenario in SCENARIOS:
        if scenario.name in chosen:
            _measure(result, scenario, there)
    if HANDOVER in chosen:
        result.figures[HANDOVER] = {"chatmaster": handover.run(connections, rate, runs)}
    result.save(report.RESULTS / f"{save}.json")
    click.echo(report.table(result, report.load(compare) if compare is not None else None))
    click.echo("\n" + "\n".join(f"* {note}" for note in report.notes(result)))
    click.echo("\n" + targets.table(result.figures))
    found = report.faults(result)
    for text in found:
        click.echo(f"fault: {text}", err=True)
    sys.exit(1 if found else 0)


def _chosen(names: Sequence[str]) -> set[str]:
    every = {target.scenario for target in targets.TARGETS} | {target.beside for target in targets.TARGETS}
    return {*names, *(every if TARGETS in names else ())} if names else {*NAMES, HANDOVER}


def _there(wanted: Sequence[str]) -> tuple[str, ...]:
    """Those of the servers that this machine can measure; of the others it is said what is missing."""
    lacking = {name: peers.absent(name) for name in wanted}
    for name, reason in lacking.items():
        if reason:
            click.echo(f"{name} is left out: {reason}", err=True)
    return tuple(name for name, reason in lacking.items() if not reason)


def _say_cores() -> None:
    on, beside = run.cores()
    click.echo(f"server on core {sorted(on)}, load on {sorted(beside)}", err=True)
    if on == beside:
        click.echo("there is one core for both: the figures are of little worth", err=True)


def _say_interpreter() -> None:
    """`bin/chatctl` would serve with the fastest interpreter; a benchmark serves with the one that runs it."""
    pair = interpreters.faster_than(interpreters.executable_of(os.getpid()))
    if pair is not None:
        running, faster = pair
        click.echo(
            f"this Python {running.version} takes {running.micros / faster.micros:.1f} times as long as {faster.path}, "
            "which bin/chatctl serves with, and `bin/python -m tests.bench` measures",
            err=True,
        )


def _measure(result: report.Report, scenario: Scenario, beside: Sequence[str]) -> None:
    names = [name for name in scenario.servers if name == "chatmaster" or name in beside]
    result.figures[scenario.name] = run.measure_all(scenario, names, runs=result.runs, seconds=result.seconds)
    for name, figure in result.figures[scenario.name].items():
        click.echo(f"{scenario.name} {name}: {figure.values} {scenario.unit}", err=True)


def _draw(wanted: tuple[str, ...], runs: int, seconds: float, save: str) -> None:
    path = report.RESULTS / f"curves-{save}.json"
    points = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
    for curve in curves.CURVES:
        if curve.name in wanted or "all" in wanted:
            points[curve.name] = curves.draw(curve, report.RESULTS, runs=runs, seconds=seconds)
            path.write_bytes(msgspec.json.format(msgspec.json.encode(points), indent=1) + b"\n")


if __name__ == "__main__":
    main()
