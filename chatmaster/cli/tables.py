"""Rows that workers answer with, put together over all workers and shown as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from chatmaster.cli.formatting import NOTHING, Column, clock, number, size, table, text, timestamp

Row = dict[str, Any]

_SANCTIONS = (
    Column("user", "user"),
    Column("room", "room", lambda room: room or "everywhere"),
    Column("since", "since", timestamp),
    Column("until", "until", lambda until: timestamp(until) if until else "for ever"),
    Column("by", "by"),
    Column("address", "address"),
    Column("reason", "reason"),
)

_SHAPES: Mapping[str, tuple[Column, ...]] = {
    "connections": (
        Column("id", "id"),
        Column("Worker", "worker"),
        Column("worker", "slot", right=True),
        Column("user", "user"),
        Column("address", "address"),
        Column("since", "since", clock),
        Column("in", "bytes_in", size, right=True),
        Column("out", "bytes_out", size, right=True),
        Column("msgs in", "messages_in", number, right=True),
        Column("msgs out", "messages_out", number, right=True),
        Column("queue", "queue", size, right=True),
        Column("lag", "lag", number, right=True),
        Column("rooms", "rooms"),
    ),
    "rooms": (
        Column("room", "room"),
        Column("Worker", "worker"),
        Column("members", "members", number, right=True),
        Column("offset", "offset", number, right=True),
        Column("lagging", "lagging", number, right=True),
        Column("state", "state"),
        Column("workers", "slots"),
    ),
    "who": (
        Column("Worker", "worker"),
        Column("user", "user"),
        Column("name", "name"),
        Column("connections", "connections", number, right=True),
    ),
    "bans": _SANCTIONS,
    "mutes": _SANCTIONS,
    "audit": (
        Column("when", "time", timestamp),
        Column("what", "action"),
        Column("user", "user"),
        Column("room", "room"),
        Column("by", "by"),
        Column("seconds", "seconds", number, right=True),
        Column("reason", "reason"),
    ),
}

_EMPTY = {
    "connections": "no connections",
    "rooms": "no rooms",
    "who": "nobody is in this room",
    "audit": "nobody was moderated",
    "bans": "nobody is banned",
    "mutes": "nobody is muted",
}


def merged(what: str, rows: Iterable[Row]) -> list[Row]:
    """One row for each room or user, whichever workers told of it, in an order that can be read."""
    if what == "rooms":
        here = [{**row, "slots": [row["slot"]]} for row in rows if "slot" in row]
        for row in here:
            del row["slot"]
        return sorted(_by(here, "room", _join_rooms), key=lambda row: (-row.get("members", 0), row["room"]))
    if what == "who":
        return sorted(_by(rows, "user", lambda one, _: one), key=lambda row: (row.get("worker", ""), str(row["user"])))
    if what == "connections":
        return sorted(rows, key=lambda row: (row.get("since", 0), str(row.get("id"))))
    return list(rows)


def render(what: str, rows: list[Row]) -> str:
    """A table; columns that no row has are left out."""
    if not rows:
        return _EMPTY.get(what, "nothing")
    columns = [column for column in _SHAPES[what] if any(_says(column, row) for row in rows)]
    return table(columns, rows)


def _says(column: Column, row: Row) -> bool:
    return column.key in row and column.show(row[column.key]) not in ("", NOTHING)


def message(row: Mapping[str, Any]) -> str:
    """One entry of a room's log, as `tail` shows it."""
    if "lost" in row:
        return click.style(f"… {row['lost']:,} lost: they came too fast", dim=True)
    who, said = _spoken(str(row.get("payload", "")))
    head = f"{clock(row.get('time'))} {row.get('offset', ''):>6}"
    head += f"  {row['worker']}" if "worker" in row else ""
    return f"{click.style(head, dim=True)}  {click.style(who, bold=True) + ': ' if who else ''}{text(said)}"


def _spoken(payload: str) -> tuple[str, str]:
    """Who says what, where the payload is the chat's own JSON; else nobody and all of it."""
    try:
        entry = json.loads(payload)
        author = entry["from"]
        who = str(author.get("name") or author["user"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", payload
    if "text" in entry:
        return who, entry["text"]
    rest = {key: value for key, value in entry.items() if key not in ("type", "room", "from")}
    return who, f"[{entry.get('type', '?')}] {json.dumps(rest, ensure_ascii=False)}"


def _by(rows: Iterable[Row], key: str, join: Any) -> Iterable[Row]:
    found: dict[Any, Row] = {}
    for row in rows:
        whose = row.get("worker", ""), row[key]  # each Worker of a program has rooms and users of its own
        known = found.get(whose)
        found[whose] = row if known is None else join(known, row)
    return found.values()


def _join_rooms(one: Row, other: Row) -> Row:
    total = {**one, **other}
    for key in ("members", "lagging"):
        if key in one or key in other:
            total[key] = one.get(key, 0) + other.get(key, 0)
    total["slots"] = sorted({*one["slots"], *other["slots"]})
    total["offset"] = max(one.get("offset", 0), other.get("offset", 0))
    return total
