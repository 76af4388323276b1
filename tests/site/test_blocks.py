"""Every block of code in the documents is checked, and those of the pages below are carried out as a reader would."""

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
import pytest

from chatmaster.cli.main import cli
from tests.site.blocks import Block, blocks, commands, documents
from tests.site.performing import Performance

# The documents whose blocks are carried out.
PERFORMED = [
    "README.md",
    "etc/doc/api.md",
    "etc/doc/development.md",
    "etc/doc/handshake.md",
    "etc/doc/http.md",
    "etc/doc/login.md",
    "etc/doc/program.md",
    "etc/doc/trouble.md",
]
_CHATCTL = re.compile(r"(?:^|[\s;&|(/])chatctl\s+(.*)$")
_CARRIED_OUT = ("console", "sh", "bash", "python", "js", "javascript")


@pytest.mark.parametrize("document", PERFORMED)
def test_a_reader_can_do_what_a_document_shows(document: str) -> None:
    node = shutil.which("node")
    with Performance() as performance:
        for block in blocks(document):
            if block.language in ("js", "javascript") and node is None:
                continue
            if block.language in _CARRIED_OUT and not block.skipped:
                performance.perform(block)


@pytest.mark.parametrize("document", documents())
def test_the_blocks_of_a_document_say_what_exists(document: str, tmp_path: Path) -> None:
    for block in blocks(document):
        try:
            check(block, tmp_path)
        except Exception as error:
            pytest.fail(f"{block.place}: {error!r}")


def test_a_block_that_is_skipped_says_why() -> None:
    marked = [block for document in documents() for block in blocks(document) if block.mark]
    assert [block.place for block in marked if block.skipped and not re.match(r"skip, \w+", block.mark)] == []
    assert [block.place for block in marked if not block.skipped and block.mark != "goes on"] == []


@pytest.mark.parametrize(
    "language, text, fault",
    [
        ("python", "from chatmaster import Wrker\n", "Wrker"),
        ("python", "def f(:\n", "SyntaxError"),
        ("console", "$ bin/chatctl relaod\n", "relaod"),
        ("console", "$ bin/chatctl start --damon\n", "--damon"),
        ("toml", "[server\n", "TOMLDecodeError"),
        ("json", "{'a': 1}", "JSONDecodeError"),
    ],
)
def test_a_block_that_is_wrong_is_found(language: str, text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(Exception) as found:
        check(Block("a.md", 1, language, text), tmp_path)
    assert fault in repr(found.value)


# ---- what can be seen without a server ---------------------------------------------------------------------


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
