"""How figures and rows are shown to a person: durations, sizes, tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

NOTHING = "–"

# What catches the eye at 3 a.m.: red is wrong, yellow is on its way to or from somewhere.
STATE_COLOURS = {
    "ready": "green",
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
    """A count with thin groups: 1,234,567; a rate below ten with one decimal."""
    if value is None:
        return NOTHING
    if isinstance(value, float) and 0 < value < 10:
        return f"{value:.1f}"
    return f"{value:,.0f}"


def milliseconds(value: float | None) -> str:
    """0.42, 13, without the unit, which the column's name has."""
    return NOTHING if value is None else f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """A part of one core: 0 %, 37 %, 150 %."""
    return NOTHING if value is None else f"{value * 100:.0f} %"


def clock(when: float | None) -> str:
    """A Unix time as local clock time, with the date when it is not today."""
    if when is None:
        return NOTHING
    then = time.localtime(when)
    return time.strftime("%H:%M:%S" if then[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M", then)


def timestamp(when: float | None) -> str:
    """A Unix time as ISO 8601 with the offset of the zone that we are in: what is copied elsewhere must say it."""
    if when is None:
        return NOTHING
    return datetime.fromtimestamp(when).astimezone().isoformat(timespec="seconds")


def text(value: Any) -> str:
    """Anything on one line, without control characters: names and messages are written by clients."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, (list, tuple)):
        return ", ".join(text(item) for item in value) or NOTHING
    return "".join(character if character.isprintable() else "·" for character in str(value))


def state(value: Any) -> str:
    """A state in its colour."""
    return click.style(text(value), fg=STATE_COLOURS.get(str(value)))


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, the key of a row, how the value is shown, on which side it stands."""

    heading: str
    key: str
    show: Any = text
    right: bool = False


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under headings, each column as wide as it must be; nothing is cut, since it may be what one looks for."""
    cells = [[column.heading for column in columns]]
    cells += [[column.show(row[column.key]) if column.key in row else "" for column in columns] for row in rows]
    widths = [max(len(click.unstyle(line[place])) for line in cells) for place in range(len(columns))]
    lines = ["  ".join(_pad(*parts) for parts in zip(line, widths, columns, strict=True)).rstrip() for line in cells]
    lines[0] = click.style(lines[0], bold=True)
    return "\n".join(lines)


def _pad(cell: str, width: int, column: Column) -> str:
    space = " " * (width - len(click.unstyle(cell)))
    return space + cell if column.right else cell + space
