"""What `chatctl status --json` says and what /metrics says is the same, on a server to which something has happened."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chatmaster.stats import STATES
from tests.support.server import Chatmaster
from tests.support.wait import until
from tests.support.ws import ChatSocket

PROGRAM = Path(__file__).parents[1] / "chaos" / "program.py"
DEAF = Path(__file__).parent / "programs" / "deaf.py"
TOTALS = {
    "connections": "connections",
    "memory": "worker_memory_bytes",
    "users": "users",
    "descriptors": "worker_open_descriptors",
    "restarts": "worker_restarts",
    "callback_errors": "callback_errors",
    "throttled": "throttled",
    "loop_blocked": "loop_blocked",
    "handshakes_refused": "handshakes_refused",
    "publish_failures": "publish_failures",
    "accept_pauses": "accept_pauses",
    "log_lines_dropped": "log_lines_dropped",
    "messages_in": "messages_received",
    "messages_out": "messages_published",
    "deliveries": "deliveries",
    "dropped": "dropped",
    "handed_over": "handed_over",
    "hand_over_failed": "hand_over_failures",
    "hand_overs_aborted": "hand_overs_aborted",
    "deaf": "workers_deaf",
    "hung": "workers_hung",
    "silent": "workers_silent",
}
# The number of rows that are ready, what a counter's rate is, and what /metrics has by reason.
DERIVED = {"workers", "in_rate", "out_rate", "cpu", "refused"}

Metrics = dict[str, dict[int | str | None, float]]


def metrics(server: Chatmaster) -> Metrics:
    """Values by name without the prefix, then by slot or another label; None for what is a sum."""
    with urllib.request.urlopen(f"{server.http}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found: Metrics = {}
    for family in text_string_to_metric_families(text):
        values = found.setdefault(family.name.removeprefix("chatmaster_"), {})
        for sample in family.samples:
            labels = sample.labels
            values[int(labels["slot"]) if "slot" in labels else next(iter(labels.values()), None)] = sample.value
    return found


def differences(server: Chatmaster) -> list[str]:
    """Every figure where the two do not say the same."""
    told, shown = server.ask("status"), metrics(server)
    wrong = []
    for name, metric in TOTALS.items():
        figure = sum(shown[metric].values())
        if abs(told["totals"][name] - figure) > (2**20 if name == "memory" else 0):
            wrong.append(f"{name}: status {told['totals'][name]}, metrics {figure}")
    for row in told["workers"]:
        wrong += _row_differences(row, shown)
    return wrong


def _row_differences(row: dict[str, Any], shown: Metrics) -> list[str]:
    place = row["slot"]
    pairs = {
        "state": (STATES.index(row["state"]), shown["worker_state"].get(place)),
        "connections": (row["connections"], shown["connections"].get(place)),
        "rooms": (row["rooms"], shown["rooms"].get(place)),
    }
    return [f"{place} {name}: {pair}" for name, pair in pairs.items() if pair[0] != pair[1]]


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_status_and_metrics_say_the_same(chatmaster: Callable[..., Chatmaster]) -> None:
    server = await asyncio.to_thread(chatmaster, str(PROGRAM), workers=2, settings={"master.hang_timeout": 1.5})
    clients = [await ChatSocket.enter(server.url, "lobby") for _ in range(10)]
    for client in clients:
        assert (await client.ask(type="say", room="lobby", text="hello"))["type"] == "ack"
    assert (await asyncio.to_thread(server.ctl, "reload")).returncode == 0
    await asyncio.to_thread(_replaced_after_signal, server)
    await asyncio.to_thread(until, lambda: not differences(server), 30.0, "status and metrics agree")
    totals = server.ask("status")["totals"]
    assert set(totals) == set(TOTALS) | DERIVED
    assert (totals["messages_out"], totals["handed_over"], totals["hung"]) == (10, 10, 1)
    for client in clients:
        client.abort()


def _replaced_after_signal(server: Chatmaster) -> None:
    """SIGUSR2 does to a worker what its program says."""
    victim = server.pids[0]
    os.kill(victim, signal.SIGUSR2)
    until(lambda: victim not in server.pids and server.states() == ["ready", "ready"], 30.0, "it is replaced")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_worker_that_hears_nothing_is_counted(chatmaster: Callable[..., Chatmaster]) -> None:
    server = chatmaster(str(DEAF), workers=2)
    _replaced_after_signal(server)
    assert server.ask("status")["totals"]["deaf"] == 1
    until(lambda: not differences(server), 30.0, "status and metrics agree")
