"""The live hand-over, measured: everybody is in one busy room on one worker, and that worker is replaced.

Nothing is pinned to a core: the old worker, the new one and the load share what there is.
"""

from __future__ import annotations

import re
import time
from typing import Any

import click
from msgspec import Struct

from chatmaster.cli import control_client
from tests.bench.dialects import HELLO, SAY
from tests.bench.loaders import Loader
from tests.bench.run import Figure
from tests.bench.scenarios import PADDING
from tests.bench.servers import LIFTED
from tests.support import processes, wait
from tests.support.server import Chatmaster

SENDERS = 10
CALM = 3.0  # seconds of the same load without a reload, for comparison
AFTER = 2.0  # seconds of load after the reload
PER_LOADER = 10_000  # connections; a process here may hold 20,000 descriptors
WHOLE = ("missing", "doubled", "disconnects")  # what is 0 where nobody was dropped
_HANDED = re.compile(r"handed (\d+) of \d+ connections over in ([\d.]+) s, ([\d.]+) s of it to prepare")
_TAKEN = re.compile(r"took \d+ connections over from another worker; none was out of its rooms for more than (\d+) ms")


class Result(Struct):
    """One reload. `calm_…`: in the seconds before it."""

    connections: int
    rate: float  # messages a second
    reload_s: float  # until chatctl has its answer
    hand_over_s: float  # the part between the two workers
    prepare_s: float  # of that, until the new one follows the rooms; everybody is served meanwhile
    roomless_ms: float  # the longest that a connection was in no room, by the new worker's word
    moved: int
    calm_silence_ms: float
    silence_ms: float  # the longest that a client heard nothing
    oldest_ms: float  # the longest that a message was on its way
    missing: int
    doubled: int
    disconnects: int


def measure(connections: int, rate: float) -> Result:
    """One server, one reload."""
    settings = {**LIFTED, "log.level": "info", "limits.burst": 1000, "master.drain_timeout": 10.0}
    with Chatmaster(workers=1, settings=settings) as server:
        loads = [Loader(server.port, range(512)) for _ in range(-(-connections // PER_LOADER))]
        try:
            _fill(loads, connections)
            _talk(loads, rate)
            time.sleep(CALM)  # the load's length, not a wait; so below
            _finish(loads)
            calm = _seen(loads)
            old = server.pids[0]
            _talk(loads, rate)
            started = time.monotonic()
            control_client.call(server.state_dir / "chat.sock", "reload", timeout=120.0)
            took = time.monotonic() - started
            wait.until(lambda: not processes.alive(old), 60, "the old worker is gone")
            time.sleep(AFTER)
            _finish(loads)
            found = _seen(loads)
            handed, taken = _HANDED.search(server.log()), _TAKEN.search(server.log())
        finally:
            for load in loads:
                load.close()
    return Result(
        connections=connections,
        rate=rate,
        reload_s=took,
        hand_over_s=float(handed[2]) if handed else float("nan"),
        prepare_s=float(handed[3]) if handed else float("nan"),
        roomless_ms=float(taken[1]) if taken else float("nan"),
        moved=int(handed[1]) if handed else 0,
        calm_silence_ms=calm["silence_ms"],
        **found,
    )


def _fill(loads: list[Loader], connections: int) -> None:
    for number, load in enumerate(loads):
        count = min(PER_LOADER, connections - number * PER_LOADER)
        opening = load.ask("open", count=count, hello=HELLO, watching=True, first=number * PER_LOADER)
        if opening["opened"] < count:
            raise RuntimeError(f"only {opening['opened']} of {count} could connect")
    for load in loads:
        load.ask("settle")


def _talk(loads: list[Loader], rate: float) -> None:
    loads[0].ask("talk", message=SAY, padding=PADDING, rate=rate, senders=SENDERS)


def _finish(loads: list[Loader]) -> None:
    """End the talk; what was said has arrived."""
    loads[0].ask("hush")
    for load in loads:
        load.ask("settle", quiet=0.5)


def _seen(loads: list[Loader]) -> dict[str, Any]:
    answers = [load.ask("seen") for load in loads]
    top = {name: max(one[name] for one in answers) for name in ("silence_ms", "oldest_ms")}
    return {**top, **{name: sum(one[name] for one in answers) for name in ("missing", "doubled", "disconnects")}}


def run(connections: int, rate: float, runs: int) -> Figure:
    """Measure and print. The figure's value is how long a reload took; what was lost or doubled is a fault."""
    figure = Figure()
    for _ in range(runs):
        result = measure(connections, rate)
        click.echo(render(result), err=True)
        figure.add(result.reload_s, silence_ms=result.silence_ms, oldest_ms=result.oldest_ms)
        figure.faults += [f"{name}: {count}" for name in WHOLE if (count := getattr(result, name))]
    return figure


def render(result: Result) -> str:
    return "\n".join(
        [
            f"{result.connections:,} connections in one room on one worker, {result.rate:g} messages/s",
            f"  reload in all           {result.reload_s:.2f} s",
            f"  connections moved       {result.moved:,} in {result.hand_over_s:.2f} s, "
            f"{result.prepare_s:.2f} s of it before the first one left",
            f"  longest in no room      {result.roomless_ms:.0f} ms",
            f"  longest silence         {result.silence_ms:.0f} ms (without a reload {result.calm_silence_ms:.0f} ms)",
            f"  oldest message          {result.oldest_ms:.0f} ms",
            f"  disconnects             {result.disconnects}",
            f"  missing, doubled        {result.missing}, {result.doubled}",
        ]
    )
