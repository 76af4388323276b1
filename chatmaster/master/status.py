"""The parts of the answer to `chatctl status`: workers, store, totals. Pure; `report.py` puts them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatmaster.master.commands.outcome import CommandFailure
from chatmaster.master.worker_handle import WorkerHandle
from chatmaster.policy.processes import Crash, Process, Slot, State
from chatmaster.stats import REFUSALS, STORE_STATES, STORE_WHY_BYTES, Field, WorkerStats

_COUNTED = {
    "messages_in": Field.MESSAGES_IN,
    "messages_out": Field.MESSAGES_OUT,
    "deliveries": Field.DELIVERIES,
    "dropped": Field.DROPPED,
    "handed_over": Field.HANDED_OVER,
    "hand_over_failed": Field.HAND_OVER_FAILED,
    "hand_overs_aborted": Field.HAND_OVERS_ABORTED,
    "deaf": Field.REPLACED_DEAF,
    "callback_errors": Field.CALLBACK_ERRORS,
    "throttled": Field.RATE_LIMITED,
    "loop_blocked": Field.BLOCKED,
    "handshakes_refused": Field.HANDSHAKE_FAILURES,
    "publish_failures": Field.PUBLISH_FAILURES,
    "accept_pauses": Field.ACCEPT_PAUSES,
    "log_lines_dropped": Field.LOGS_DROPPED,
}
# Workers that the master killed; counted in the row of the retired only.
_KILLED = {"hung": Field.HUNG, "silent": Field.SILENT}
_BEAT = 0.5  # seconds between two heartbeats; any longer is lag
# Without rooms: a room with members on several workers would be counted several times.
_TOTALS = ("connections", "users", *_COUNTED, "in_rate", "out_rate", "cpu", "memory", "descriptors")

Row = dict[str, Any]


def workers(slots: Mapping[int, Slot], handles: Mapping[int, WorkerHandle], now: float) -> list[Row]:
    """Return a row for each process, leaving ones included, and for each slot that waits for its next process."""
    rows: list[Row] = []
    for slot in sorted(slots.values(), key=lambda slot: slot.number):
        rows += [_worker(slot, process, handles.get(process.number), now) for process in slot.processes]
        if not slot.processes:
            rows.append(_worker(slot, None, None, now))
    return rows


def _worker(slot: Slot, process: Process | None, handle: WorkerHandle | None, now: float) -> Row:
    row = handle.row if handle is not None else None
    rates = handle.rates() if handle is not None else (0.0, 0.0, 0.0)
    return {
        "slot": slot.number,
        "worker": slot.group,
        "pid": handle.pid if handle is not None else None,
        "state": str(process.state if process is not None else State.STARTING),
        "generation": process.generation if process is not None else slot.generation,
        "uptime": round(now - handle.since, 3) if handle is not None else 0.0,
        "respawn_in": round(max(0.0, slot.respawn - now), 1) if process is None and slot.respawn is not None else None,
        "connections": row[Field.CONNECTIONS] if row else 0,
        "users": row[Field.USERS] if row else 0,
        "rooms": row[Field.ROOMS] if row else 0,
        **{name: row[field] if row else 0 for name, field in _COUNTED.items()},
        "in_rate": round(rates[0], 1),
        "out_rate": round(rates[1], 1),
        "cpu": round(rates[2], 3),
        "loop_lag_ms": _lag(row, now) if row else None,
        "silent": round(max(0.0, now - row[Field.HEARTBEAT] / 1e9), 1) if row and row[Field.HEARTBEAT] else None,
        "memory": row[Field.MEMORY] if row else 0,
        "descriptors": row[Field.DESCRIPTORS] if row else 0,
        "descriptors_limit": row[Field.DESCRIPTORS_LIMIT] if row else 0,
        "accept_paused": round(now - row[Field.ACCEPT_PAUSED] / 1e9, 1) if row and row[Field.ACCEPT_PAUSED] else None,
        "store": STORE_STATES[row[Field.STORE_STATE]] if row and row[Field.READY] else None,
        "store_why": row.text(Field.STORE_WHY, STORE_WHY_BYTES) if row and row[Field.STORE_TROUBLE] else "",
        "store_trouble": round(now - row[Field.STORE_TROUBLE] / 1e9, 1) if row and row[Field.STORE_TROUBLE] else None,
        "restarts": slot.restarts,
        "last_exit": slot.last_exit or None,
        "last_exit_age": round(now - slot.exited, 1) if slot.exited is not None else None,
    }


def _lag(row: WorkerStats, now: float) -> float:
    """Return the lag of the last heartbeat in ms, or the lateness of the next one if that is longer."""
    reported = row[Field.LOOP_LAG] / 1e6
    silent = (now - row[Field.HEARTBEAT] / 1e9 - _BEAT) * 1e3 if row[Field.HEARTBEAT] else 0.0
    return round(max(reported, silent, 0.0), 3)


def totals(rows: Sequence[Row], retired: WorkerStats) -> Row:
    """Return the sums over all workers, workers that have ended included."""
    summed = {key: sum(row[key] for row in rows) for key in _TOTALS}
    summed |= {key: summed[key] + retired[field] for key, field in _COUNTED.items()}
    summed |= {key: retired[field] for key, field in _KILLED.items()}
    summed["restarts"] = retired[Field.ALL_RESTARTS]
    return {"workers": sum(row["state"] == State.READY for row in rows)} | summed


def refused(counters: Sequence[WorkerStats]) -> dict[str, int]:
    """Count the refused handshakes by reason, without the zeros."""
    sums = {
        reason: sum(row[Field.REFUSED + place] for row in counters) for place, reason in enumerate(REFUSALS.values())
    }
    return {reason: count for reason, count in sums.items() if count}


def store_state(state: str, handles: Sequence[WorkerHandle]) -> str:
    """Return the state of the store; `state` is what the store's supervisor says, "ready" if there is none."""
    serving = [handle.row for handle in handles if handle.row[Field.READY]]
    seen = {STORE_STATES[row[Field.STORE_STATE]] for row in serving}
    if state != "ready" or not seen or "ready" in seen or "starting" in seen:
        return state
    return "refusing" if "refusing" in seen else "away"


def store_trouble(handles: Sequence[WorkerHandle]) -> str:
    """Return the trouble with the store that a worker reports; "" if none does."""
    reported = (
        handle.row.text(Field.STORE_WHY, STORE_WHY_BYTES) for handle in handles if handle.row[Field.STORE_TROUBLE]
    )
    return next(filter(None, reported), "")


def probe_ms(handles: Sequence[WorkerHandle]) -> float | None:
    """Return the latest round trip through the store, of any worker, in ms."""
    serving = [handle.row for handle in handles if handle.row[Field.READY]]
    latest = max(serving, key=lambda row: row[Field.STORE_PROBE], default=None)
    if latest is None or not latest[Field.STORE_PROBE]:
        return None
    return round(latest[Field.STORE_PROBE_RTT] / 1e6, 3)


def crash(last: Crash | None, now: float) -> Row | None:
    """Return the row of the last worker that ended without an order; `age` in seconds."""
    if last is None:
        return None
    return {"slot": last.slot, "generation": last.generation, "how": last.how, "age": round(now - last.at, 1)}


def failure(last: CommandFailure | None, now: float) -> Row | None:
    """Return the row of the last reload, upgrade or restart if it failed; `age` in seconds."""
    return None if last is None else {"kind": last.kind, "reason": last.reason, "age": round(now - last.at, 1)}
