"""`chatctl check` and `chatctl config`: what a start would run, and the origin of each setting."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from chatmaster.cli.instance import ANSWER_TIMEOUT
from chatmaster.config.formatting import toml, visible, without_password
from chatmaster.config.loader import DEFAULT, KEYS, Loaded
from chatmaster.errors import ApplicationError, NotRunning, RefusedByMaster, TimedOut
from chatmaster.plural import counted


def effective(loaded: Loaded) -> list[dict[str, Any]]:
    """Every key with its value and origin, in the order of the settings, without secrets."""
    return [{"key": key, "value": visible(loaded.settings, key), "origin": loaded.origins[key]} for key in KEYS]


def compared(loaded: Loaded, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add `running` to each row whose value differs in the running server of that name."""
    from chatmaster.cli import control_client
    from chatmaster.config import diff

    salt = secrets.token_hex(diff.SALT_SIZE // 2)
    try:
        answer = control_client.call(loaded.control_socket, "settings", {"salt": salt}, timeout=ANSWER_TIMEOUT)
    except NotRunning:
        return rows
    except (RefusedByMaster, TimedOut) as error:
        click.echo(f"the running server is not compared: {error}", err=True)
        return rows
    running = diff.differing(loaded, answer, salt)
    return [{**row, "running": running[row["key"]]} if row["key"] in running else row for row in rows]


def with_program(loaded: Loaded) -> Loaded:
    """The configuration with what the program declares; a program that cannot be loaded is reported on stderr."""
    from chatmaster.config import groups
    from chatmaster.master import app_probe

    try:
        with _printing_to_stderr():
            declared = app_probe.run(loaded.settings)
    except ApplicationError as error:
        click.echo(f"the declarations of the program are missing: {error}", err=True)
        return loaded
    return loaded.declare(groups.declarations(declared.workers), loaded.settings.server.app)


@contextmanager
def _printing_to_stderr() -> Iterator[None]:
    """Redirect what a program prints during its import to stderr."""
    sys.stdout.flush()
    before = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


def render(rows: list[dict[str, Any]]) -> str:
    """The configuration as valid TOML, each value with its origin in a comment."""
    lines: list[str] = [click.style("# The settings that a start from here would use, each with its origin.", dim=True)]
    if others := sum("running" in row for row in rows):
        how_many = counted(others, "value that differs", several="values that differ")
        lines.append(click.style(f"# The running server uses {how_many}: see `runs with`.", fg="yellow"))
    section = ""
    shown = [(row["key"].rpartition("."), toml(row["value"]), row["origin"], row) for row in rows]
    width = max((len(f"{key} = {value}") for (_, _, key), value, _, _ in shown if len(value) < 50), default=0)
    # `rooms` has no section, and in TOML such a key must come before every table.
    for (table, _, key), value, origin, row in sorted(shown, key=lambda one: one[0][0] != ""):
        if table != section:
            section = table
            lines += ["", click.style(f"[{table}]", bold=True)]
        assignment = f"{key} = {value}".ljust(width)
        comment = click.style(f"# {origin}", dim=True) if origin == DEFAULT else click.style(f"# {origin}", fg="cyan")
        lines.append(f"{assignment}  {comment}")
        if "running" in row:
            lines.append(click.style(f"# runs with {key} = {toml(row['running'])}", fg="yellow"))
    return "\n".join(lines)


def check(loaded: Loaded) -> list[dict[str, Any]]:
    """The Workers that a start would run. Raises ApplicationError or ConfigError."""
    from chatmaster.config import groups
    from chatmaster.master import app_probe

    with _printing_to_stderr():
        declared = app_probe.run(loaded.settings).workers
    loaded = loaded.declare(groups.declarations(declared), loaded.settings.server.app)
    made = groups.groups(declared, loaded.settings, loaded.origins)
    return [{"worker": group.name, "listen": list(group.listen), "count": group.count} for group in made]


def try_store(loaded: Loaded) -> str:
    """Try the store that a start would use and describe it. Raises StoreUnreachable or StoreUnusable.

    A configured store gets the trial of a start. For the embedded store a server that can read the data must be
    installed; that server is not started.
    """
    settings = loaded.settings
    if settings.store.url == "embedded":
        from chatmaster.store import binary

        program = binary.find_program()
        binary.check_marker(loaded.store_dir, program)
        return f"good (embedded, {program}, {program.path})"
    from chatmaster.store import remote

    facts = remote.inspect(settings.store.url, settings.store.timeout, settings.master.name)
    return f"good ({facts.program}, {without_password(settings.store.url)})"


def render_program(app: str, rows: list[dict[str, Any]]) -> str:
    """The result of `check`, one line for each Worker."""
    return "\n".join(
        f"{app}: {row['worker']}: {', '.join(row['listen']) or 'no address'}, {counted(row['count'], 'worker')}"
        for row in rows
    )
