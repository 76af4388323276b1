"""Formats a count with its noun, for log lines and commands."""

from __future__ import annotations


def counted(count: int, thing: str, *, several: str = "") -> str:
    """1 worker, 1,024 workers; `several` is the plural if that is not formed with an s."""
    return f"{count:,} {thing if count == 1 else several or f'{thing}s'}"
