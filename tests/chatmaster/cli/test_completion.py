"""Completion: a real shell completes commands, and one command installs it where the shell looks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chatmaster.cli.completion import SHELLS
from tests.support.sources import ROOT


def chatctl(home: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {
        key: value for key, value in os.environ.items() if key not in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR")
    }
    return subprocess.run(
        [sys.executable, "-P", "-m", "chatmaster", *words],
        env={**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), **more}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_a_command_after_the_installation(tmp_path: Path) -> None:
    done = chatctl(tmp_path, "completion", "--install", SHELL="/bin/bash")
    assert done.returncode == 0, done.stderr
    file = tmp_path / ".local/share/bash-completion/completions/chatctl"
    assert f"written: {file}" in done.stderr
    program = tmp_path / "chatctl"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -P -m chatmaster "$@"\n')
    program.chmod(0o755)
    words = f'. {file}; COMP_WORDS=(chatctl rel) COMP_CWORD=1; _chatctl_completion {program}; echo "${{COMPREPLY[@]}}"'
    shown = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=30)
    assert shown.stdout.split() == ["reload"], shown.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_its_own_file(tmp_path: Path, shell: str) -> None:
    printed = chatctl(tmp_path, "completion", shell)
    assert "_CHATCTL_COMPLETE" in printed.stdout and not list(tmp_path.iterdir())
    assert chatctl(tmp_path, "completion", shell, "--install").returncode == 0
    (file,) = (path for path in tmp_path.rglob("*chatctl*") if path.is_file())
    assert file.read_text().strip() == printed.stdout.strip()


def test_a_shell_that_is_not_known_is_a_wrong_usage(tmp_path: Path) -> None:
    done = chatctl(tmp_path, "completion", SHELL="/bin/tcsh")
    assert done.returncode == 2 and "tcsh is not known: name one of bash, zsh, fish" in done.stderr
