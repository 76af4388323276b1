"""One thing that `chatctl doctor` looked at: how it is, where it was looked at, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

Level = Literal["good", "warning", "wrong"]

SHELL: Final = "this shell"
SERVER: Final = "the running server"
MACHINE: Final = "this machine"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. Where there is advice, it is a warning or wrong."""

    level: Level
    what: str
    found: str
    advice: str = ""
    where: str = SHELL

    @property
    def is_wrong(self) -> bool:
        """Whether it will hurt, and not only might."""
        return self.level == "wrong"

    def row(self) -> dict[str, Any]:
        """For --json."""
        return {name: getattr(self, name) for name in ("level", "what", "where", "found", "advice")}


def read_number(path: str) -> int | None:
    """What a file of the kernel's says; None: it does not."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
