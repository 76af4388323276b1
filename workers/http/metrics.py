"""The metrics of the whole machine as Prometheus text (exposition format 0.0.4), from the shared counters.

Any worker can render all rows, so it does not matter which one a scrape reaches. Counters and histograms are
sums over all workers and over those that have ended, so they never go down. Gauges are told by slot, and by
generation, since two processes serve one slot for a while during a reload.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from chatmaster.stats import BUCKET_BOUNDS, HISTOGRAM_BUCKETS, RETIRED_ROW, Field, StatsTable, WorkerStats

NANO: Final = 1e-9
_AGES: Final = (Field.HEARTBEAT, Field.STORE_PROBE)  # kept as a time of the monotonic clock: shown as an age


@dataclass(frozen=True, slots=True)
class Metric:
    """One field of a row under its public name; `scale` turns the field's unit into the metric's."""

    field: Field
    name: str
    kind: str  # counter, gauge or histogram
    help: str
    scale: float = 1.0


def _counter(field: Field, name: str, help: str) -> Metric:
    return Metric(field, f"chatmaster_{name}_total", "counter", help)


def _gauge(field: Field, name: str, help: str, scale: float = 1.0) -> Metric:
    return Metric(field, f"chatmaster_{name}", "gauge", help, scale)


def _histogram(field: Field, name: str, help: str) -> Metric:
    return Metric(field, f"chatmaster_{name}", "histogram", help)


METRICS: Final = (
    _gauge(Field.READY, "worker_ready", "1 where the worker accepts and its store connection has answered."),
    _gauge(Field.GENERATION, "worker_generation", "Generation of the worker; grows with each reload."),
    _gauge(Field.STARTED, "worker_start_time_seconds", "Unix time of the worker's start.", NANO),
    _gauge(Field.STATE, "worker_state", "0 starting, 1 ready, 2 draining, 3 stopped, 4 hung."),
    _gauge(Field.RESTARTS, "worker_restarts", "Times that a process of this slot ended unplanned."),
    _gauge(Field.MEMORY, "worker_memory_bytes", "Resident memory of the worker."),
    _gauge(Field.HEARTBEAT, "heartbeat_age_seconds", "Since the worker's loop last gave a sign of life.", NANO),
    _gauge(Field.CONNECTIONS, "connections", "Open WebSocket connections."),
    _gauge(Field.ROOMS, "rooms", "Rooms with members on the worker."),
    _gauge(Field.TASKS, "tasks", "Tasks of the worker's event loop."),
    _gauge(Field.LAGGING, "lagging_members", "Members that read on from the log because they read slowly."),
    _gauge(Field.LOOP_LAG, "loop_lag_seconds", "How late the worker's last heartbeat was.", NANO),
    _gauge(Field.STORE_STATE, "store_state", "The store as the worker sees it: 0 starting, 1 ready, 2 away."),
    _gauge(Field.STORE_PROBE_RTT, "store_probe_seconds", "Last full round trip through the store.", NANO),
    _gauge(Field.STORE_PROBE, "store_probe_age_seconds", "Since the last full round trip through the store.", NANO),
    _counter(Field.CONNECTIONS_TOTAL, "connections_accepted", "WebSocket connections accepted."),
    _counter(Field.MESSAGES_IN, "messages_received", "Messages received from clients."),
    _counter(Field.MESSAGES_OUT, "messages_published", "Messages of clients that the store has acknowledged."),
    _counter(Field.DELIVERIES, "deliveries", "Messages written to members of rooms."),
    _counter(Field.BYTES_IN, "received_bytes", "Bytes received from clients."),
    _counter(Field.BYTES_OUT, "sent_bytes", "Bytes written to clients."),
    _counter(Field.DROPPED, "dropped", "Messages that a reader was told it cannot have."),
    _counter(Field.GAPS, "gaps", "Gaps in a room's log that were found."),
    _counter(Field.RESETS, "resets", "Logs that were found reset."),
    _counter(Field.CATCH_UPS, "catch_ups", "Times that missed messages were read from the log."),
    _counter(Field.CUT, "readers_cut", "Readers closed because they did not catch up (4008)."),
    _counter(Field.RATE_LIMITED, "rate_limited", "Requests refused because they came too fast."),
    _counter(Field.PROTOCOL_ERRORS, "protocol_errors", "Connections closed for a breach of the protocol."),
    _counter(Field.CALLBACK_ERRORS, "callback_errors", "Exceptions of the application's callbacks."),
    _counter(Field.HANDSHAKE_FAILURES, "handshake_failures", "Handshakes refused or not finished in time."),
    _counter(Field.HANDED_OVER, "handed_over", "Connections passed on to another process."),
    _counter(Field.HAND_OVER_FAILED, "hand_over_failures", "Connections that could not be passed on."),
    _counter(
        Field.HAND_OVERS_ABORTED, "hand_overs_aborted", "Batches of connections that were asked back on their way."
    ),
    _counter(Field.REPLACED_DEAF, "workers_deaf", "Workers replaced because they heard nothing from the store."),
    _counter(Field.HUNG, "workers_hung", "Workers killed because their loop gave no sign of life."),
    _counter(Field.SILENT, "workers_silent", "Workers killed because they gave a sibling no answer in a hand-over."),
    _counter(Field.DEAF, "store_reconnects", "Times the subscription was found deaf and made again."),
    _counter(Field.LOGS_DROPPED, "log_lines_dropped", "Log lines dropped because the log could not be written."),
    _counter(Field.PUBLISH_FAILURES, "publish_failures", "Messages that the store did not acknowledge."),
    _counter(Field.ACCEPT_PAUSES, "accept_pauses", "Times accepting paused for lack of descriptors."),
    _histogram(Field.DELIVERY_LAG, "delivery_lag_seconds", "From a message's time in the store to its last write."),
    _histogram(Field.PUBLISH_LATENCY, "publish_latency_seconds", "From a publish to the store's answer."),
    _histogram(Field.LOOP_LAG_HISTOGRAM, "loop_lag_distribution_seconds", "How late heartbeats were."),
)


def render(table: StatsTable, *, monotonic: Callable[[], int] = time.monotonic_ns) -> str:
    """The text for the whole machine."""
    rows = table.rows()
    everything = [*(row for row in rows if row.slot != RETIRED_ROW), table.row(RETIRED_ROW)]
    lines: list[str] = []
    for metric in METRICS:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        if metric.kind == "gauge":
            lines += [_gauge_sample(metric, row, monotonic()) for row in rows]
        elif metric.kind == "counter":
            lines.append(f"{metric.name} {_sum(everything, metric.field)}")
        else:
            lines += _histogram_samples(metric, everything)
    return "\n".join((*lines, ""))


def _gauge_sample(metric: Metric, row: WorkerStats, now: int) -> str:
    value = row[metric.field]
    if metric.field in _AGES:
        value = max(0, now - value) if value else now
    number = value if metric.scale == 1.0 else f"{value * metric.scale:.15g}"
    return f'{metric.name}{{slot="{row[Field.SLOT]}",generation="{row[Field.GENERATION]}"}} {number}'


def _sum(rows: list[WorkerStats], field: int) -> int:
    return sum(row[field] for row in rows)


def _histogram_samples(metric: Metric, rows: list[WorkerStats]) -> list[str]:
    """Rows count each bucket by itself, Prometheus wants each with all below it."""
    counts = accumulate(_sum(rows, metric.field + bucket) for bucket in range(HISTOGRAM_BUCKETS))
    samples = list(zip((*map(str, BUCKET_BOUNDS), "+Inf"), counts, strict=True))
    total = _sum(rows, metric.field + HISTOGRAM_BUCKETS) * NANO
    return [
        *(f'{metric.name}_bucket{{le="{bound}"}} {count}' for bound, count in samples),
        f"{metric.name}_sum {total:.15g}",
        f"{metric.name}_count {samples[-1][1]}",
    ]
