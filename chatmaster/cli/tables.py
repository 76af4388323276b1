"""Text for people: figures, tables, and the rows of several workers as one table."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

Row = dict[str, Any]

NOTHING = "–"
NO_USER = "(no user)"  # of a program's connections that no user is bound to; no id has brackets or spaces

# Red: a fault. Yellow: a state that passes.
STATE_COLOURS = {
    "ready": "green",
    "drained": "yellow",
    "lost": "red",
    "starting": "yellow",
    "draining": "yellow",
    "paused": "red",
    "stopped": "yellow",
    "hung": "red",
    "away": "red",
}


def duration(seconds: float | None) -> str:
    """Two units at most: 45s, 12m 5s, 3h 12m, 4d 2h."""
    if seconds is None:
        return NOTHING
    whole = int(seconds)
    units = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
    for place, (size, unit) in enumerate(units):
        if whole >= size:
            rest, (next_size, next_unit) = whole % size, units[min(place + 1, 3)]
            second = rest // next_size if size > 1 else 0
            return f"{whole // size}{unit}" + (f" {second}{next_unit}" if second else "")
    return "0s"


def size(count: float | None) -> str:
    """Bytes in binary units: 512 B, 3.1 KiB, 40 MiB."""
    if count is None:
        return NOTHING
    amount, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return f"{amount:.0f} {units[0]}" if units[0] == "B" or amount >= 10 else f"{amount:.1f} {units[0]}"


def number(value: float | None) -> str:
    """A count with separators, 1,234,567; a rate below ten with one decimal."""
    if value is None:
        return NOTHING
    if isinstance(value, float) and 0 < value < 10:
        return f"{value:.1f}"
    return f"{value:,.0f}"


def milliseconds(value: float | None) -> str:
    """Milliseconds without the unit: 0.42, 13."""
    return NOTHING if value is None else f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """A share of one core in percent: 0 %, 37 %, 150 %."""
    return NOTHING if value is None else f"{value * 100:.0f} %"


def clock(when: float | None) -> str:
    """A Unix time as local time, with the date unless it is today."""
    if when is None:
        return NOTHING
    then = time.localtime(when)
    return time.strftime("%H:%M:%S" if then[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M", then)


def timestamp(when: float | None) -> str:
    """A Unix time as ISO 8601 in local time with its UTC offset, so that it can be copied elsewhere."""
    if when is None:
        return NOTHING
    return datetime.fromtimestamp(when).astimezone().isoformat(timespec="seconds")


def text(value: Any) -> str:
    """Any value on one line without control characters, since clients choose names and messages."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, (list, tuple)):
        return ", ".join(text(item) for item in value) or NOTHING
    return "".join(character if character.isprintable() else "·" for character in str(value))


def state(value: Any) -> str:
    """A state, in its colour."""
    return click.style(text(value), fg=STATE_COLOURS.get(str(value)))


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, the key in a row, the function that formats the value, the alignment."""

    heading: str
    key: str
    show: Any = text
    right: bool = False


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under headings. Columns are as wide as their widest value; no value is cut."""
    cells = [[column.heading for column in columns]]
    cells += [[column.show(row[column.key]) if column.key in row else "" for column in columns] for row in rows]
    widths = [max(len(click.unstyle(line[place])) for line in cells) for place in range(len(columns))]
    lines = ["  ".join(_pad(*parts) for parts in zip(line, widths, columns, strict=True)).rstrip() for line in cells]
    lines[0] = click.style(lines[0], bold=True)
    return "\n".join(lines)


def _pad(cell: str, width: int, column: Column) -> str:
    space = " " * (width - len(click.unstyle(cell)))
    return space + cell if column.right else cell + space


# ---- the rows that workers answer with ------------------------------------------------------------

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
        Column("host", "host"),
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
        Column("user", "user", lambda user: text(user) if user else NO_USER),
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
    "audit": "no moderation yet",
    "bans": "nobody is banned",
    "mutes": "nobody is muted",
}


def merged(what: str, rows: Iterable[Row]) -> list[Row]:
    """Merge the rows of all workers to one row for each room or user, and sort them."""
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
    """The rows as a table, without columns that are empty in every row."""
    if not rows:
        return _EMPTY.get(what, "nothing")
    columns = [column for column in _SHAPES[what] if any(_has_value(column, row) for row in rows)]
    return table(columns, rows)


def _has_value(column: Column, row: Row) -> bool:
    return column.key in row and column.show(row[column.key]) not in ("", NOTHING)


def message(row: Mapping[str, Any]) -> str:
    """One entry of a room's log as a line of `tail`."""
    if "lost" in row:
        return click.style(f"… {row['lost']:,} lost: tail was too slow", dim=True)
    who, said = _author_and_text(str(row.get("payload", "")))
    head = f"{clock(row.get('time'))} {row.get('offset', ''):>6}"
    head += f"  {row['worker']}" if "worker" in row else ""
    return f"{click.style(head, dim=True)}  {click.style(who, bold=True) + ': ' if who else ''}{text(said)}"


def _author_and_text(payload: str) -> tuple[str, str]:
    """Author and text of a chat message; no author and the whole payload for anything else."""
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
        whose = row.get("worker", ""), row[key]  # each Worker of a program has its own rooms and users
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
