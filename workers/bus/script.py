"""Owns how a Lua script is loaded: a file each, with its parts put in front of it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_USES = re.compile(r"^-- uses (\S+\.lua)$", re.MULTILINE)


class Script:
    """A script that the store runs by its hash."""

    __slots__ = ("name", "sha", "source")

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def load(path: Path) -> Script:
    """Read `path` and every file beside it that a line `-- uses NAME.lua` names. Raises OSError."""
    source = path.read_text("utf-8")
    parts = [(path.parent / used).read_text("utf-8") for used in _USES.findall(source)]
    return Script(path.stem, "\n".join([*parts, source]))


def load_own(name: str) -> Script:
    """One of the bus's own scripts."""
    return load(Path(__file__).parent / "scripts" / f"{name}.lua")
