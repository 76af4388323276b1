"""What the old worker decides while it hands connections over. Pure: what happened comes in, actions go out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class SendGo:
    """Tell the other side that these are its own, then close our copies."""

    batch: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SendAbort:
    """Ask for the batch back."""

    batch: int


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Go on serving these ourselves, from the noted positions."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskKill:
    """Ask the master to end the other side: it does not answer, and only its death frees what it may hold."""


Action = SendGo | SendAbort | TakeBack | AskKill


class Stage(Enum):
    """Where a batch is."""

    OFFERED = auto()
    ABORTING = auto()


@dataclass(slots=True)
class SenderState:
    """The batches that are out, and what each answer means."""

    out: dict[int, tuple[Stage, tuple[str, ...]]] = field(default_factory=dict)
    kill_asked: bool = False

    def on_offered(self, batch: int, ids: tuple[str, ...]) -> None:
        """A batch was sent: until its answer nobody touches its connections."""
        self.out[batch] = (Stage.OFFERED, ids)

    def on_held(self, batch: int, ids: tuple[str, ...]) -> list[Action]:
        """The other side holds `ids`; the rest was refused and is ours again."""
        stage, offered = self.out.get(batch, (Stage.ABORTING, ()))
        if stage is not Stage.OFFERED:
            return []  # it crossed our Abort; Released follows
        del self.out[batch]
        held = set(ids)
        refused = tuple(one for one in offered if one not in held)
        gone = tuple(one for one in offered if one in held)
        actions: list[Action] = [SendGo(batch, gone)] if gone else []
        return [*actions, TakeBack(refused)] if refused else actions

    def on_released(self, batch: int) -> list[Action]:
        """The other side let go of a batch that we asked back."""
        stage, ids = self.out.get(batch, (Stage.OFFERED, ()))
        if stage is not Stage.ABORTING:
            return []
        del self.out[batch]
        return [TakeBack(ids)]

    def on_undelivered(self, batch: int, ids: tuple[str, ...]) -> None:
        """Our Go cannot have arrived: the other side was gone before. What it held is ours once it is reaped."""
        self.out[batch] = (Stage.ABORTING, ids)

    def on_timeout(self, batch: int) -> list[Action]:
        """No answer by the deadline: ask for the batch back."""
        if batch not in self.out or self.out[batch][0] is not Stage.OFFERED:
            return []
        self.out[batch] = (Stage.ABORTING, self.out[batch][1])
        return [SendAbort(batch)]

    def on_silence(self) -> list[Action]:
        """Not even an Abort was answered: only the master can end this."""
        if self.kill_asked or not self.out:
            return []
        self.kill_asked = True
        return [AskKill()]

    def on_receiver_reaped(self) -> list[Action]:
        """The master has waited for the other side: what was never given away is ours for certain."""
        ids = tuple(one for _, batch in self.out.values() for one in batch)
        self.out.clear()
        return [TakeBack(ids)] if ids else []
