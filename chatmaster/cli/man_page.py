"""The manual page of chatctl in roff, made from the commands themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from chatmaster import __version__
from chatmaster.contract import ExitCode

_EXIT_CODES = {
    ExitCode.DONE: "It is done.",
    ExitCode.FAILED: "It failed, and standard error says why; of status --check and doctor: something is wrong.",
    ExitCode.USAGE: "Wrong usage or configuration.",
    ExitCode.NOT_RUNNING: "The server does not run.",
    ExitCode.ALREADY_RUNNING: "The server runs already.",
    ExitCode.NOT_READY: "The program could not be loaded, or a worker did not get ready.",
    ExitCode.STORE_UNREACHABLE: "The store cannot be reached; at the first start only.",
    ExitCode.TIMED_OUT: "chatctl ran out of time.",
}


def render(cli: click.Group) -> str:
    """The page for section 1."""
    lines = [
        f'.TH CHATCTL 1 "" "chatmaster {__version__}" "User Commands"',
        ".SH NAME",
        r"chatctl \- run and operate a chatmaster, a chat and WebSocket server",
        ".SH SYNOPSIS",
        r".B chatctl",
        r"[\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]",
        ".SH DESCRIPTION",
        *_paragraphs(cli.help or ""),
        ".SH OPTIONS",
        *_options(cli, hidden=True),
        ".SH COMMANDS",
    ]
    for path, command in every_command(cli):
        usage = " ".join(command.collect_usage_pieces(click.Context(command)))
        lines += [f".SS {_escaped(' '.join(('chatctl', *path)))} {_escaped(usage)}", *_paragraphs(command.help or "")]
        lines += _options(command, hidden=False)
    lines += [".SH EXIT STATUS"]
    for code in ExitCode:
        lines += [".TP", str(int(code)), _escaped(_EXIT_CODES[code])]
    lines += [".SH FILES", ".TP", _escaped("./chatmaster.toml, /etc/chatmaster/chatmaster.toml"), "The configuration."]
    lines += [".TP", "~/.local/state/chatmaster", "The state directory: control socket, log and embedded store."]
    return "\n".join(lines) + "\n"


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that is shown, with its words, in the order of the alphabet."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        elif not command.hidden:
            yield (*path, name), command


def _options(command: click.Command, *, hidden: bool) -> list[str]:
    lines = []
    for option in command.params:
        if isinstance(option, click.Option) and option.help and (hidden or not option.hidden):
            names = ", ".join((*option.opts, *option.secondary_opts))
            metavar = f" \\fI{_escaped(option.metavar)}\\fR" if option.metavar else ""
            lines += [".TP", f"\\fB{_escaped(names)}\\fR{metavar}", _escaped(option.help)]
    return lines


def _paragraphs(text: str) -> list[str]:
    """The help; a paragraph that click keeps as it is (\\b) is kept as it is here, too."""
    lines = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        kept = paragraph.removeprefix("\b\n")
        if kept != paragraph:
            lines += [
                ".PP",
                "Examples:",
                ".nf",
                ".RS",
                *(_escaped(line.strip()) for line in kept.splitlines()),
                ".RE",
                ".fi",
            ]
        else:
            lines += [".PP", _escaped(" ".join(paragraph.split()))]
    return lines


def _escaped(text: str) -> str:
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^(?=[.'])", r"\\&", text)
