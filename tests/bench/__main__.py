"""`python -m tests.bench`: measure, print the table, save the figures, compare with a saved run."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from tests.bench import curves, handover, report, run
from tests.bench.scenarios import SCENARIOS

NAMES = [scenario.name for scenario in SCENARIOS]
HANDOVER = "handover"  # measured in its own way, and only when asked for


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*NAMES, HANDOVER]))
@click.option("--runs", default=3, show_default=True, help="runs of each scenario; the median counts")
@click.option("--seconds", default=5.0, show_default=True, help="of load in each run")
@click.option(
    "--baseline/--no-baseline", default=True, show_default=True, help="plain websockets + redis-py, and the floor"
)
@click.option("--compare", type=click.Path(path_type=Path, exists=True), help="a saved run")
@click.option("--save", default="latest", show_default=True, help="name of the results")
@click.option("--connections", default=10_000, show_default=True, help="of the hand-over")
@click.option("--rate", default=5.0, show_default=True, help="messages a second during the hand-over")
@click.option("--curve", "wanted", multiple=True, type=click.Choice([one.name for one in curves.CURVES] + ["all"]))
def main(
    names: tuple[str, ...],
    runs: int,
    seconds: float,
    baseline: bool,
    compare: Path | None,
    save: str,
    connections: int,
    rate: float,
    wanted: tuple[str, ...],
) -> None:
    """Measure the scenarios NAMES, by default all; with --curve how the cost grows instead.

    `handover` moves --connections live ones from a worker to its successor.
    """
    if wanted:
        return _draw(wanted, runs, seconds, save)
    if HANDOVER in names:
        sys.exit(0 if handover.run(connections, rate, runs) else 1)
    on, beside = run.cores()
    click.echo(f"server on core {sorted(on)}, load on {sorted(beside)}", err=True)
    if on == beside:
        click.echo("there is one core for both: the figures are of little worth", err=True)
    result = report.Report(runs=runs, seconds=seconds)
    for scenario in SCENARIOS:
        if names and scenario.name not in names:
            continue
        figures = result.figures[scenario.name] = {}
        for server in scenario.servers if baseline else ("chatmaster",):
            load = run.as_loaded(scenario, figures["chatmaster"]) if server == "floor" else scenario
            figures[server] = run.measure_one(load, server, runs=runs, seconds=seconds)
            click.echo(f"{scenario.name} {server}: {figures[server].values} {scenario.unit}", err=True)
    result.save(report.RESULTS / f"{save}.json")
    click.echo(report.table(result, report.load(compare) if compare is not None else None))
    click.echo("\n" + "\n".join(f"* {note}" for note in report.notes(result)))
    found = report.faults(result)
    for text in found:
        click.echo(f"fault: {text}", err=True)
    for name in report.missed(result):
        click.echo(f"beyond its bound: {name}", err=True)
    sys.exit(1 if found else 0)


def _draw(wanted: tuple[str, ...], runs: int, seconds: float, save: str) -> None:
    path = report.RESULTS / f"curves-{save}.json"
    points = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
    for curve in curves.CURVES:
        if curve.name in wanted or "all" in wanted:
            points[curve.name] = curves.draw(curve, report.RESULTS, runs=runs, seconds=seconds)
            path.write_bytes(msgspec.json.format(msgspec.json.encode(points), indent=1) + b"\n")


if __name__ == "__main__":
    main()
