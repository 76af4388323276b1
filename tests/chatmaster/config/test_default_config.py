"""etc/chatmaster.toml is the documentation of the settings, so it must say what is true."""

from __future__ import annotations

import re
from pathlib import Path

from chatmaster.config import loader
from chatmaster.settings import Settings

FILE = Path(__file__).parents[3] / "etc" / "chatmaster.toml"


def test_it_says_every_key_at_its_default():
    loaded = loader.load(str(FILE), environ={"HOME": "/"})
    assert loaded.settings == Settings()
    assert [key for key, origin in loaded.origins.items() if origin == "default"] == ["rooms"]


def test_the_example_of_a_rooms_table_is_right(tmp_path):
    example = re.search(r"# (\[\[rooms\]\]\n(?:# .*\n)+)", FILE.read_text())
    assert example is not None
    file = tmp_path / "rooms.toml"
    file.write_text(example[1].replace("# ", ""))
    (rule,) = loader.load(str(file), environ={"HOME": "/"}).settings.rooms
    assert rule.say == ("role:moderator",)
