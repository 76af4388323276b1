"""`chatctl check` and `chatctl config`: what would run, and where each setting comes from."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from chatmaster.config import DEFAULT, KEYS, Loaded
from chatmaster.config_describe import HIDDEN, toml, without_password
from chatmaster.errors import ApplicationError


def effective(loaded: Loaded) -> list[dict[str, Any]]:
    """Every key with its value and origin, in the order of the settings; secrets are not shown."""
    return [{"key": key, "value": _value(loaded, key), "origin": loaded.origins[key]} for key in KEYS]


def with_program(loaded: Loaded) -> Loaded:
    """The same with what the program declares, where it can be asked."""
    from chatmaster import groups, probe

    try:
        with _printing_to_stderr():
            declared = probe.run(loaded.settings)
    except ApplicationError as error:
        click.echo(f"without what the program declares: {error}", err=True)
        return loaded
    return loaded.declare(groups.declarations(declared.workers), loaded.settings.server.app)


@contextmanager
def _printing_to_stderr() -> Iterator[None]:
    """What a program prints while it is imported does not get among our output."""
    sys.stdout.flush()
    before = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


def render(rows: list[dict[str, Any]]) -> str:
    """The configuration as TOML that could be used again, each value with its origin beside it."""
    lines: list[str] = []
    section = ""
    shown = [(row["key"].rpartition("."), toml(row["value"]), row["origin"]) for row in rows]
    width = max((len(f"{key} = {value}") for (_, _, key), value, _ in shown if len(value) < 50), default=0)
    # `rooms` has no section, and in TOML such a key must come before every table.
    for (table, _, key), value, origin in sorted(shown, key=lambda one: one[0][0] != ""):
        if table != section:
            section = table
            lines += ["", click.style(f"[{table}]", bold=True)]
        assignment = f"{key} = {value}".ljust(width)
        comment = click.style(f"# {origin}", dim=True) if origin == DEFAULT else click.style(f"# {origin}", fg="cyan")
        lines.append(f"{assignment}  {comment}")
    return "\n".join(lines)


def check(loaded: Loaded) -> list[dict[str, Any]]:
    """What would run, by the application's own word. Raises ApplicationError or ConfigError with what is wrong."""
    from chatmaster import groups, probe

    with _printing_to_stderr():
        declared = probe.run(loaded.settings).workers
    loaded = loaded.declare(groups.declarations(declared), loaded.settings.server.app)
    made = groups.groups(declared, loaded.settings, loaded.origins)
    return [{"worker": group.name, "listen": list(group.listen), "count": group.count} for group in made]


def render_program(app: str, rows: list[dict[str, Any]]) -> str:
    """What `check` has found, one line a Worker."""
    return "\n".join(
        f"{app}: {row['worker']}: {', '.join(row['listen']) or 'no address of its own'}, {row['count']} workers"
        for row in rows
    )


def _value(loaded: Loaded, key: str) -> Any:
    section, _, name = key.partition(".")
    if not name:
        rules = [msgspec.to_builtins(rule) for rule in getattr(loaded.settings, section)]
        return [{key: value for key, value in rule.items() if value is not None} for rule in rules]
    value = msgspec.to_builtins(getattr(getattr(loaded.settings, section), name))
    if key == "auth.secret" and value:
        return HIDDEN
    if key == "store.url":
        return without_password(value)
    return value
