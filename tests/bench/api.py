"""`python -m tests.bench.api`: what calls by HTTP cost on one core beside idle sockets, and what they cost deliveries.

One worker, pinned with its store, has the idle sockets. A room of members is talked to at a steady rate. Measured are
the talk alone, the calls alone, and both, for the same seconds. The worker's CPU for a delivery while calls come is
what both take less what the calls take alone. That and the deliveries' latency are told as ratios to the talk alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import click

from tests.bench import measure, run, servers
from tests.bench.dialects import HELLO, SAY
from tests.bench.loaders import Loader
from tests.bench.servers import LIFTED, Server
from tests.support.server import ROOT, Chatmaster

BODY = '{"room": "api", "text": "lunch is ready"}'
IDLE = '{"type":"hello","rooms":[{"room":"idle%I"}]}'
PADDING = 100
MARGIN = 2.0  # seconds that the calls go on after what is measured beside them


@click.command()
@click.option("--idle", default=10_000, show_default=True, help="sockets that say nothing")
@click.option("--members", default=100, show_default=True, help="of the room that is talked to")
@click.option("--talk", default=50.0, show_default=True, help="messages a second to that room")
@click.option("--rate", default=1000.0, show_default=True, help="calls a second")
@click.option("--seconds", default=6.0, show_default=True, help="of each of the three measurements")
@click.option("--verb", default="say", show_default=True)
@click.option("--body", default=BODY, show_default=True, help="the request")
def main(idle: int, members: int, talk: float, rate: float, seconds: float, verb: str, body: str) -> None:
    """Measure calls by HTTP beside idle sockets and deliveries."""
    on, beside = run.cores()
    with _server(on) as (server, key), Loader(server.port, beside) as crowd, Loader(server.port, beside) as room:
        crowd.ask("open", count=idle, hello=IDLE)
        room.ask("open", count=members, hello=HELLO)
        for one in (crowd, room):
            one.ask("settle")
        calls = _Calls(server.port, key, verb, body, rate, beside)
        alone = _measured(server, room, talk, seconds, None)
        only = _measured(server, room, 0.0, seconds, calls)
        both = _measured(server, room, talk, seconds, calls)
    click.echo(json.dumps({"machine": measure.machine(), "idle": idle, "talk": alone, "calls": only, "both": both}))
    for line in _told(alone, only, both, rate):
        click.echo(line)


class _Calls:
    """The process that calls."""

    def __init__(self, port: int, key: str, verb: str, body: str, rate: float, cores: Collection[int]) -> None:
        self._words = [str(port), key, verb, body, str(rate)]
        self._cores = cores

    def start(self, seconds: float) -> subprocess.Popen[str]:
        """Call for so many seconds."""
        words = [sys.executable, "-m", "tests.bench.api_load", *self._words, str(seconds)]
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(process.pid, self._cores)
        return process


@contextmanager
def _server(cores: Collection[int]) -> Iterator[tuple[Server, str]]:
    """One worker with its store on these cores, and a key without a limit."""
    with servers.pinned(cores), Chatmaster(workers=1, settings=dict(LIFTED)) as running:
        made = running.ctl("apikey", "add", "bench", "--rate", "0")
        yield Server(running.port, running.pid, (running.store_pid,)), made.stdout.strip()


def _measured(server: Server, room: Loader, talk: float, seconds: float, calls: _Calls | None) -> dict[str, Any]:
    """CPU of the worker in s/s, deliveries with their latency in ms, and the calls', in the same seconds."""
    process = calls.start(seconds + MARGIN) if calls is not None else None
    try:
        return _beside(process, server, room, talk, seconds)
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(10)


def _beside(
    process: subprocess.Popen[str] | None, server: Server, room: Loader, talk: float, seconds: float
) -> dict[str, Any]:
    if process is not None:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
    if talk:
        found = room.ask(
            "send",
            message=SAY,
            padding=PADDING,
            rate=talk,
            senders=1,
            seconds=seconds,
            cpu_of=server.pid,
            without=server.without,
        )
    else:
        before, begun = measure.cpu_seconds(server.pid, server.without), time.monotonic()
        time.sleep(seconds)
        cpu, took = measure.cpu_seconds(server.pid, server.without) - before, time.monotonic() - begun
        found = {"cpu": cpu, "seconds": took, "deliveries": 0}
    if process is not None:
        out, _ = process.communicate(timeout=seconds + 60)
        found["http"] = json.loads(out)
    room.ask("settle", quiet=0.3)
    return found


def _told(alone: dict[str, Any], only: dict[str, Any], both: dict[str, Any], rate: float) -> list[str]:
    share = only["cpu"] / only["seconds"]
    per = [
        (one["cpu"] - less * one["seconds"]) * 1e6 / max(one["deliveries"], 1)
        for one, less in ((alone, 0.0), (both, share))
    ]
    http, meanwhile = only["http"], both["http"]
    return [
        f"calls alone: {http['rate']:.0f}/s, p50 {http['p50_ms']:.2f} ms, p99 {http['p99_ms']:.2f} ms, "
        f"{share:.0%} of the core for the worker, {share * 1e6 / rate:.0f} us each, {http['failed']} failed",
        f"calls beside deliveries: {meanwhile['rate']:.0f}/s, p99 {meanwhile['p99_ms']:.2f} ms "
        f"({meanwhile['p99_ms'] / http['p99_ms']:.2f} of alone), {meanwhile['failed']} failed",
        f"a delivery: {per[0]:.1f} us of CPU alone, {per[1]:.1f} beside calls: {per[1] / per[0]:.2f} of alone",
        f"its latency: p99 {alone['p99_ms']:.2f} ms alone, {both['p99_ms']:.2f} ms beside calls: "
        f"{both['p99_ms'] / alone['p99_ms']:.2f} of alone; {both['expected'] - both['delivered']} lost",
    ]


if __name__ == "__main__":
    main()
