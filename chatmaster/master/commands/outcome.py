"""What the log says of something that was asked of the master and is done: who asked, what came of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_DONE = {"reload": "reloaded", "scale": "scaled", "upgrade": "upgraded"}


@dataclass(frozen=True, slots=True)
class MoveCounts:
    """Connections that workers have given to others since the start, and those that they could not."""

    moved: int = 0
    stayed: int = 0

    def since(self, before: MoveCounts) -> MoveCounts:
        """What has been added."""
        return MoveCounts(self.moved - before.moved, self.stayed - before.stayed)


def asked_by(names: Iterable[str]) -> str:
    """Who asked, each once: `chatctl`, `chatctl and SIGHUP`."""
    return " and ".join(dict.fromkeys(names)) or "somebody who has gone"


def sentence(
    kind: str, who: str, *, workers: int, generation: int, seconds: float, moves: MoveCounts, version: str
) -> str:
    """One line for people who read the log at night."""
    now = f"{workers} worker{'s' * (workers != 1)}"
    now += "" if kind == "scale" else f" of generation {generation}"
    now = f"chatmaster {version}, {now}" if kind == "upgrade" else now
    told = f"{_DONE.get(kind, kind)}, as {who} asked: {now}, after {seconds:.1f} s"
    told += f"; {_connections(moves.moved)} moved to another worker" if moves.moved or moves.stayed else ""
    return told + (f", {moves.stayed} could not and had to connect again" if moves.stayed else "")


def _connections(count: int) -> str:
    return f"{count} connection{'s' * (count != 1)}"
