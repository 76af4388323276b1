"""Markdown from Python: tables and front matter, for the pages that the site generates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; a `|` in a cell is escaped, a line break becomes a space."""
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def code(text: object) -> str:
    """Inline code, or nothing for an empty text. A `|` would end a cell of a table, so it becomes an entity."""
    shown = str(text)
    if "|" in shown:
        return f"<code>{escape(shown).replace('|', '&#124;')}</code>"
    return f"`{shown}`" if shown else ""


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"
