"""What `import workers` gives a program, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import workers
from chatmaster.contract import ExitCode
from tests.support.server import ROOT

LIST_MODULES = "import sys, workers; print(*sys.modules)"


def test_importing_workers_loads_neither_the_chat_nor_redis_nor_the_server() -> None:
    found = subprocess.run([sys.executable, "-c", LIST_MODULES], capture_output=True, text=True, check=True)
    modules = found.stdout.split()
    unwanted = ("redis", "workers.chat", "workers.gateway", "workers.presence", "workers.registry", "workers.rooms")
    assert "workers.worker" in modules
    assert not [name for name in modules if name.startswith(unwanted)]


def test_every_public_name_can_be_imported_and_any_other_cannot() -> None:
    for name in workers.__all__:
        assert getattr(workers, name).__name__ == name
    assert issubclass(workers.InstanceNotRunning, workers.GatewayError)
    with pytest.raises(AttributeError, match="no attribute 'Gatway'"):
        _ = workers.Gatway


def test_chatmaster_has_the_same_names_and_imports_them_when_they_are_used() -> None:
    import chatmaster
    import workers.chat

    assert {name for name in chatmaster.__all__ if name not in ("Chat", "Refuse")} == set(workers.__all__)
    for name in chatmaster.__all__:
        assert getattr(chatmaster, name) is getattr(workers if hasattr(workers, name) else workers.chat, name)
    with pytest.raises(AttributeError, match="no attribute 'Wroker'"):
        _ = chatmaster.Wroker
    code = "import sys, chatmaster.cli.main; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in found.stdout.split() if name.startswith("workers")]


@pytest.mark.parametrize("foreign", ["workers/__init__.py", "workers.py"])
def test_a_foreign_package_of_that_name_is_named(tmp_path: Path, foreign: str) -> None:
    (tmp_path / foreign).parent.mkdir(exist_ok=True)
    (tmp_path / foreign).write_text("raise SystemExit('foreign code ran')\n")
    (tmp_path / "app.py").write_text("from chatmaster import Worker\n")
    place = str(tmp_path / foreign.removesuffix("/__init__.py"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "app.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: chatmaster needs its own package 'workers'")
    assert place in last
    assert "Rename" in last
    environment["PYTHONPATH"] = f"{tmp_path}:{ROOT}"
    start = [sys.executable, "-P", "-m", "chatmaster", "--state-dir", str(tmp_path / "state"), "start"]
    done = subprocess.run(start, env=environment, capture_output=True, text=True)
    assert done.returncode == ExitCode.FAILED
    assert place in done.stderr
    assert "Traceback" not in done.stderr
