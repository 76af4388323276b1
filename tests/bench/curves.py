"""How the cost grows: over members, rooms, workers, history, idle connections, churn and rate.

Each curve is a few variations of one load; nothing may grow worse than linearly, and per delivery nothing much should
grow at all. A measurement that loses a message or a connection is none and ends the run; what needs more descriptors
than a process may hold here is left out, which the plot says.
"""

from __future__ import annotations

import itertools
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from tests.bench import measure, run, servers, svg
from tests.bench.dialects import HELLO, SAY
from tests.bench.loaders import Loader
from tests.bench.scenarios import PADDING, US, Scenario
from tests.bench.servers import Server

BASE = Scenario(name="curve", title="", unit=US, window=16)
# Connections of one load, and of one worker: a load has 20,000 ports, and other files are open as well.
PER_PROCESS = min(15_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] * 3 // 4)
ROOM = HELLO.replace("%R", "0")
FIRST_WORDS = 3000  # a second: messages by which each of many rooms is woken before it is measured
PATIENCE = 0.02  # seconds, `server.max_batch_delay` of the second line of the curves over the rate


class TooMany(Exception):
    """This machine cannot hold what a point needs."""


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
    _must_hold(scenario.connections, 1)  # the baseline and the kernel do not spread them evenly
    figure = run.measure_one(scenario, server, runs=1, seconds=seconds)
    if figure.faults:
        raise RuntimeError(f"{figure.faults}")
    return figure.median


def rooms(x: int, seconds: float, *, per_load: int = PER_PROCESS) -> float:
    """So many rooms of two members, 64 messages in flight over all; each has been spoken in before it is measured."""
    _must_hold(2 * x, 2)
    on, beside = run.cores()
    with servers.chatmaster(2, on) as server, _connected(server, beside, 2 * x, HELLO, 2, per_load=per_load) as loads:
        for load in loads:
            asked = {**_asked(server, seconds), "window": 64 // len(loads), "senders": x, "warmup": seconds / 4}
            asked["warmup"] = max(asked["warmup"], x / FIRST_WORDS)
            load.begin("send", **asked)
        results = [load.result() for load in loads]
    for result in results:
        _must_be_whole(result)
    cpu = statistics.mean(result["cpu"] for result in results)  # each has measured the whole server
    return _cost({"cpu": cpu, "deliveries": sum(result["deliveries"] for result in results)})


def _history(x: int, seconds: float) -> float:
    """A room of 100 that has x messages already, and keeps as many."""
    on, beside = run.cores()
    scenario = msgspec.structs.replace(BASE, connections=100)
    with servers.chatmaster(1, on, {"store.history_size": x}) as server, Loader(server.port, beside) as load:
        run.fill(load, scenario)
        load.ask("send", message=SAY, padding=PADDING, rate=5000, senders=10, seconds=1.1 * x / 5000, drain=60.0)
        return _cost(_must_be_whole(run.keep_full(load, scenario, server, seconds)))


def _idle(x: int, seconds: float) -> float:
    """A busy room of 1,000 beside x connections that say nothing, always over four workers."""
    hello = '{"type":"hello","rooms":[{"room":"idle%I"}]}'
    with _crowd(x, 4, hello=hello) as (server, beside), Loader(server.port, beside) as load:
        run.fill(load, BASE)
        spent = _idle_cpu(server, seconds)
        result = _must_be_whole(run.keep_full(load, BASE, server, seconds))
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
        return max(cpu, 0.0) * 1e6 / count


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
            asked = _asked(server, max(seconds, 20 * members / x))
            result = _must_be_whole(load.ask("send", **asked, rate=x / members, senders=10, warmup=1.0))
        result["cpu"] -= spent * result["seconds"]
        return float(result[wanted]) if wanted != "cpu" else _cost(result)

    return cost


def _asked(server: Server, seconds: float) -> dict[str, Any]:
    """Of a load that says something and looks what it costs."""
    message = {"message": SAY, "padding": PADDING, "seconds": seconds}
    return {**message, "cpu_of": server.pid, "without": server.without}


def _must_be_whole(result: dict[str, Any]) -> dict[str, Any]:
    if result["delivered"] != result["expected"] or result["dropped"]:
        lost = f"{result['dropped']} connections lost"
        raise RuntimeError(f"{result['delivered']} deliveries instead of {result['expected']}, {lost}")
    return result


def _must_hold(connections: int, workers: int) -> None:
    if connections > workers * PER_PROCESS:
        raise TooMany(f"{connections:,} connections, {workers} x {PER_PROCESS:,} fit")


def _idle_cpu(server: Server, seconds: float) -> float:
    """Seconds of CPU a second while nobody speaks."""
    before, began = measure.cpu_seconds(server.pid, server.without), time.monotonic()
    time.sleep(seconds)
    return (measure.cpu_seconds(server.pid, server.without) - before) / (time.monotonic() - began)


def _cost(result: dict[str, Any]) -> float:
    """µs a delivery; 0 where it is less than the idle server's own CPU varies."""
    return max(float(result["cpu"]), 0.0) * 1e6 / float(result["deliveries"])


@contextmanager
def _crowd(count: int, workers: int, *, hello: str) -> Iterator[tuple[Server, set[int]]]:
    """A server with so many connections; others may have the numbers below 10,000."""
    _must_hold(count, workers)
    on, beside = run.cores()
    with servers.chatmaster(workers, on) as server, _connected(server, beside, count, hello, 1, begin=10_000):
        yield server, beside


@contextmanager
def _connected(
    server: Server,
    beside: set[int],
    count: int,
    hello: str,
    each_room: int,
    *,
    begin: int = 0,
    per_load: int = PER_PROCESS,
) -> Iterator[list[Loader]]:
    """So many connections over as many loads as they need, each with rooms of its own; all joining has been told."""
    with ExitStack() as stack:
        loads: list[Loader] = []
        for first, number in shares(count, per_load, each_room):
            loads.append(stack.enter_context(Loader(server.port, beside)))
            opening = loads[-1].ask("open", count=number, hello=hello, each_room=each_room, first=begin + first)
            if opening["opened"] < number:
                raise RuntimeError(f"only {opening['opened']} of {number} could connect")
        for load in loads:
            load.ask("settle")
        yield loads


def shares(count: int, per_load: int, each_room: int) -> list[tuple[int, int]]:
    """The first number and how many of each load's: about as many for each, and whole rooms."""
    loads = -(-count // per_load)
    ends = [count // each_room * part // loads * each_room for part in range(loads)] + [count]
    return [(first, end - first) for first, end in itertools.pairwise(ends)]


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
    Curve("rooms", "Rooms of 2 members, 2 workers", "rooms", (1, 10, 100, 1000, 10_000), {OURS: rooms}),
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


def draw(curve: Curve, directory: Path, *, runs: int, seconds: float) -> dict[str, list[svg.Point]]:
    """Measure one curve, each point several times, and write its plot: medians, and the range of the runs."""
    lines: dict[str, list[svg.Point]] = {}
    told = [f"median and range of {runs} runs" if runs > 1 else "one run"]
    for name, cost in curve.lines.items():
        lines[name] = []
        for x in curve.values:
            try:
                values = [_measured(f"{curve.name}, {name}, {x} {curve.x}", cost, x, seconds) for _ in range(runs)]
            except TooMany as error:
                told.append(f"{name} ends before {x:,} {curve.x}: {error}")
                click.echo(told[-1], err=True)
                break
            if min(values) <= 0:
                told.append(f"{name} at {x:,} {curve.x}: too little to be measured")
                continue
            lines[name].append(svg.Point(float(x), statistics.median(values), min(values), max(values)))
    if not any(lines.values()):
        return lines
    directory.mkdir(parents=True, exist_ok=True)
    text = svg.plot(curve.title, subtitle="; ".join(told), x=curve.x, y=curve.y, lines=lines)
    (directory / f"{curve.name}.svg").write_text(text)
    return lines


def _measured(what: str, cost: Callable[[int, float], float], x: int, seconds: float) -> float:
    began = time.monotonic()
    value = cost(x, seconds)
    click.echo(f"{what}: {value:.3f} ({time.monotonic() - began:.0f} s)", err=True)
    return value
