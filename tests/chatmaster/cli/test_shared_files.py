"""`chatctl config --write` and `chatctl examples` copy what chatmaster carries, and replace nothing unasked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chatmaster.cli import main, shared_files
from chatmaster.config import loader
from chatmaster.settings import Settings
from tests.support.sources import ROOT


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_written_configuration_sets_nothing_and_names_every_key(home: Path) -> None:
    assert main.run(["config", "--write"]) == 0
    file = home / "chatmaster.toml"
    loaded = loader.load(str(file), environ={"HOME": "/"})
    assert {*loaded.origins.values()} == {"default"}
    everything = re.sub(r"^#(?=[a-z])", "", file.read_text(), flags=re.MULTILINE)
    assert everything == (ROOT / "etc/chatmaster.toml").read_text()
    file.write_text(everything)
    loaded = loader.load(str(file), environ={"HOME": "/"})
    assert loaded.settings == Settings()
    assert [key for key, origin in loaded.origins.items() if origin == "default"] == ["rooms"]


def test_a_configuration_that_exists_is_replaced_only_by_force(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / "chatmaster.toml"
    file.write_text("[limits]\nburst = 'not even valid'\n")
    assert main.run(["config", "--write"]) == 1
    assert "chatmaster.toml exists already" in capsys.readouterr().err
    assert file.read_text().startswith("[limits]")
    assert main.run(["config", "--write", "--force"]) == 0
    assert file.read_text() == shared_files.default_configuration()


def test_the_path_may_be_a_folder_or_lie_in_a_new_one(home: Path) -> None:
    (home / "folder").mkdir()
    assert main.run(["config", "--write", "folder"]) == 0
    assert main.run(["config", "--write", "new/one/mine.toml"]) == 0
    assert (home / "folder/chatmaster.toml").read_text() == (home / "new/one/mine.toml").read_text()


def test_a_dangling_link_counts_as_existing(home: Path) -> None:
    (home / "chatmaster.toml").symlink_to("nowhere")
    assert main.run(["config", "--write"]) == 1
    assert not (home / "nowhere").exists()


@pytest.mark.parametrize("arguments", [["config", "--force"], ["examples", "--force"]], ids=" ".join)
def test_force_alone_is_a_mistake(home: Path, arguments: list[str]) -> None:
    assert main.run(arguments) == 2


def test_the_list_has_programs_units_proxies_and_documents(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["examples", "--json"]) == 0
    rows = {row["file"]: row["about"] for row in json.loads(capsys.readouterr().out)}
    assert {f"examples/{path.name}" for path in (ROOT / "etc/examples").glob("*.py")} <= {*rows}
    assert {"systemd/chatmaster.service", "supervisord.conf", "proxy/nginx.conf", "doc/protocol.md"} <= {*rows}
    assert all(rows.values()), "a file without a first line"
    sentences = {file: about for file, about in rows.items() if not file.startswith("doc/")}
    assert all(about[:1].isalpha() and " " in about for about in sentences.values()), sentences
    assert rows["examples/clock.py"] == "A clock: every connection receives the time once a second"
    assert main.run(["examples"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(rows)


def test_the_copies_are_what_is_listed_and_nothing_is_replaced(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "mine/examples").mkdir(parents=True)
    (home / "mine/examples/echo.py").write_text("mine")
    assert main.run(["examples", "mine"]) == 1
    assert "mine/examples/echo.py exists already" in capsys.readouterr().err
    assert [path for path in (home / "mine").rglob("*") if path.is_file()] == [home / "mine/examples/echo.py"]
    assert main.run(["examples", "mine", "--force"]) == 0
    copies = {str(path.relative_to(home / "mine")) for path in (home / "mine").rglob("*") if path.is_file()}
    assert copies == {row.file for row in shared_files.examples()}
    assert all((home / "mine" / copy).read_bytes() == (ROOT / "etc" / copy).read_bytes() for copy in copies)
