"""The sender's decisions during a handover. Pure: events come in, actions go out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class SendGo:
    """Give these connections away for good, then close the sender's copies."""

    batch: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SendAbort:
    """Ask for the batch back."""

    batch: int


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Continue to serve these connections, from the noted positions."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskKill:
    """Ask the master to end the receiver: it does not answer, and only its death frees what it may hold."""


Action = SendGo | SendAbort | TakeBack | AskKill


class Stage(Enum):
    """The state of a batch that is out."""

    OFFERED = auto()
    ABORTING = auto()


@dataclass(slots=True)
class SenderState:
    """The batches that are out, and what follows from each answer."""

    out: dict[int, tuple[Stage, tuple[str, ...]]] = field(default_factory=dict)
    kill_asked: bool = False

    def on_offered(self, batch: int, ids: tuple[str, ...]) -> None:
        """A batch was sent: until the answer neither side touches its connections."""
        self.out[batch] = (Stage.OFFERED, ids)

    def on_held(self, batch: int, ids: tuple[str, ...]) -> list[Action]:
        """The receiver holds `ids`; the rest was refused and is taken back."""
        stage, offered = self.out.get(batch, (Stage.ABORTING, ()))
        if stage is not Stage.OFFERED:
            return []  # it crossed the Abort; Released follows
        del self.out[batch]
        held = set(ids)
        refused = tuple(one for one in offered if one not in held)
        gone = tuple(one for one in offered if one in held)
        actions: list[Action] = [SendGo(batch, gone)] if gone else []
        return [*actions, TakeBack(refused)] if refused else actions

    def on_released(self, batch: int) -> list[Action]:
        """The receiver closed its copies of an aborted batch."""
        stage, ids = self.out.get(batch, (Stage.OFFERED, ()))
        if stage is not Stage.ABORTING:
            return []
        del self.out[batch]
        return [TakeBack(ids)]

    def on_undelivered(self, batch: int, ids: tuple[str, ...]) -> None:
        """The Go cannot have arrived: the receiver was gone before. Its death gives the connections back."""
        self.out[batch] = (Stage.ABORTING, ids)

    def on_timeout(self, batch: int) -> list[Action]:
        """No answer by the deadline: abort the batch."""
        if batch not in self.out or self.out[batch][0] is not Stage.OFFERED:
            return []
        self.out[batch] = (Stage.ABORTING, self.out[batch][1])
        return [SendAbort(batch)]

    def on_silence(self) -> list[Action]:
        """The Abort was not answered either: only the master can end this."""
        if self.kill_asked or not self.out:
            return []
        self.kill_asked = True
        return [AskKill()]

    def on_receiver_reaped(self) -> list[Action]:
        """The receiver is reaped: what was never given away certainly belongs to the sender."""
        ids = tuple(one for _, batch in self.out.values() for one in batch)
        self.out.clear()
        return [TakeBack(ids)] if ids else []
