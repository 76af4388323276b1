"""How the cost grows: CPU per delivery over members, rooms, workers, history, idle connections, churn and rate.

Each curve is a few variations of one scenario; nothing may grow worse than linearly, and per delivery nothing much
should grow at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.bench import measure, run, servers, svg
from tests.bench.loaders import Loader
from tests.bench.scenarios import HELLO, PADDING, SAY, US, Scenario

BASE = Scenario(name="curve", title="", unit=US, at_most=0, reach=0, window=16)
PER_PROCESS = 15_000  # connections of one load, and of one worker: a process may hold 20,000 descriptors


class Curve(Struct, frozen=True):
    """A plot: values of x, and the measurement for each."""

    name: str
    title: str
    x: str
    values: tuple[int, ...]
    cost: Callable[[int, float], float]
    y: str = US


def _varied(**change: int) -> Callable[[int, float], float]:
    """A scenario where the named members take the value of x, or another fixed one."""

    def cost(x: int, seconds: float) -> float:
        fixed = {name: x if value < 0 else value for name, value in change.items()}
        scenario = msgspec.structs.replace(BASE, **fixed)
        return run.measure_one(scenario, "chatmaster", runs=1, seconds=seconds).median

    return cost


def _rooms(x: int, seconds: float) -> float:
    """So many rooms of ten members, 200 messages in flight, or as many as there are senders."""
    scenario = msgspec.structs.replace(
        BASE, connections=10 * x, each_room=10, senders=min(x, 100), window=min(200, 4 * x), workers=2
    )
    return run.measure_one(scenario, "chatmaster", runs=1, seconds=seconds).median


def _idle(x: int, seconds: float) -> float:
    """A busy room of 1,000 beside x connections that say nothing, over as many workers and loads as they need."""
    workers = max(2, -(-x // PER_PROCESS) + 1)
    hello = '{"type":"hello","rooms":[{"room":"idle%I"}]}'
    with _crowd(x, workers, hello=hello) as (server, beside), Loader(server.port, beside) as load:
        run.fill(load, BASE)
        result = run.keep_full(load, BASE, server, seconds)
        return float(result["cpu"] * 1e6 / result["deliveries"])


def _churn(x: int, seconds: float) -> float:
    """CPU (µs) of one join and leave of a room that has x members."""
    with _crowd(x, 2, hello=HELLO.replace("%R", "0")) as (server, beside), Loader(server.port, beside) as load:
        before, count = measure.cpu_seconds(server.pid, server.without), max(int(200 * seconds), 1)
        load.ask("open", count=count, hello=HELLO.replace("%R", "0"), first=40_000)
        load.ask("close")
        load.ask("settle", quiet=4.0)  # a leave is told after three seconds
        return (measure.cpu_seconds(server.pid, server.without) - before) * 1e6 / count


def _rate(x: int, seconds: float) -> float:
    """CPU of a delivery when x of them a second are asked for, in a room of 100."""
    on, beside = run.cores()
    scenario = msgspec.structs.replace(BASE, connections=100)
    with servers.chatmaster(1, on) as server, Loader(server.port, beside) as load:
        run.fill(load, scenario)
        result = load.ask(
            "send",
            message=SAY,
            padding=PADDING,
            rate=x / 100,
            senders=10,
            seconds=max(seconds, 2000 / x),
            warmup=1.0,
            cpu_of=server.pid,
            without=server.without,
        )
        return float(result["cpu"] * 1e6 / result["deliveries"])


@contextmanager
def _crowd(count: int, workers: int, *, hello: str) -> Iterator[tuple[servers.Server, set[int]]]:
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


CURVES: tuple[Curve, ...] = (
    Curve("members", "One room, 16 in flight", "members", (10, 100, 1000, 10_000), _varied(connections=-1)),
    Curve("rooms", "Rooms of 10 members, 2 workers", "rooms", (1, 10, 100, 1000), _rooms),
    Curve("workers", "Room of 1,000 over several workers", "workers", (1, 2, 4, 8), _varied(workers=-1)),
    Curve("history", "Room of 1,000", "messages kept", (10, 100, 1000, 10_000), _varied(history_size=-1)),
    Curve("idle", "Room of 1,000 beside idle connections", "idle connections", (100, 1000, 10_000, 40_000), _idle),
    Curve("churn", "Joining and leaving a room", "members", (10, 100, 1000, 5000), _churn, "µs CPU / join and leave"),
    Curve("rate", "Room of 100, by rate", "deliveries/s", (100, 1000, 10_000, 100_000, 500_000), _rate),
)


def draw(curve: Curve, directory: Path, *, seconds: float) -> list[tuple[float, float]]:
    """Measure one curve and write its plot; the points."""
    points = [(float(x), curve.cost(x, seconds)) for x in curve.values]
    text = svg.plot(curve.title, x=curve.x, y=curve.y, lines={"chatmaster": points})
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{curve.name}.svg").write_text(text)
    return points
