"""How the cost grows: over members, rooms, workers, history, idle connections, churn and rate.

Each curve is a few variations of one load; nothing may grow worse than linearly, and per delivery nothing much should
grow at all. A measurement that loses a message or a connection is none and ends the run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from tests.bench import measure, run, servers, svg
from tests.bench.loaders import Loader
from tests.bench.scenarios import HELLO, PADDING, SAY, US, Scenario
from tests.bench.servers import Server

BASE = Scenario(name="curve", title="", unit=US, at_most=0, reach=0, window=16)
PER_PROCESS = 15_000  # connections of one load, and of one worker: a process may hold 20,000 descriptors
ROOM = HELLO.replace("%R", "0")
PATIENCE = 0.02  # seconds, `server.max_batch_delay` of the second line of the curves over the rate


class Curve(Struct, frozen=True):
    """A plot: values of x, and for each line of it what measures it."""

    name: str
    title: str
    x: str
    values: tuple[int, ...]
    lines: Mapping[str, Callable[[int, float], float]]
    y: str = US


def _varied(**change: int) -> Callable[[int, float], float]:
    """A scenario where the named members take the value of x, or another fixed one."""

    def cost(x: int, seconds: float) -> float:
        fixed = {name: x if value < 0 else value for name, value in change.items()}
        return _median(msgspec.structs.replace(BASE, **fixed), "chatmaster", seconds)

    return cost


def _baseline(x: int, seconds: float) -> float:
    return _median(msgspec.structs.replace(BASE, connections=x), "baseline", seconds)


def _median(scenario: Scenario, server: str, seconds: float) -> float:
    figure = run.measure_one(scenario, server, runs=1, seconds=seconds)
    if figure.faults:
        raise RuntimeError(f"{figure.faults}")
    return figure.median


def _rooms(x: int, seconds: float) -> float:
    """So many rooms of two members, in all of which somebody speaks, 64 messages in flight over all."""
    scenario = msgspec.structs.replace(BASE, connections=2 * x, each_room=2, senders=x, window=64, workers=2)
    return _median(scenario, "chatmaster", seconds)


def _history(x: int, seconds: float) -> float:
    """A room of 100 that has x messages already, and keeps as many."""
    on, beside = run.cores()
    scenario = msgspec.structs.replace(BASE, connections=100)
    with servers.chatmaster(1, on, {"store.history_size": x}) as server, Loader(server.port, beside) as load:
        run.fill(load, scenario)
        load.ask("send", message=SAY, padding=PADDING, rate=5000, senders=10, seconds=1.1 * x / 5000, drain=60.0)
        return _cost(run.keep_full(load, scenario, server, seconds))


def _idle(x: int, seconds: float) -> float:
    """A busy room of 1,000 beside x connections that say nothing, always over four workers."""
    hello = '{"type":"hello","rooms":[{"room":"idle%I"}]}'
    with _crowd(x, 4, hello=hello) as (server, beside), Loader(server.port, beside) as load:
        run.fill(load, BASE)
        spent = _idle_cpu(server, seconds)
        result = run.keep_full(load, BASE, server, seconds)
        result["cpu"] -= spent * result["seconds"]
        return _cost(result)


def _churn(x: int, seconds: float) -> float:
    """CPU (µs) of one join and leave of a room that has x members, beyond what these cost anyway."""
    with _crowd(x, 2, hello=ROOM) as (server, beside), Loader(server.port, beside) as load:
        spent = _idle_cpu(server, 4.0)
        before, began = measure.cpu_seconds(server.pid, server.without), time.monotonic()
        count = max(int(200 * seconds), 1)
        load.ask("open", count=count, hello=ROOM, first=40_000)
        load.ask("close")
        load.ask("settle", quiet=4.0)  # a leave is told after three seconds
        cpu = measure.cpu_seconds(server.pid, server.without) - before - spent * (time.monotonic() - began)
        return max(cpu, 1e-9) * 1e6 / count


def _rate(delay: float, wanted: str) -> Callable[[int, float], float]:
    """CPU of a delivery beyond what the server takes when nobody speaks, or the p99 of its age."""

    def cost(x: int, seconds: float) -> float:
        on, beside = run.cores()
        members = 10 if x < 1000 else 100
        scenario = msgspec.structs.replace(BASE, connections=members)
        settings = {"server.max_batch_delay": delay}
        with servers.chatmaster(1, on, settings) as server, Loader(server.port, beside) as load:
            run.fill(load, scenario)
            spent = _idle_cpu(server, seconds)
            result = _say_at(load, server, x / members, max(seconds, 20 * members / x))
        if result["delivered"] != result["expected"]:
            raise RuntimeError(f"{result['delivered']} deliveries instead of {result['expected']}")
        result["cpu"] -= spent * result["seconds"]
        return float(result[wanted]) if wanted != "cpu" else _cost(result)

    return cost


def _say_at(load: Loader, server: Server, rate: float, seconds: float) -> dict[str, Any]:
    return load.ask(
        "send",
        message=SAY,
        padding=PADDING,
        rate=rate,
        senders=10,
        seconds=seconds,
        warmup=1.0,
        cpu_of=server.pid,
        without=server.without,
    )


def _idle_cpu(server: Server, seconds: float) -> float:
    """Seconds of CPU a second while nobody speaks."""
    before, began = measure.cpu_seconds(server.pid, server.without), time.monotonic()
    time.sleep(seconds)
    return (measure.cpu_seconds(server.pid, server.without) - before) / (time.monotonic() - began)


def _cost(result: dict[str, Any]) -> float:
    return max(float(result["cpu"]), 1e-9) * 1e6 / float(result["deliveries"])


@contextmanager
def _crowd(count: int, workers: int, *, hello: str) -> Iterator[tuple[Server, set[int]]]:
    on, beside = run.cores()
    with servers.chatmaster(workers, on) as server:
        loads: list[Loader] = []
        try:
            for first in range(0, count, PER_PROCESS):
                loads.append(Loader(server.port, beside))
                number = min(PER_PROCESS, count - first)
                opening = loads[-1].ask("open", count=number, hello=hello, first=first + 10_000)
                if opening["opened"] < number:
                    raise RuntimeError(f"only {opening['opened']} of {number} could connect")
            for load in loads:
                load.ask("settle")
            yield server, beside
        finally:
            for load in loads:
                load.close()


OURS = "chatmaster"
RATES = (10, 100, 1000, 10_000, 100_000)
CURVES: tuple[Curve, ...] = (
    Curve(
        "members",
        "One room, 16 in flight",
        "members",
        (10, 100, 1000, 10_000),
        {OURS: _varied(connections=-1), "plain websockets": _baseline},
    ),
    Curve("rooms", "Rooms of 2 members, 2 workers", "rooms", (1, 10, 100, 1000, 5000), {OURS: _rooms}),
    Curve("workers", "Room of 1,000 over several workers", "workers", (1, 2, 4, 8), {OURS: _varied(workers=-1)}),
    Curve("history", "Room of 100 with a history", "messages kept", (10, 100, 1000, 10_000), {OURS: _history}),
    Curve("idle", "Room of 1,000 beside idle ones", "idle connections", (1, 1000, 10_000, 40_000), {OURS: _idle}),
    Curve(
        "churn",
        "Joining and leaving a room",
        "members",
        (10, 100, 1000, 5000),
        {OURS: _churn},
        "µs CPU / join and leave",
    ),
    Curve(
        "rate",
        "Cost by rate",
        "deliveries/s",
        RATES,
        {"no delay": _rate(0.0, "cpu"), f"{PATIENCE * 1e3:.0f} ms": _rate(PATIENCE, "cpu")},
    ),
    Curve(
        "latency",
        "Age of a message by rate",
        "deliveries/s",
        RATES,
        {"no delay": _rate(0.0, "p99_ms"), f"{PATIENCE * 1e3:.0f} ms": _rate(PATIENCE, "p99_ms")},
        "ms, 99th percentile",
    ),
)


def draw(curve: Curve, directory: Path, *, runs: int, seconds: float) -> dict[str, list[tuple[float, float]]]:
    """Measure one curve, each point several times, and write its plot; the points are the medians."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for name, cost in curve.lines.items():
        lines[name] = []
        for x in curve.values:
            values = [cost(x, seconds) for _ in range(runs)]
            lines[name].append((float(x), statistics.median(values)))
            click.echo(f"{curve.name}, {name}, {x} {curve.x}: {[round(one, 3) for one in values]} {curve.y}", err=True)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{curve.name}.svg").write_text(svg.plot(curve.title, x=curve.x, y=curve.y, lines=lines))
    return lines
