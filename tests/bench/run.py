"""Runs scenarios: starts the server on its core and the load on another, several times, and keeps every figure.

The first core that this process may use is the server's (its store is there, too, and left out of the figures), the
others are the load's. With one core the two share it, and the report says so.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from msgspec import Struct, field

from tests.bench import measure, peers, servers
from tests.bench.dialects import CHAT, Dialect
from tests.bench.loaders import Loader
from tests.bench.scenarios import PADDING, Scenario
from tests.bench.servers import Server

Start = Callable[..., AbstractContextManager[Server]]
SERVERS: dict[str, Start] = {
    "chatmaster": servers.chatmaster,
    "bound": peers.bound,
    "floor": servers.floor,
    "baseline": servers.baseline,
    "centrifugo": peers.centrifugo,
}
AT_OUR_RATE = ("bound", "floor")  # which say little of a rate: they have nothing to do but to write
LEAST_OF_AGES = 10.0  # seconds: a p99 of fewer messages is that of one bad moment
PROBES = 20  # connections whose latency is looked at, spread over the order of joining


class Figure(Struct):
    """A scenario's result for one server: one value a run, and what else was seen."""

    values: list[float] = field(default_factory=list)
    details: list[dict[str, float]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values) if self.values else float("nan")

    @property
    def spread(self) -> float:
        """Half of the range between the lowest and the highest, as a part of the median."""
        return (max(self.values) - min(self.values)) / 2 / self.median if self.values and self.median else 0.0

    def add(self, value: float, **details: float) -> None:
        self.values.append(round(value, 4))
        self.details.append({name: round(number, 4) for name, number in details.items()})


def cores() -> tuple[set[int], set[int]]:
    """The server's and the load's."""
    mine = sorted(os.sched_getaffinity(0))
    return {mine[0]}, set(mine[1:] or mine)


def as_loaded(scenario: Scenario, ours: Figure) -> Scenario:
    """The scenario at the rate that ours had last, where that was half of what saturates it."""
    if scenario.kind != "latency" or scenario.rate:
        return scenario
    return msgspec.structs.replace(scenario, rate=ours.details[-1]["rate"])


def measure_all(scenario: Scenario, names: Sequence[str], *, runs: int, seconds: float) -> dict[str, Figure]:
    """All runs of a scenario: each measures every server in turn, so that what else the machine does meets all alike.

    `names` begins with ours where a server gets the rate that ours had.
    """
    figures = {name: Figure() for name in names}
    for _ in range(runs):
        for name, figure in figures.items():
            load = as_loaded(scenario, figures["chatmaster"]) if name in AT_OUR_RATE else scenario
            _measure(load, name, seconds, figure)
    return figures


def measure_one(scenario: Scenario, server: str, *, runs: int, seconds: float) -> Figure:
    """All runs of a scenario with one server."""
    figure = Figure()
    for _ in range(runs):
        _measure(scenario, server, seconds, figure)
    return figure


def _measure(scenario: Scenario, name: str, seconds: float, figure: Figure) -> None:
    """One run, against a server that was just started."""
    on, beside = cores()
    with SERVERS[name](scenario.workers, on, {"store.history_size": scenario.history_size}) as running:
        _KINDS[scenario.kind](scenario, running, beside, seconds, figure)


def _cpu(scenario: Scenario, server: Server, beside: set[int], seconds: float, figure: Figure) -> None:
    with Loader(server.port, beside) as load:
        fill(load, scenario, server.dialect)
        result = keep_full(load, scenario, server, seconds)
    _judge(result, figure)
    if not result["deliveries"]:
        figure.faults.append("nothing was delivered while it was measured")
    else:
        figure.add(result["cpu"] * 1e6 / result["deliveries"], **_details(result))


def keep_full(load: Loader, scenario: Scenario, server: Server, seconds: float) -> dict[str, Any]:
    return load.ask(
        "send",
        message=server.dialect.say_once if scenario.keys else server.dialect.say,
        padding=scenario.padding,
        window=scenario.window,
        senders=min(scenario.senders, scenario.connections),
        seconds=seconds,
        warmup=seconds / 4,
        cpu_of=server.pid,
        without=server.without,
        sample_mask=15,
    )


def _memory(scenario: Scenario, server: Server, beside: set[int], seconds: float, figure: Figure) -> None:
    before = measure.memory(server.pid, server.without)
    with Loader(server.port, beside) as load:
        opened = fill(load, scenario, server.dialect)
        after = measure.memory(server.pid, server.without)
    figure.add((after - before) / 1024 / opened, connections=opened)


def _connects(scenario: Scenario, server: Server, beside: set[int], seconds: float, figure: Figure) -> None:
    how = opening_of(server.dialect) if scenario.hello else {"path": server.dialect.path}
    with Loader(server.port, beside) as load:
        load.ask("open", count=200, **how)  # warm-up
        load.ask("settle")
        before = measure.cpu_seconds(server.pid, server.without)
        opening = load.ask("open", count=scenario.connections, first=200, **how)
        load.ask("settle")  # what the store is told of a newcomer may be written a moment later
        cpu = measure.cpu_seconds(server.pid, server.without) - before
    figure.add(scenario.connections / cpu, wall_per_s=scenario.connections / opening["seconds"])
    if opening["failed"]:
        figure.faults.append(f"{opening['failed']} connects failed")


def _latency(scenario: Scenario, server: Server, beside: set[int], seconds: float, figure: Figure) -> None:
    """Ages at a few connections in a process of their own, which does not wait for the crowd's to be read."""
    how = opening_of(server.dialect)
    with Loader(server.port, beside, patient=True) as crowd, Loader(server.port, beside) as probe:
        for _ in range(PROBES):
            crowd.ask("open", count=(scenario.connections - PROBES) // PROBES, **how)
            probe.ask("open", count=1, **how)
        crowd.ask("settle")
        members = crowd.ask("count")["members"] + probe.ask("count")["members"]
        rate = scenario.rate or _saturating(crowd, scenario, server, members) / 2
        crowd.ask("reset", sample_mask=2**30)
        result = probe.ask(
            "send",
            message=server.dialect.say,
            padding=PADDING,
            rate=rate,
            senders=PROBES,
            seconds=max(seconds, LEAST_OF_AGES),
            warmup=1.0,
        )
        crowd.ask("settle", quiet=0.3)
        got = crowd.ask("count")
    if got["delivered"] != result["sent"] * (members - PROBES):
        figure.faults.append(f"{got['delivered']} deliveries instead of {result['sent'] * (members - PROBES)}")
    figure.add(result["p99_ms"], p50_ms=result["p50_ms"], max_ms=result["max_ms"], rate=rate)


def _lag(scenario: Scenario, server: Server, beside: set[int], seconds: float, figure: Figure) -> None:
    """How late a worker's heartbeat came at worst, by the server's own word."""
    with Loader(server.port, beside) as load:
        fill(load, scenario, server.dialect)
        load.ask("talk", message=server.dialect.say, senders=scenario.senders, rate=scenario.rate, padding=PADDING)
        worst, end = 0.0, time.monotonic() + seconds
        while time.monotonic() < end:
            rows = server.workers()
            worst = max([worst, *(row["loop_lag_ms"] or 0.0 for row in rows)])
            time.sleep(0.1)
        sent = load.ask("hush")["sent"]
        load.ask("settle", timeout=60.0)
        got = load.ask("count")
    if got["delivered"] != sent * scenario.connections:
        figure.faults.append(f"{got['delivered']} deliveries instead of {sent * scenario.connections}")
    figure.add(worst, sent=sent)


def _saturating(crowd: Loader, scenario: Scenario, server: Server, members: int) -> float:
    """Messages a second that go through when more always wait."""
    result = crowd.ask(
        "send",
        message=server.dialect.say,
        padding=PADDING,
        window=16,
        senders=10,
        seconds=2.0,
        warmup=1.0,
        sample_mask=2**30,
    )
    crowd.ask("settle", quiet=0.3)
    return float(result["deliveries"] / result["seconds"] / (members - PROBES))


def opening_of(dialect: Dialect) -> dict[str, str]:
    """What a load is told of a server's opening."""
    return {"path": dialect.path, "hello": dialect.hello, "welcome": dialect.welcome}


def fill(load: Loader, scenario: Scenario, dialect: Dialect = CHAT) -> int:
    """All connections, each in its room; what the joining made the server say has been said."""
    opening = load.ask(
        "open",
        count=scenario.connections,
        **opening_of(dialect),
        each_room=scenario.each_room,
        compressed=scenario.compressed,
    )
    if opening["opened"] < scenario.connections:
        raise RuntimeError(f"{scenario.name}: only {opening['opened']} of {scenario.connections} could connect")
    load.ask("settle")
    return int(opening["opened"])


def _judge(result: dict[str, Any], figure: Figure) -> None:
    if result["delivered"] != result["expected"]:
        figure.faults.append(f"{result['delivered']} deliveries instead of {result['expected']}")
    if result["dropped"]:
        figure.faults.append(f"{result['dropped']} connections lost")


def _details(result: dict[str, Any]) -> dict[str, float]:
    rates: dict[str, float] = {
        "deliveries_per_s": result["deliveries"] / result["seconds"],
        "server_cpu": result["cpu"],
    }
    ages: dict[str, float] = {name: result[name] for name in ("p50_ms", "p99_ms") if name in result}
    together = result["deliveries"] / max(result["reads"], 1)  # messages that the load got by one read
    return {**rates, "together": together, "load_cpu": result["load_cpu"], **ages}


_KINDS: dict[str, Callable[[Scenario, Server, set[int], float, Figure], None]] = {
    "cpu": _cpu,
    "memory": _memory,
    "connects": _connects,
    "latency": _latency,
    "lag": _lag,
}
