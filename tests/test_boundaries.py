"""The two packages: the master knows the workers as one string, the workers know a few files of the master."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import ROOT

KNOWN_TO_WORKERS = {
    "chatmaster.contract",
    "chatmaster.settings",
    "chatmaster.stats",
    "chatmaster.store.client",
    "chatmaster.store.refusals",
    "chatmaster.store.url",
}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name their package"
            assert node.module is not None
            yield from (_imported(node.module, alias.name) for alias in node.names)


def _imported(module: str, name: str) -> str:
    """The module behind `from module import name`, whether `name` is a module itself or something in one."""
    inside = (ROOT / module.replace(".", "/") / name).with_suffix(".py")
    return f"{module}.{name}" if inside.exists() or module == "chatmaster" else module


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", files("chatmaster"), ids=str)
def test_the_master_imports_nothing_of_the_workers(path: Path) -> None:
    assert not [name for name in imports_of(path) if name.split(".")[0] == "workers"]


@pytest.mark.parametrize("path", files("workers"), ids=str)
def test_the_workers_import_only_what_is_shared(path: Path) -> None:
    assert {name for name in imports_of(path) if name.split(".")[0] == "chatmaster"} <= KNOWN_TO_WORKERS


def test_the_master_has_no_thread_and_no_event_loop() -> None:
    used = {(path.name, name) for path in files("chatmaster") for name in imports_of(path)}
    found = {pair for pair in used if pair[1].split(".")[0] in ("threading", "asyncio", "multiprocessing")}
    # `chatctl bench` is a client; the master never imports it.
    assert {file for file, _ in found if not file.startswith("bench")} == set()
