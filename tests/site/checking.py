"""What can be seen of a block of code without a server: syntax, names that are imported, commands and their options."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import click

from chatmaster.cli.main import cli
from tests.site.blocks import Block, commands

_CHATCTL = re.compile(r"(?:^|[\s;&|(/])chatctl\s+(.*)$")


def check(block: Block, folder: Path) -> None:
    """Check what a block says. Raises what is wrong with it."""
    if block.language == "python":
        check_python(block.text)
    elif block.language in ("console", "sh", "bash"):
        for line in commands(block):
            check_command(line)
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language in ("js", "javascript") and shutil.which("node"):
        (folder / "block.mjs").write_text(block.text)
        subprocess.run(["node", "--check", folder / "block.mjs"], check=True, capture_output=True, timeout=20)


def check_python(text: str) -> None:
    """The text is Python, and what it imports of ours exists."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("chatmaster", "workers"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                getattr(module, alias.name)


def check_command(line: str) -> None:
    """The command of chatctl, and its options, exist."""
    found = _CHATCTL.search(line.split("  #")[0])
    if found is None or "chatctl -" in line.replace("chatctl --", ""):
        return
    words = shlex.split(re.split(r"[;&|)>]", found[1])[0], comments=True)
    command: click.Command = cli
    path = []
    while isinstance(command, click.Group) and words:
        while words and words[0].startswith("--") and len(words) > 1 and command is cli:
            words = words[2:] if words[0] in ("--config", "--name", "--state-dir") else words[1:]
        if not words:
            return
        path.append(words[0])
        assert words[0] in command.commands, f"chatctl has no command {' '.join(path)}"
        command, words = command.commands[words[0]], words[1:]
    options = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h", "-1"}
    given = {word.split("=")[0] for word in words if word.startswith("--")}
    assert given <= options, f"chatctl {' '.join(path)} has no option {sorted(given - options)}"
