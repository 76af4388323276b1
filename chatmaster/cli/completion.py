"""`chatctl completion` and `chatctl man`: what a shell and `man` read about chatctl."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

from chatmaster.errors import UsageError

VARIABLE: Final = "_CHATCTL_COMPLETE"
# Where each shell looks by itself, below the home directory or the variable.
_PLACES: Final = {
    "bash": ("XDG_DATA_HOME", ".local/share", "bash-completion/completions/chatctl"),
    "zsh": ("ZDOTDIR", "", ".zfunc/_chatctl"),
    "fish": ("XDG_CONFIG_HOME", ".config", "fish/completions/chatctl.fish"),
}
SHELLS: Final = tuple(_PLACES)


def commands() -> Iterator[click.Command]:
    """The two commands."""
    yield completion
    yield man


@click.command()
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.option("--install", is_flag=True, help="write the file that the shell reads by itself")
@click.pass_context
def completion(context: click.Context, shell: str | None, install: bool) -> None:
    """Print the completion of chatctl for a SHELL, or install it. Without SHELL, the one that $SHELL names."""
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in _PLACES:
        raise UsageError(f"the shell {name or '($SHELL is not set)'} is not known: name one of {', '.join(SHELLS)}")
    text = script(context.find_root().command, name)
    if not install:
        click.echo(text)
        return
    path = place(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    hint = "; put `fpath+=~/.zfunc; autoload -U compinit; compinit` into ~/.zshrc" if name == "zsh" else ""
    click.echo(f"written: {path}; a new {name} completes chatctl{hint}", err=True)


@click.command()
@click.pass_context
def man(context: click.Context) -> None:
    """Print the manual page; an installed wheel has it for `man chatctl`."""
    from chatmaster.cli import man_page

    root = context.find_root().command
    assert isinstance(root, click.Group)
    click.echo(man_page.render(root), nl=False)


def script(command: click.Command, shell: str) -> str:
    """What the shell reads."""
    kind = get_completion_class(shell)
    assert kind is not None
    text = kind(command, {}, "chatctl", VARIABLE).source()
    return text


def place(shell: str) -> Path:
    """The file that a shell reads by itself."""
    variable, otherwise, file = _PLACES[shell]
    return Path(os.environ.get(variable) or Path.home() / otherwise) / file
