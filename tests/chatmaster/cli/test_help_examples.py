"""Every example of `--help` is a command line that chatctl takes."""

from __future__ import annotations

import json
import shlex

import click
import pytest

from chatmaster.cli.help_examples import EXAMPLES
from chatmaster.cli.main import cli
from workers.verbs.table import TABLE


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_an_example_can_be_typed_and_is_shown(line: str) -> None:
    program, *words = shlex.split(line)
    command: click.Command = cli
    context = cli.make_context(program, list(words))
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
        if isinstance(command, click.Group):
            context = command.make_context(command.name, list(words), parent=context)
        else:
            context = command.make_context(command.name, words, parent=context)
    assert line in (command.help or "")
    if command.name == "call":
        verb = TABLE[context.params["verb"]]
        assert verb.request(**json.loads(context.params["request"]))


def test_the_commands_that_act_have_examples() -> None:
    acting = {
        "say",
        "kick",
        "ban",
        "mute",
        "unban",
        "unmute",
        "bans",
        "mutes",
        "audit",
        "token",
        "rooms",
        "who",
        "call",
    }
    assert acting <= EXAMPLES.keys()
