"""Owns what presence and registry ask of the bus, and where their scripts and keys are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from workers.bus.script import Script, load

Argument = str | bytes | int | float


class Calls(Protocol):
    """The part of the bus that runs other modules' scripts; see `RedisBus`."""

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
        """The same for coroutines. Raises BusError."""

    def channel(self, room: str) -> str:
        """Where what happens in a room is published."""

    def call_read(self, script: Script, script_keys: Sequence[str], args: Sequence[Argument]) -> Awaitable[Any]:
        """Run a script that only reads, beside the commands. Raises BusError."""


def scripts_of(directory: Path, *names: str) -> list[Script]:
    """The scripts of a package, by name."""
    return [load(directory / "scripts" / f"{name}.lua") for name in names]
