"""Which changes of files reload a server in development mode."""

from __future__ import annotations

from pathlib import Path

import pytest
from watchfiles import Change

from chatmaster.cli import dev
from chatmaster.cli.file_watcher import ProgramFiles, _outermost
from chatmaster.config import loader


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/srv/app.py", True),
        ("/srv/deep/rules.py", True),
        ("/srv/chatmaster.toml", True),
        ("/srv/other.toml", False),
        ("/srv/data.json", False),  # a program may write it
        ("/srv/.venv/lib/x.py", False),
        ("/srv/__pycache__/app.py", False),
        ("/srv/node_modules/x.py", False),
        ("/srv/.app.py.swp", False),
    ],
)
def test_python_files_and_the_configuration_count(path: str, counts: bool) -> None:
    assert ProgramFiles(["/srv/chatmaster.toml"])(Change.modified, path) is counts


def test_a_folder_below_another_one_is_not_watched_twice() -> None:
    assert _outermost(["/srv/app", "/srv", "/srv", "/etc"]) == ["/srv", "/etc"]


def test_the_program_its_libraries_and_the_configuration_are_watched(tmp_path: Path) -> None:
    for name in ("site", "lib", "etc"):
        (tmp_path / name).mkdir()
    (tmp_path / "site" / "app.py").write_text("")
    (tmp_path / "current.py").symlink_to(tmp_path / "site" / "app.py")
    (tmp_path / "etc" / "chat.toml").write_text("")
    loaded = loader.load(
        str(tmp_path / "etc" / "chat.toml"),
        flags={"server.app": "current.py"},
        environ={"HOME": "/"},
        directory=tmp_path,
    )
    found = dev.watched(loaded, {"PYTHONPATH": f"lib:{tmp_path}/missing:"})
    assert found == [str(tmp_path / "site"), str(tmp_path / "lib"), str(tmp_path / "etc" / "chat.toml")]


def test_what_set_names_stays() -> None:
    assert dev.flags(["log.format=json"]).keys() == dev.flags([]).keys() - {"log.format"}
