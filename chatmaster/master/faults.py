"""Finds the faults of a running server in the answer to `status`: each with its cause and duration. Pure.

A fault is what an operator must know now: `status --check` ends with 1 while there is one. What is over (a worker that
crashed and was replaced) is shown elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_DISK_LEAST: Final = 1_000_000  # bytes; a full disk ends the embedded store
_DISK_ENOUGH: Final = 100_000_000  # bytes; on a large disk
_FILLING: Final = 0.75  # of store.max_memory
STARTED_LATE: Final = 5.0  # seconds that a start may take before it is a fault

Row = Mapping[str, Any]


def find(status: Row) -> list[dict[str, Any]]:
    """Return rows of what, why ("": unknown) and seconds (None: unknown)."""
    found = [*_master(status["master"]), *_store(status["store"])]
    for row in status["workers"]:
        found += _worker(row, store_away=status["store"]["state"] != "ready")
    return [{"what": what, "why": why, "seconds": seconds} for what, why, seconds in found]


def is_low(free: int, size: int) -> bool:
    """Return True if a disk is almost full: less than a twentieth, or on a large disk 100 MB. In bytes."""
    return free < min(max(size // 20, _DISK_LEAST), _DISK_ENOUGH)


def is_filling(store: Row) -> bool:
    """Return True if the embedded store takes three quarters of what it may, or more."""
    return bool(store.get("max_memory")) and store["memory"] >= _FILLING * store["max_memory"]


_Found = tuple[str, str, float | None]


def _master(master: Row) -> Iterator[_Found]:
    if master["state"] in ("starting", "stopping", "restarting"):
        yield f"the server is {master['state']}", "", master["uptime"] if master["state"] == "starting" else None
    if failed := master["last_failure"]:
        yield f"the last {failed['kind']} failed: the server runs as before", failed["reason"], failed["age"]


def _store(store: Row) -> Iterator[_Found]:
    if store["state"] != "ready":
        yield f"the store is {store['state']}", store["reason"], store["state_age"]
    if is_filling(store):
        used, most = (store[key] // 1_000_000 for key in ("memory", "max_memory"))
        why = "when it is full, what clients write is refused: raise store.max_memory, or lower store.history_ttl"
        yield f"the store takes {used:,} MB of the {most:,} MB that it may", why, None
    free = store.get("disk_free")
    if free is not None and is_low(free, store["disk_size"]):
        yield f"the disk of the store has {free // 1_000_000} MB left", "a full disk ends the store", None


def _worker(row: Row, *, store_away: bool) -> Iterator[_Found]:
    name = f"worker {row['slot']}"
    match row["state"]:
        case "starting" if row["pid"] is None:
            seconds = row["last_exit_age"]
            yield f"{name} has no process", _waits(row), seconds
        case "starting" if row["uptime"] > STARTED_LATE:
            yield f"{name} is starting", row["last_exit"] or "", row["uptime"]
        case "stopped":
            yield f"{name} is stopped", "by a signal; it waits for SIGCONT", row["silent"]
        case "hung":
            yield f"{name} hangs", "its loop gives no sign of life", row["silent"]
    if row["accept_paused"] is not None:
        used = f"{row['descriptors']:,} of {row['descriptors_limit']:,} descriptors are in use"
        yield f"{name} has paused accepting", used, row["accept_paused"]
    if row["store"] == "away" and not store_away:
        yield f"{name} does not reach the store", row.get("store_why") or "others do", row.get("store_trouble")
    if row["store"] == "refusing" and not store_away:
        yield f"the store refuses what {name} writes", row.get("store_why") or "", row.get("store_trouble")


def _waits(row: Row) -> str:
    why = row["last_exit"] or ""
    return f"{why}; its replacement starts in {row['respawn_in']:g} s" if row["respawn_in"] is not None else why
