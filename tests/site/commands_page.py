"""The page of chatctl's commands, from the commands themselves."""

from __future__ import annotations

import inspect

import click

from chatmaster.cli import man_page
from chatmaster.cli.main import cli
from tests.site.markdown import code, table

_INTRO = """# Commands

`chatctl COMMAND --help` prints what this page shows; it is made from the commands themselves. All of them take the
options of the instance, before or after the command. Those that print facts take `--json`. [Exit codes](codes.md)
are the same for all. Which command helps with which task: [Operating a server](../operating.md).
"""


def render() -> str:
    """The page."""
    parts = [_INTRO, "## Options of the instance\n", _options(cli)]
    for path, command in man_page.every_command(cli):
        context = click.Context(command, info_name="chatctl " + " ".join(path))
        usage = " ".join(command.collect_usage_pieces(context))
        parts += [f"## {' '.join(path)}\n", f"```text\nchatctl {' '.join(path)} {usage}\n```\n"]
        parts += [_prose(command), _options(command)]
    return "\n".join(parts)


def _prose(command: click.Command) -> str:
    """The help; a paragraph that click keeps as it is (\\b) is a block of code."""
    parts = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        kept = paragraph.removeprefix("\b\n")
        parts.append(f"```sh\n{inspect.cleandoc(kept)}\n```" if kept != paragraph else kept.replace("<", "&lt;"))
    return "\n\n".join(parts) + "\n"


def _options(command: click.Command) -> str:
    rows = []
    for option in command.params:
        if isinstance(option, click.Option) and (not option.hidden or command is cli) and option.help:
            names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))
            rows.append((f"{names} {option.metavar or ''}", option.help))
    return table(("option", "meaning"), rows) if rows else ""
