"""The receiver's decisions during a handover. Pure: events come in, actions go out."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SendHeld:
    """Report which descriptors arrived."""

    batch: int
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SendReleased:
    """Report that the copies of the batch are closed."""

    batch: int


@dataclass(frozen=True, slots=True)
class Activate:
    """Start to serve these connections: they are the receiver's now."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CloseCopies:
    """Close the copies of these descriptors without a shutdown: the sender still serves the connections."""

    ids: tuple[str, ...]


Action = SendHeld | SendReleased | Activate | CloseCopies


@dataclass(slots=True)
class ReceiverState:
    """The batches that are held and not yet the receiver's."""

    holding: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def on_offer(self, batch: int, ids: tuple[str, ...], arrived: int) -> list[Action]:
        """A batch arrived with its first `arrived` descriptors; connections without one are refused."""
        held = ids[:arrived]
        self.holding[batch] = held
        return [SendHeld(batch, held)]

    def on_go(self, batch: int, ids: tuple[str, ...]) -> list[Action]:
        """The sender gave these connections away for good."""
        held = self.holding.pop(batch, ())
        ours = set(ids)
        kept = tuple(one for one in held if one in ours)
        rest = tuple(one for one in held if one not in ours)
        actions: list[Action] = [Activate(kept)] if kept else []
        return [*actions, CloseCopies(rest)] if rest else actions

    def on_abort(self, batch: int) -> list[Action]:
        """The sender wants the batch back."""
        held = self.holding.pop(batch, ())
        actions: list[Action] = [CloseCopies(held)] if held else []
        return [*actions, SendReleased(batch)]

    def on_sender_reaped(self) -> list[Action]:
        """The sender is dead, and all its packets were read before: what is held is the receiver's."""
        ids = tuple(one for held in self.holding.values() for one in held)
        self.holding.clear()
        return [Activate(ids)] if ids else []
