"""The manual page: it has every command, and `man` takes it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from chatmaster.cli.main import cli
from chatmaster.cli.man_page import every_command, render


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_takes_the_page_and_shows_every_command() -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-rLL=200n"], input=render(cli), capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_names_every_command_option_and_exit_code() -> None:
    page = render(cli).replace("\\-", "-")
    assert [path for path, _ in every_command(cli) if f".SS chatctl {' '.join(path)} " not in page] == []
    options = {name for _, command in every_command(cli) for option in command.params for name in option.opts}
    assert [name for name in options if name.startswith("--") and name not in page] == []
    assert ".TP\n7\nchatctl ran out of time." in page
