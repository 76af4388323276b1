"""Counts with their noun, as people say them. A leaf, so that log lines and commands say them alike."""

from __future__ import annotations


def counted(count: int, thing: str, *, several: str = "") -> str:
    """1 worker, 1,024 workers; `several` is the plural where that is not formed by an s."""
    return f"{count:,} {thing if count == 1 else several or f'{thing}s'}"
