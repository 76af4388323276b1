"""The output of `chatctl status`, once or every second."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

import click

from chatmaster.cli.tables import Column, duration, milliseconds, number, percent, size, state, table, text
from chatmaster.plural import counted

WATCH_INTERVAL = 1.0  # seconds

# The columns that a narrow terminal omits, in this order.
_DISPENSABLE = (
    "messages_in", "messages_out", "deliveries", "last_exit", "rooms", "generation", "users", "restarts", "dropped",
    "memory", "uptime", "loop_lag_ms", "cpu", "out_rate", "in_rate",
    "deliveries_rate", "pid",
)  # fmt: skip

_COUNTED: Final = ("messages_in", "messages_out", "deliveries")

_COLUMNS = (
    Column("worker", "slot", right=True),
    Column("pid", "pid", right=True),
    Column("state", "state", state),
    Column("gen", "generation", right=True),
    Column("up", "uptime", duration, right=True),
    Column("conns", "connections", number, right=True),
    Column("users", "users", number, right=True),
    Column("rooms", "rooms", number, right=True),
    Column("in/s", "in_rate", number, right=True),
    Column("out/s", "out_rate", number, right=True),
    Column("deliv/s", "deliveries_rate", number, right=True),
    Column("in", "messages_in", number, right=True),
    Column("out", "messages_out", number, right=True),
    Column("delivered", "deliveries", number, right=True),
    Column("dropped", "dropped", number, right=True),
    Column("cpu", "cpu", percent, right=True),
    Column("lag ms", "loop_lag_ms", milliseconds, right=True),
    Column("memory", "memory", size, right=True),
    Column("restarts", "restarts", number, right=True),
    Column("last exit", "last_exit"),
)


# Totals that are shown only if they are not 0.
_INCIDENTS = {  # singular and plural
    "handed_over": ("connection handed over", "connections handed over"),
    "hand_over_failed": ("not handed over",),
    "hand_overs_aborted": ("handover given up", "handovers given up"),
    "hung": ("worker hung", "workers hung"),
    "silent": ("silent",),
    "deaf": ("deaf",),
    "callback_errors": ("callback error", "callback errors"),
    "throttled": ("request throttled", "requests throttled"),
    "loop_blocked": ("time something blocked a worker", "times something blocked a worker"),
    "publish_failures": ("message not acknowledged by the store", "messages not acknowledged by the store"),
    "accept_pauses": ("pause of accepting", "pauses of accepting"),
    "log_lines_dropped": ("log line dropped", "log lines dropped"),
}


def render(status: Mapping[str, Any]) -> str:
    """The whole status as text."""
    master = status.get("master", {})
    parts = [_master(master), *_places(master), _store(status.get("store", {})), *faults(status), "", _workers(status)]
    return "\n".join([*parts, *_incidents(status), *_crash(master.get("last_crash"))])


def faults(status: Mapping[str, Any]) -> list[str]:
    """The current faults, one line each: what, for how long, why."""
    lines = []
    for row in status.get("faults", ()):
        lasting = f" for {duration(row['seconds'])}" if row.get("seconds") is not None else ""
        why = f": {text(row['why'])}" if row.get("why") else ""
        lines.append(click.style(f"✗ {text(row['what'])}{lasting}{why}", fg="red"))
    return ["", *lines] if lines else []


def _incidents(status: Mapping[str, Any]) -> list[str]:
    totals, restarts = status.get("totals", {}), status.get("store", {}).get("restarts")
    told = [
        counted(totals[name], words[0], several=words[-1]) for name, words in _INCIDENTS.items() if totals.get(name)
    ]
    if totals.get("refused"):
        reasons = ", ".join(f"{why.replace('_', ' ')} {number(n)}" for why, n in totals["refused"].items())
        told.append(f"{counted(totals.get('handshakes_refused', 0), 'handshake')} refused ({reasons})")
    told += [f"{counted(restarts, 'restart')} of the store"] if restarts else []
    return ["", "since the start: " + ", ".join(told)] if told else []


def _places(master: Mapping[str, Any]) -> list[str]:
    """The application, the program, and the files that the server reads and writes."""
    named = {
        "application": master.get("application"),
        "configuration": master.get("config_file") or "the defaults",
        "log": master.get("log_file") or "standard error",
        "state": master.get("state_dir"),
        "program": master.get("program"),
    }
    shown = [f"{name} {text(value)}" for name, value in named.items() if value]
    return ["        " + "  ".join(shown[:3]), "        " + "  ".join(shown[3:])] if master.get("program") else []


def _crash(last: Mapping[str, Any] | None) -> list[str]:
    if not last:
        return []
    which = f"worker {last.get('slot')} (generation {last.get('generation')})"
    return ["", f"last crash: {duration(last.get('age'))} ago, {which}: {text(last.get('how'))}"]


def heading(status: Mapping[str, Any]) -> list[str]:
    """One line for the master, one for the store."""
    return [_master(status.get("master", {})), _store(status.get("store", {}))]


def follow(ask: Callable[[], Mapping[str, Any]], *, as_json: bool) -> NoReturn:
    """Print the status every second until Ctrl-C, as JSON one object a line; `top_screen.py` is for a terminal."""
    while True:
        answer = ask()
        click.echo(json.dumps(answer, ensure_ascii=False) if as_json else render(answer))
        sys.stdout.flush()
        time.sleep(WATCH_INTERVAL)


def _master(master: Mapping[str, Any]) -> str:
    facts = [
        click.style(text(master.get("name")), bold=True),
        f"pid {text(master.get('pid'))}",
        f"up {duration(master.get('uptime'))}",
        f"generation {text(master.get('generation'))}",
        f"chatmaster {text(master.get('version'))}",
    ]
    if master.get("state") not in (None, "ready"):
        facts.insert(1, state(master["state"]))
    if listen := master.get("listen"):
        facts.append(text(listen))
    if memory := master.get("memory"):
        facts.append(size(memory))
    return "master  " + "  ".join(facts)


def _store(store: Mapping[str, Any]) -> str:
    facts = [state(store.get("state")), text(store.get("url"))]
    if store.get("pid"):
        facts.append(f"pid {store['pid']}")
    probe = store.get("probe_ms")
    facts.append(f"round trip {milliseconds(probe)}{' ms' if probe is not None else ''}")
    if durability := store.get("durability"):
        facts.append(f"durability {durability}")
    if memory := store.get("memory"):
        facts.append(f"{size(memory)} of {size(store['max_memory'])}" if store.get("max_memory") else size(memory))
    if (free := store.get("disk_free")) is not None:
        facts.append(f"disk {size(free)} free")
    return "store   " + "  ".join(facts)


def _workers(status: Mapping[str, Any]) -> str:
    rows = [with_words(row) for row in status.get("workers", ())]
    if not rows:
        return "no workers"
    if len(rows) > 1 and (totals := status.get("totals")):
        rows.append({"slot": "all", **totals})
    # A file gets all columns.
    return fitting(rows, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)


def with_words(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a worker, with texts for display."""
    how, age = row.get("last_exit"), row.get("last_exit_age")
    paused = {"state": "paused"} if row.get("accept_paused") is not None else {}
    return {**row, "last_exit": f"{how}, {duration(age)} ago" if how and age is not None else how, **paused}


def fitting(rows: list[dict[str, Any]], width: int | None, *, live: bool = False) -> str:
    """The table without the columns that do not fit into `width`; `live` shows rates instead of totals."""
    left_out = _COUNTED if live else ("deliveries_rate",)
    columns = [column for column in _COLUMNS if column.key not in left_out]
    columns = [column for column in columns if column.key != "last_exit" or any(row.get("last_exit") for row in rows)]
    if len({row["worker"] for row in rows if row.get("worker")}) > 1:
        columns.insert(1, Column("name", "worker"))
    shown = table(columns, rows)
    for key in _DISPENSABLE if width is not None else ():
        if max(len(click.unstyle(line)) for line in shown.splitlines()) <= (width or 0):
            break
        columns = [column for column in columns if column.key != key]
        shown = table(columns, rows)
    return shown
