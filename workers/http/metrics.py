"""The metrics of the whole machine as Prometheus text (exposition format 0.0.4), from the shared counters.

Any worker can render all rows, so it does not matter which worker a scrape reaches. Counters and histograms are sums
over all workers, ended ones included, so they never go down. Gauges are labelled by slot only, so that a reload starts
no new series: while two processes serve one slot, gauges that can be added are added, and the others are those of the
process that serves.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from chatmaster.contract import VERSION
from chatmaster.stats import BUCKET_BOUNDS, HISTOGRAM_BUCKETS, REFUSALS, RETIRED_ROW, Field, StatsTable, WorkerStats

NANO: Final = 1e-9
_AGES: Final = (
    Field.HEARTBEAT,
    Field.STORE_PROBE,
    Field.ACCEPT_PAUSED,
)  # stored as a time of the monotonic clock, shown as an age


@dataclass(frozen=True, slots=True)
class Metric:
    """One field of a row under its public name; `scale` turns the field's unit into the metric's."""

    field: Field
    name: str
    kind: str  # counter, gauge or histogram
    help: str
    scale: float = 1.0
    adds: bool = False  # a gauge that is added over the processes of a slot


def _counter(field: Field, name: str, help: str) -> Metric:
    return Metric(field, f"chatmaster_{name}_total", "counter", help)


def _gauge(field: Field, name: str, help: str, scale: float = 1.0) -> Metric:
    return Metric(field, f"chatmaster_{name}", "gauge", help, scale)


def _amount(field: Field, name: str, help: str) -> Metric:
    return Metric(field, f"chatmaster_{name}", "gauge", help, adds=True)


def _histogram(field: Field, name: str, help: str) -> Metric:
    return Metric(field, f"chatmaster_{name}", "histogram", help)


METRICS: Final = (
    _gauge(Field.READY, "worker_ready", "1 where the worker accepts and its store connection has answered."),
    _gauge(Field.GENERATION, "worker_generation", "Generation of the worker; grows with each reload."),
    _gauge(Field.STARTED, "worker_start_time_seconds", "Unix time of the worker's start.", NANO),
    _gauge(Field.STATE, "worker_state", "0 starting, 1 ready, 2 draining, 3 stopped, 4 hung."),
    _amount(Field.MEMORY, "worker_memory_bytes", "Resident memory of the worker."),
    _amount(Field.DESCRIPTORS, "worker_open_descriptors", "Descriptors in use by the worker."),
    _gauge(Field.DESCRIPTORS_LIMIT, "worker_max_descriptors", "Descriptors that the worker may use."),
    _gauge(
        Field.ACCEPT_PAUSED,
        "accept_paused_seconds",
        "Since accepting paused for lack of descriptors; 0: it goes on.",
        NANO,
    ),
    _gauge(Field.HEARTBEAT, "heartbeat_age_seconds", "Since the worker's loop last gave a sign of life.", NANO),
    _amount(Field.CONNECTIONS, "connections", "Open WebSocket connections."),
    _amount(Field.USERS, "users", "Users with a connection to the worker."),
    _amount(Field.ROOMS, "rooms", "Rooms with members on the worker."),
    _amount(Field.TASKS, "tasks", "Tasks of the worker's event loop."),
    _amount(Field.LAGGING, "lagging_members", "Members that read on from the log because they read slowly."),
    _gauge(Field.LOOP_LAG, "loop_lag_seconds", "How late the worker's last heartbeat was.", NANO),
    _gauge(
        Field.STORE_STATE,
        "store_state",
        "The store, as seen here: 0 starting, 1 ready, 2 away, 3 refusing.",
    ),
    _gauge(Field.STORE_PROBE_RTT, "store_probe_seconds", "Last full round trip through the store.", NANO),
    _gauge(Field.STORE_PROBE, "store_probe_age_seconds", "Since the last full round trip through the store.", NANO),
    _counter(Field.ALL_RESTARTS, "worker_restarts", "Workers that ended unplanned."),
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
    _counter(Field.RATE_LIMITED, "throttled", "Requests that came too fast: refused, or made to wait."),
    _counter(Field.BLOCKED, "loop_blocked", "Times that something blocked a worker's loop for 0.3 s or longer."),
    _counter(Field.PROTOCOL_ERRORS, "protocol_errors", "Connections closed for a breach of the protocol."),
    _counter(Field.CALLBACK_ERRORS, "callback_errors", "Exceptions of the application's callbacks."),
    _counter(Field.HANDED_OVER, "handed_over", "Connections passed on to another process."),
    _counter(Field.HAND_OVER_FAILED, "hand_over_failures", "Connections that could not be passed on."),
    _counter(
        Field.HAND_OVERS_ABORTED, "hand_overs_aborted", "Batches of connections that were asked back on their way."
    ),
    _counter(Field.REPLACED_DEAF, "workers_deaf", "Workers replaced because they heard nothing from the store."),
    _counter(Field.HUNG, "workers_hung", "Workers killed because their loop gave no sign of life."),
    _counter(Field.SILENT, "workers_silent", "Workers killed because they gave a sibling no answer in a handover."),
    _counter(Field.DEAF, "store_reconnects", "Times the subscription was found deaf and made again."),
    _counter(Field.LOGS_DROPPED, "log_lines_dropped", "Log lines dropped because the log could not be written."),
    _counter(Field.PUBLISH_FAILURES, "publish_failures", "Messages that the store did not acknowledge."),
    _counter(Field.ACCEPT_PAUSES, "accept_pauses", "Times accepting paused for lack of descriptors."),
    _histogram(Field.DELIVERY_LAG, "delivery_lag_seconds", "From a message's time in the store to its last write."),
    _histogram(Field.PUBLISH_LATENCY, "publish_latency_seconds", "From a publish to the store's answer."),
    _histogram(Field.LOOP_LAG_HISTOGRAM, "loop_lag_distribution_seconds", "How late heartbeats were."),
)


# Of the master and the embedded store, which have no rows: (process, memory, CPU).
_OTHERS: Final = (("master", Field.MASTER_MEMORY, Field.MASTER_CPU), ("store", Field.STORE_MEMORY, Field.STORE_CPU))


def render(table: StatsTable, *, monotonic: Callable[[], int] = time.monotonic_ns) -> str:
    """The text for the whole machine."""
    rows = [row for row in table.rows() if row.slot != RETIRED_ROW]
    retired = table.row(RETIRED_ROW)
    everything = [*rows, retired]
    slots: dict[int, list[WorkerStats]] = {}
    for row in rows:
        slots.setdefault(row[Field.SLOT], []).append(row)
    lines = [*_build_info(), *_processes(everything, retired), *_refusals(everything)]
    for metric in METRICS:
        lines += _head(metric.name, metric.kind, metric.help)
        if metric.kind == "gauge":
            lines += [_gauge_sample(metric, slot, slots[slot], monotonic()) for slot in sorted(slots)]
        elif metric.kind == "counter":
            lines.append(f"{metric.name} {_sum(everything, metric.field)}")
        else:
            lines += _histogram_samples(metric, everything)
    return "\n".join((*lines, ""))


def _head(name: str, kind: str, help: str) -> list[str]:
    return [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]


def _build_info() -> list[str]:
    name = "chatmaster_build_info"
    python = sys.version.split()[0]
    return [
        *_head(name, "gauge", "1; the labels say which program runs."),
        f'{name}{{version="{VERSION}",python="{python}"}} 1',
    ]


def _processes(everything: list[WorkerStats], retired: WorkerStats) -> list[str]:
    cpu, memory = "chatmaster_cpu_seconds_total", "chatmaster_memory_bytes"
    with_store = _OTHERS if retired[Field.STORE_MEMORY] else _OTHERS[:1]
    lines = _head(cpu, "counter", "User and system time, by kind of process.")
    lines.append(f'{cpu}{{process="worker"}} {_sum(everything, Field.CPU) * NANO:.15g}')
    lines += [f'{cpu}{{process="{process}"}} {retired[spent] * NANO:.15g}' for process, _, spent in with_store]
    lines += _head(memory, "gauge", "Resident memory of the processes that are no workers.")
    lines += [f'{memory}{{process="{process}"}} {retired[size]}' for process, size, _ in with_store]
    if with_store is _OTHERS:
        name = "chatmaster_store_max_memory_bytes"
        lines += _head(name, "gauge", "What the embedded store may take for its data; when full it refuses writes.")
        lines.append(f"{name} {retired[Field.STORE_MAX_MEMORY]}")
    for field, name, kind, help in (
        (Field.MASTER_DESCRIPTORS, "chatmaster_master_open_descriptors", "gauge", "Descriptors in use by the master."),
        (Field.STORE_RESTARTS, "chatmaster_store_restarts_total", "counter", "Times the embedded store was restarted."),
        (Field.DISK_FREE, "chatmaster_disk_free_bytes", "gauge", "Free space where the state directory is."),
    ):
        lines += [*_head(name, kind, help), f"{name} {retired[field]}"]
    return lines


def _refusals(everything: list[WorkerStats]) -> list[str]:
    name = "chatmaster_handshakes_refused_total"
    return [
        *_head(name, "counter", "Handshakes refused or not finished in time, by reason."),
        *(
            f'{name}{{reason="{reason}"}} {_sum(everything, Field.REFUSED + place)}'
            for place, reason in enumerate(REFUSALS.values())
        ),
    ]


def _gauge_sample(metric: Metric, slot: int, rows: list[WorkerStats], now: int) -> str:
    serving = max(rows, key=lambda row: (row[Field.READY], row[Field.GENERATION]))
    value = _sum(rows, metric.field) if metric.adds else serving[metric.field]
    if metric.field in _AGES:
        never = 0 if metric.field is Field.ACCEPT_PAUSED else now  # without a sign yet: as old as possible
        value = max(0, now - value) if value else never
    number = value if metric.scale == 1.0 else f"{value * metric.scale:.15g}"
    return f'{metric.name}{{slot="{slot}"}} {number}'


def _sum(rows: list[WorkerStats], field: int) -> int:
    return sum(row[field] for row in rows)


def _histogram_samples(metric: Metric, rows: list[WorkerStats]) -> list[str]:
    """Rows count each bucket separately, Prometheus counts each with all below it."""
    counts = accumulate(_sum(rows, metric.field + bucket) for bucket in range(HISTOGRAM_BUCKETS))
    samples = list(zip((*map(str, BUCKET_BOUNDS), "+Inf"), counts, strict=True))
    total = _sum(rows, metric.field + HISTOGRAM_BUCKETS) * NANO
    return [
        *(f'{metric.name}_bucket{{le="{bound}"}} {count}' for bound, count in samples),
        f"{metric.name}_sum {total:.15g}",
        f"{metric.name}_count {samples[-1][1]}",
    ]
