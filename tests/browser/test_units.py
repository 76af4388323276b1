"""The page's pure modules by Node's own test runner: what needs no DOM."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).with_name("unit")
PAGE = Path(__file__).resolve().parents[2] / "workers/http/page"


@pytest.mark.parametrize("path", sorted(UNIT.glob("*.test.js")), ids=lambda path: path.name)
def test_unit(tmp_path: Path, path: Path) -> None:
    """A copy, with the word for Node that these are modules: the page's own files need none."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    for source in ("app", "chat"):
        shutil.copytree(PAGE / source, tmp_path / source)
    shutil.copytree(UNIT, tmp_path / "unit")
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))
    command = [node, "--test", f"unit/{path.name}"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
