"""The live table of `chatctl top`: builds the lines for a terminal of a given size from the last answers. Pure.

A small terminal gets fewer columns, then a shorter history, then fewer workers with a note of how many are omitted. No
line wraps or scrolls.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import click

from chatmaster.cli import status as cli_status
from chatmaster.cli.tables import Column, clock, number, table

HISTORY: Final = 60  # seconds in the history
LEAST_HISTORY: Final = 3  # lines below which the history is omitted
MOST_FAULTS: Final = 4  # lines
SORTS: Final = (
    "slot", "connections", "users", "rooms", "in_rate", "out_rate", "deliveries_rate", "cpu", "loop_lag_ms", "memory",
    "dropped", "restarts", "uptime", "state",
)  # fmt: skip
_ASCENDING: Final = frozenset({"slot", "state"})  # other columns show the largest value first
_RATED: Final = (
    "messages_in",
    "messages_out",
    "deliveries",
    "dropped",
    "throttled",
    "callback_errors",
    "handshakes_refused",
)
_SGR = re.compile("\x1b\\[[0-9;]*m")

Row = Mapping[str, Any]

_SECONDS: Final = (
    Column("second", "at", clock),
    Column("conns", "connections", number, right=True),
    Column("in/s", "messages_in", number, right=True),
    Column("published/s", "messages_out", number, right=True),
    Column("deliveries/s", "deliveries", number, right=True),
    Column("dropped/s", "dropped", number, right=True),
    Column("throttled/s", "throttled", number, right=True),
    Column("errors/s", "callback_errors", number, right=True),
    Column("refused/s", "handshakes_refused", number, right=True),
)


@dataclass
class Top:
    """The last answers of the master, and how to sort and show them."""

    sort: str = "slot"
    reverse: bool = False
    seconds: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=HISTORY))  # oldest first
    _last: Row | None = None
    _last_at: float = 0.0
    _rates: dict[tuple[Any, Any], float] = field(default_factory=dict)  # deliveries a second of each process

    def update(self, status: Row, now: float, at: float) -> None:
        """Add an answer and compute the rates since the last one. `now` is monotonic time, `at` is Unix time."""
        before, passed = self._last, now - self._last_at
        if before is not None and passed > 0:
            then, totals = before["totals"], status["totals"]
            rates = {key: max(0.0, (totals.get(key, 0) - then.get(key, 0)) / passed) for key in _RATED}
            self.seconds.append({"at": at, "connections": totals.get("connections", 0), **rates})
            known = {_process(row): row["deliveries"] for row in before["workers"]}
            self._rates = {
                _process(row): max(0.0, (row["deliveries"] - known[_process(row)]) / passed)
                for row in status["workers"]
                if _process(row) in known
            }
        self._last, self._last_at = status, now

    def next_sort(self, step: int) -> None:
        """Sort by another column; `step` is 1 for the next and -1 for the previous one."""
        self.sort = SORTS[(SORTS.index(self.sort) + step) % len(SORTS)]

    def frame(self, width: int, height: int, *, notice: str = "") -> list[str]:
        """The lines of the whole screen: at most `height`, none wider than `width`."""
        foot = click.style(
            f"sorted by {self.sort}{' reversed' if self.reverse else ''}   <- -> column   r reverse   q quit", dim=True
        )
        if self._last is None:
            return _cut([notice or "waiting for an answer", "", foot], width, height)
        head = _head(self._last, notice)
        room = max(0, height - len(head) - 3)  # an empty line, the footer and the heading of the table
        workers = self._workers(self._last, width, max(1, room))
        left = height - len(head) - len(workers) - 2
        return _cut([*head, *workers, *self._history(width, left - 1), "", foot], width, height)

    def _workers(self, status: Row, width: int, most: int) -> list[str]:
        rows = [{**row, "deliveries_rate": self._rates.get(_process(row))} for row in status["workers"]]
        rows = self._sorted([cli_status.with_words(row) for row in rows])
        total = {"slot": "all", **status["totals"], "deliveries_rate": sum(self._rates.values())}
        shown, left_out = rows, 0
        if len(rows) + 1 > most:
            shown = rows[: max(0, most - 2)]
            left_out = len(rows) - len(shown)
        lines = cli_status.fitting([*shown, total], width, live=True).splitlines()
        if left_out:
            lines.insert(len(lines) - 1, click.style(f"… and {left_out} more workers", dim=True))
        return lines

    def _sorted(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        known = [row for row in rows if row.get(self.sort) is not None]
        unknown = [row for row in rows if row.get(self.sort) is None]
        down = (self.sort not in _ASCENDING) != self.reverse
        return [*sorted(known, key=lambda row: row[self.sort], reverse=down), *unknown]

    def _history(self, width: int, lines: int) -> list[str]:
        if lines < LEAST_HISTORY + 1 or not self.seconds:
            return []
        latest = list(self.seconds)[: -(lines - 1) - 1 : -1]
        columns = list(_SECONDS)
        shown = table(columns, latest).splitlines()
        while len(columns) > 2 and max(map(cells, shown)) > width:
            columns.pop()
            shown = table(columns, latest).splitlines()
        return ["", *shown]


def _head(status: Row, notice: str) -> list[str]:
    lines = cli_status.heading(status)
    faults = [line for line in cli_status.faults(status) if line]
    if len(faults) > MOST_FAULTS:
        faults = [
            *faults[: MOST_FAULTS - 1],
            click.style(f"… and {len(faults) - MOST_FAULTS + 1} more faults", fg="red"),
        ]
    return [*lines, *faults, *([click.style(notice, fg="red")] if notice else []), ""]


def _process(row: Row) -> tuple[Any, Any]:
    return row["slot"], row["pid"]


# ---- lines that fit --------------------------------------------------------------------------------------


def cells(line: str) -> int:
    """The width of a line in terminal columns, without colour codes."""
    return sum(map(_width, _SGR.sub("", line)))


def clip(line: str, width: int) -> str:
    """Cut a line to `width` columns and reset its colours."""
    if cells(line) <= width:
        return line
    kept, used = "", 0
    for part in re.split(f"({_SGR.pattern})", line):
        if _SGR.fullmatch(part):
            kept += part
            continue
        for character in part:
            if used + _width(character) > width - 1:
                return f"{kept}\x1b[0m…" if "\x1b" in kept else f"{kept}…"
            kept, used = kept + character, used + _width(character)
    return kept


def _cut(lines: Sequence[str], width: int, height: int) -> list[str]:
    if len(lines) > height:  # the footer stays
        lines = [*lines[: max(0, height - 1)], *lines[-1:]] if height > 1 else lines[:height]
    return [clip(line, width) for line in lines]


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
