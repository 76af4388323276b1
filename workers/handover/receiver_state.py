"""What the new worker decides while it takes connections over. Pure: what happened comes in, actions go out."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SendHeld:
    """Say which descriptors arrived."""

    batch: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SendReleased:
    """Say that the batch is let go of."""

    batch: int


@dataclass(frozen=True, slots=True)
class Activate:
    """These are ours now: begin to read and write."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CloseCopies:
    """Close our copies of these without a shutdown: they live on at the other side."""

    ids: tuple[str, ...]


Action = SendHeld | SendReleased | Activate | CloseCopies


@dataclass(slots=True)
class ReceiverState:
    """The batches that are held but not ours yet."""

    holding: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def on_offer(self, batch: int, ids: tuple[str, ...], arrived: int) -> list[Action]:
        """A batch came with so many of its descriptors, in order; what has none is refused."""
        held = ids[:arrived]
        self.holding[batch] = held
        return [SendHeld(batch, held)]

    def on_go(self, batch: int, ids: tuple[str, ...]) -> list[Action]:
        """The other side gave these away for good."""
        held = self.holding.pop(batch, ())
        ours = set(ids)
        kept = tuple(one for one in held if one in ours)
        rest = tuple(one for one in held if one not in ours)
        actions: list[Action] = [Activate(kept)] if kept else []
        return [*actions, CloseCopies(rest)] if rest else actions

    def on_abort(self, batch: int) -> list[Action]:
        """The other side wants the batch back."""
        held = self.holding.pop(batch, ())
        actions: list[Action] = [CloseCopies(held)] if held else []
        return [*actions, SendReleased(batch)]

    def on_sender_reaped(self) -> list[Action]:
        """The other side is dead, and all that it ever said was read before: what is held is ours."""
        ids = tuple(one for held in self.holding.values() for one in held)
        self.holding.clear()
        return [Activate(ids)] if ids else []
