"""Sizing by measurement, by simulation, and by arithmetic from both.

    python -m tests.sizing cost 1,1 3,1 6,1      # measure setups: shards, hosts; about ten seconds each, two cores
    python -m tests.sizing return --people 2000  # let a real host die under clients that come back to another
    python -m tests.sizing simulate              # a region of a million, and the run above again; draws pictures
    python -m tests.sizing tables                # what is written in the documents
    python -m tests.sizing flood                 # floods of all kinds, and what the store has after 1, 2 and 4 rounds

What is measured is kept in `tests/sizing/results`, and the other commands work with that.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import msgspec

from tests.bench import measure
from tests.sizing import arithmetic, cost, floods, picture, returning
from tests.sizing.reconnect import a_second, simulate

RESULTS: Final = Path(__file__).parent / "results"
COSTS: Final = RESULTS / "costs.json"
RETURN: Final = RESULTS / "return.json"


def known_costs() -> list[cost.Cost]:
    """What was measured, by hosts and shards."""
    return msgspec.json.decode(COSTS.read_bytes(), type=list[cost.Cost]) if COSTS.exists() else []


def _keep(path: Path, value: object) -> None:
    RESULTS.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def _cost(options: argparse.Namespace) -> None:
    costs = {(one.hosts, one.shards): one for one in known_costs()}
    for text in options.setups or [f"{one.shards},{one.hosts}" for one in cost.SETUPS]:
        setup = cost.Setup(*map(int, text.split(",")))
        costs[setup.hosts, setup.shards] = found = cost.run(setup, rate=options.rate)
        print(found, flush=True)
        _keep(COSTS, [costs[key] for key in sorted(costs)])
    print(measure.machine())


def _return(options: argparse.Namespace) -> None:
    measured = returning.run(options.people)
    _keep(RETURN, measured)
    print(arithmetic.compared(measured))


def _simulate(options: argparse.Namespace) -> None:
    region = arithmetic.region(arithmetic.factors(known_costs()), options.people)
    course = simulate(region)
    title = f"{region.people:,} people come back to {region.workers} workers and {region.shards} shards"
    says = f"half are back after {course.quantile(0.5):.1f} s, 99 % after {course.quantile(0.99):.1f} s"
    RESULTS.joinpath("region.svg").write_text(picture.draw(title, says, course))
    print(title, says, f"{len(course.tries) * course.grain:,} tries, {course.turned_away:,} turned away", sep="; ")
    if RETURN.exists():
        measured = msgspec.json.decode(RETURN.read_bytes(), type=returning.Measured)
        small = simulate(arithmetic.same_as(measured))
        line = a_second(measured.back_after, max(small.back_after[-1] / 80, 0.05))
        title = f"{len(measured.back_after):,} clients whose host was killed, simulated and measured"
        RESULTS.joinpath("return.svg").write_text(picture.draw(title, "one worker, one store", small, line))
        print(arithmetic.compared(measured))


def _tables(options: argparse.Namespace) -> None:
    costs = known_costs()
    found = arithmetic.factors(costs)
    tables = (arithmetic.cost_table(costs), arithmetic.shard_table(found), arithmetic.people_table(found))
    print(*tables, sep="\n\n")


def _flood(options: argparse.Namespace) -> None:
    print(floods.table(floods.run()))


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("cost")
    one.add_argument("setups", nargs="*", help="SHARDS,HOSTS; without any: all")
    one.add_argument("--rate", type=float, default=2000.0, help="messages a second")
    one.set_defaults(do=_cost)
    one = commands.add_parser("return")
    one.add_argument("--people", type=int, default=2000)
    one.set_defaults(do=_return)
    one = commands.add_parser("simulate")
    one.add_argument("--people", type=int, default=1_000_000)
    one.set_defaults(do=_simulate)
    commands.add_parser("tables").set_defaults(do=_tables)
    commands.add_parser("flood").set_defaults(do=_flood)
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
