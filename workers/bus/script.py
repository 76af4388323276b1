"""Loads Lua scripts, one from each file, with the shared parts in front, as a single store and as a cluster run them;
and the protocol that runs the scripts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import lru_cache
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


@lru_cache
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


# ---- a cluster ---------------------------------------------------------------------------------------

# Redis 7 sends what SPUBLISH publishes to the nodes of the shard alone. Before that PUBLISH reaches all nodes. Another
# error than that of an unknown command is the script's: with PUBLISH instead, which nobody hears there, it would hide.
_PUBLISH = """local function publish_in_shard(channel, data)
  local sent = redis.pcall('SPUBLISH', channel, data)
  if type(sent) ~= 'table' or not sent.err then return sent end
  if string.find(string.lower(sent.err), 'unknown .* ?command') then return redis.call('PUBLISH', channel, data) end
  return redis.call('SPUBLISH', channel, data)
end
"""


def sharded(script: Script) -> Script:
    """The script with its publications in the shard; the script itself where it publishes nothing."""
    source = script.source.replace("redis.call('PUBLISH', ", "publish_in_shard(")
    return script if source == script.source else Script(script.name, _PUBLISH + source)


class ScriptTable:
    """All scripts that every node has to know."""

    def __init__(self) -> None:
        self._known: dict[str, Script] = {}  # by the hash of the script as a single store runs it

    def __iter__(self) -> Iterator[Script]:
        return iter(list(self._known.values()))

    def add(self, script: Script) -> tuple[Script, bool]:
        """The script to run in place of this one, and whether the nodes do not know it yet."""
        known = self._known.get(script.sha)
        if known is not None:
            return known, False
        made = self._known[script.sha] = sharded(script)
        return made, True
