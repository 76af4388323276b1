"""Loads Lua scripts, one from each file, with the shared parts in front; and the protocol that runs the scripts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

Argument = str | bytes | int | float

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


def scripts_of(directory: Path, *names: str) -> list[Script]:
    """The scripts of a package, by name."""
    return [load(directory / "scripts" / f"{name}.lua") for name in names]


class ScriptRunner(Protocol):
    """The part of the bus that runs the scripts of other packages; see `RedisBus`."""

    def script(self, script: Script) -> Script:
        """Register a script."""

    def send(
        self,
        script: Script,
        script_keys: Sequence[str],
        args: Sequence[Argument],
        done: Callable[[Any], None],
        *,
        again: bool,
    ) -> None:
        """Run a script; `done` gets the reply or a BusError. `again`: running it twice does no harm."""

    async def call(self, script: Script, script_keys: Sequence[str], args: Sequence[Argument], *, again: bool) -> Any:
        """As `send`, for coroutines. Raises BusError."""

    def channel(self, room: str) -> str:
        """The channel of a room's messages and notes."""

    def split(self, script_keys: Sequence[str]) -> list[list[int]]:
        """The places of keys of many rooms, in groups that one script may take."""

    @property
    def losses(self) -> int:
        """Grows where a part of the store may have forgotten what it had taken, and the rest does not know."""

    def call_read(self, script: Script, script_keys: Sequence[str], args: Sequence[Argument]) -> Awaitable[Any]:
        """Run a script that only reads, beside the commands. Raises BusError."""
