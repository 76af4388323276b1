"""`chatctl scale`: changes how many workers there are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec

from chatmaster.errors import UsageError
from chatmaster.master.commands.command import CommandContext, OperatorCommand, Requester
from chatmaster.master.exec_state import CommandSnapshot
from chatmaster.policy import events
from chatmaster.runtime import cores


class Scale(OperatorCommand):
    """The command `scale`, SIGTTIN (one worker more) and SIGTTOU (one less)."""

    kind = "scale"
    past = "scaled"

    def __init__(
        self, context: CommandContext, requesters: Sequence[Requester], *, to: int | None, by: int, worker: str
    ) -> None:
        """`to` is the new count; without it the count changes by `by`. `worker` "" is the program's first Worker."""
        super().__init__(context, requesters)
        self._to = to
        self._by = by
        self._worker = worker

    def start(self) -> None:
        counts = self._context.policy.counts
        name = self._worker or next(iter(counts))
        if name not in counts:
            raise UsageError(f"there is no Worker {name!r}: this program has {', '.join(counts)}")
        count = counts[name] + self._by if self._to is None else self._to
        self._context.scaled.add(name)
        total = sum(counts.values()) - counts[name] + count
        self.result = {"worker": name, "workers": total, "cores": dataclasses.asdict(cores.available())}
        self.ask_policy(lambda operation: events.ScaleRequested(operation, name, count))

    def advance(self) -> None:
        self.finish()

    def snapshot(self) -> CommandSnapshot:
        return msgspec.structs.replace(super().snapshot(), to=self._to, by=self._by, worker=self._worker)


def signal_name(by: int) -> str:
    """Name the signal that asks for one worker more or less."""
    return "SIGTTIN" if by > 0 else "SIGTTOU"
