"""Rules of rooms that `check` knows, and those that it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatmaster.config import loader
from chatmaster.errors import ConfigError


def load(tmp_path: Path, rule: str) -> loader.Loaded:
    (tmp_path / "c.toml").write_text(f'[[rooms]]\nmatch = "a-*"\nsay = ["*", "{rule}"]\n')
    return loader.load(str(tmp_path / "c.toml"), environ={"HOME": "/"}, directory=tmp_path)


@pytest.mark.parametrize(
    "rule", ["*", "role:moderator", "role:user", "role:Admin", "ada", "guest:*", "team:ada", "u%3A1", "müller*"]
)
def test_known_rules_are_allowed(tmp_path: Path, rule: str) -> None:
    assert load(tmp_path, rule).settings.rooms[0].say == ("*", rule)


@pytest.mark.parametrize(
    "rule", ["rol:moderator", "Role:admin", "roles:x", "role:mod", "role:", "group:moderator", "role: admin", "a b", ""]
)
def test_unknown_rules_are_refused_with_their_place(tmp_path: Path, rule: str) -> None:
    with pytest.raises(ConfigError, match=r"rooms\[0\]\.say\[1\].*allowed: \* \(everybody\), role:user"):
        load(tmp_path, rule)
