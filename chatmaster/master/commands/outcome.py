"""What came of the operator's commands, for the log and for `chatctl status`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chatmaster.plural import counted


@dataclass(frozen=True, slots=True)
class MoveCounts:
    """Connections that workers have handed to others since the start, and those that they could not."""

    moved: int = 0
    stayed: int = 0

    def since(self, before: MoveCounts) -> MoveCounts:
        """Return what has been added since `before`."""
        return MoveCounts(self.moved - before.moved, self.stayed - before.stayed)


@dataclass(frozen=True, slots=True)
class CommandFailure:
    """A command that failed, so that the server runs on as before."""

    kind: str
    reason: str
    at: float  # monotonic


def asked_by(names: Iterable[str]) -> str:
    """Name who asked, each once: `chatctl`, `chatctl and SIGHUP`."""
    return " and ".join(dict.fromkeys(names)) or "a client that has gone"


def sentence(
    past: str,
    who: str,
    *,
    workers: int,
    seconds: float,
    moves: MoveCounts,
    generation: int | None = None,
    version: str = "",
) -> str:
    """Return the log line of a command that succeeded; `past` is its past participle.

    `generation` and `version` are those of the workers and of the master, where the command has changed them.
    """
    now = counted(workers, "worker")
    now += "" if generation is None else f" of generation {generation}"
    now = f"chatmaster {version}, {now}" if version else now
    text = f"{past}, as {who} asked: {now}, after {seconds:.1f} s"
    text += f"; {counted(moves.moved, 'connection')} moved to another worker" if moves.moved or moves.stayed else ""
    return text + (f", {moves.stayed} could not and had to connect again" if moves.stayed else "")
