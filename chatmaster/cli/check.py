"""`chatctl check` and `chatctl config`: what would run, and where each setting comes from."""

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
    """Every key with its value and origin, in the order of the settings; secrets are not shown."""
    return [{"key": key, "value": visible(loaded.settings, key), "origin": loaded.origins[key]} for key in KEYS]


def compared(loaded: Loaded, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same, with the value that is `running` where a server of that name runs with another one."""
    from chatmaster.cli import control_client
    from chatmaster.config import diff

    salt = secrets.token_hex(diff.SALT_SIZE // 2)
    try:
        answer = control_client.call(loaded.control_socket, "settings", {"salt": salt}, timeout=ANSWER_TIMEOUT)
    except NotRunning:
        return rows
    except (RefusedByMaster, TimedOut) as error:
        click.echo(f"without what the running server says: {error}", err=True)
        return rows
    running = diff.differing(loaded, answer, salt)
    return [{**row, "running": running[row["key"]]} if row["key"] in running else row for row in rows]


def with_program(loaded: Loaded) -> Loaded:
    """The same with what the program declares, where it can be asked."""
    from chatmaster.config import groups
    from chatmaster.master import app_probe

    try:
        with _printing_to_stderr():
            declared = app_probe.run(loaded.settings)
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
    lines: list[str] = [click.style("# What a start from here would use, and where each value comes from.", dim=True)]
    if others := sum("running" in row for row in rows):
        how_many = "one value" if others == 1 else f"{others} values"
        lines.append(click.style(f"# The server that runs has {how_many} otherwise: see `runs with`.", fg="yellow"))
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
    """What would run, by the application's own word. Raises ApplicationError or ConfigError with what is wrong."""
    from chatmaster.config import groups
    from chatmaster.master import app_probe

    with _printing_to_stderr():
        declared = app_probe.run(loaded.settings).workers
    loaded = loaded.declare(groups.declarations(declared), loaded.settings.server.app)
    made = groups.groups(declared, loaded.settings, loaded.origins)
    return [{"worker": group.name, "listen": list(group.listen), "count": group.count} for group in made]


def try_store(loaded: Loaded) -> str:
    """Try the store that a start would use, and say what it is. Raises StoreUnreachable or StoreUnusable.

    A configured store is asked as a start asks it. The server of the embedded store is not run: one that can read the
    data must be installed.
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
    """What `check` has found, one line a Worker."""
    return "\n".join(
        f"{app}: {row['worker']}: {', '.join(row['listen']) or 'no address of its own'}, "
        f"{counted(row['count'], 'worker')}"
        for row in rows
    )
