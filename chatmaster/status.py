"""What `chatctl status` answers: master, store, workers, totals, as OPERATIONS describes them. Reads, never acts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from chatmaster import __version__
from chatmaster.crew import Crash, Process, Slot, State
from chatmaster.handle import Handle
from chatmaster.stats import Field, WorkerStats

_COUNTED = {
    "messages_in": Field.MESSAGES_IN,
    "messages_out": Field.MESSAGES_OUT,
    "deliveries": Field.DELIVERIES,
    "dropped": Field.DROPPED,
    "handed_over": Field.HANDED_OVER,
    "hand_over_failed": Field.HAND_OVER_FAILED,
    "hand_overs_aborted": Field.HAND_OVERS_ABORTED,
    "deaf": Field.REPLACED_DEAF,
}
# What the master counts of workers that it had to kill: in the row of the retired alone.
_KILLED = {"hung": Field.HUNG, "silent": Field.SILENT}
_BEAT = 0.5  # seconds between two heartbeats; a later one than that is lag
# Not of rooms: one that has members on several workers is one all the same.
_TOTALS = ("connections", *_COUNTED, "in_rate", "out_rate", "memory")

Row = dict[str, Any]


def workers(slots: Mapping[int, Slot], handles: Mapping[int, Handle], now: float) -> list[Row]:
    """One row a process, old ones that are leaving too; a slot that waits for its next process has one as well."""
    rows: list[Row] = []
    for slot in sorted(slots.values(), key=lambda slot: slot.number):
        rows += [_worker(slot, process, handles.get(process.number), now) for process in slot.processes]
        if not slot.processes:
            rows.append(_worker(slot, None, None, now))
    return rows


def _worker(slot: Slot, process: Process | None, handle: Handle | None, now: float) -> Row:
    row = handle.row if handle is not None else None
    rates = handle.rates() if handle is not None else (0.0, 0.0)
    return {
        "slot": slot.number,
        "worker": slot.group,
        "pid": handle.pid if handle is not None else None,
        "state": str(process.state if process is not None else State.STARTING),
        "generation": process.generation if process is not None else slot.generation,
        "uptime": round(time.time() - handle.started, 3) if handle is not None else 0.0,
        "connections": row[Field.CONNECTIONS] if row else 0,
        "rooms": row[Field.ROOMS] if row else 0,
        **{name: row[field] if row else 0 for name, field in _COUNTED.items()},
        "in_rate": round(rates[0], 1),
        "out_rate": round(rates[1], 1),
        "loop_lag_ms": _lag(row, now) if row else None,
        "memory": row[Field.MEMORY] if row else 0,
        "restarts": slot.restarts,
        "last_exit": slot.last_exit or None,
        "last_exit_age": round(now - slot.exited, 1) if slot.exited is not None else None,
    }


def _lag(row: WorkerStats, now: float) -> float:
    """What the last heartbeat said, or by how much the next one is late already."""
    said = row[Field.LOOP_LAG] / 1e6
    silent = (now - row[Field.HEARTBEAT] / 1e9 - _BEAT) * 1e3 if row[Field.HEARTBEAT] else 0.0
    return round(max(said, silent, 0.0), 3)


def totals(rows: Sequence[Row], retired: WorkerStats) -> Row:
    """Over all workers; what has been counted by those that have ended stays in."""
    summed = {key: sum(row[key] for row in rows) for key in _TOTALS}
    summed["restarts"] = sum({row["slot"]: row["restarts"] for row in rows}.values())  # a slot may have several rows
    summed |= {key: summed[key] + retired[field] for key, field in _COUNTED.items()}
    summed |= {key: retired[field] for key, field in _KILLED.items()}
    return {"workers": sum(row["state"] == State.READY for row in rows)} | summed


def store(*, url: str, state: str, pid: int | None, durability: str, handles: Sequence[Handle]) -> Row:
    """`state` is what the keeper of an embedded store knows, else "ready": the workers know better."""
    serving = [handle.row for handle in handles if handle.row[Field.READY]]
    latest = max(serving, key=lambda row: row[Field.STORE_PROBE], default=None)
    if state == "ready" and serving and all(row[Field.STORE_STATE] == 2 for row in serving):
        state = "away"
    probed = latest is not None and latest[Field.STORE_PROBE] > 0
    return {
        "url": url,
        "state": state,
        **({"pid": pid} if pid is not None else {}),
        "probe_ms": round(latest[Field.STORE_PROBE_RTT] / 1e6, 3) if latest is not None and probed else None,
        "durability": durability,
    }


def crash(last: Crash | None, now: float) -> Row | None:
    """The last worker that ended without an order; `age` in seconds."""
    if last is None:
        return None
    return {"slot": last.slot, "generation": last.generation, "how": last.how, "age": round(now - last.at, 1)}


def master(
    *, pid: int, name: str, state: str, generation: int, started: float, listen: Sequence[str], last_crash: Row | None
) -> Row:
    """The master itself; `started` is Unix time."""
    return {
        "pid": pid,
        "name": name,
        "version": __version__,
        "generation": generation,
        "started": round(started, 3),
        "uptime": round(time.time() - started, 3),
        "state": state,
        "listen": list(listen),
        "last_crash": last_crash,
    }
