"""The last entry of each room that this worker has acknowledged of late, in the store's own words. Pure.

Theory of operation. A replica that becomes master may lack the end of what the last one had acknowledged, and an old
master that took messages while another had its place throws them away. What is lost is always the end of a line, so
that a room has lost something acknowledged exactly if it has lost the last that was. Who received such an entry has a
position that shows the loss (`recovery.py`); who has only an answer has none, nor has anybody to whom it was never
delivered, because the worker's subscription had gone to the other store already. So the worker that answered remembers
the place, and asks for it when the store may have changed (`losses.py`).

A place is known for `KEEP` seconds at least: longer than any failover takes. Where more rooms are written to, the rooms
written to first are forgotten.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from workers.bus.port import Placed, Position

KEEP: Final = 300.0  # seconds
ROOMS: Final = 20_000  # in one of two generations


class AckedEntry(Struct, frozen=True, gc=False):
    """A room's entry, and when the worker learned that the store has it (monotonic seconds)."""

    room: str
    epoch: str
    offset: int
    at: float

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.offset)


class Acknowledged:
    """The places, in two generations; `turn` is called every KEEP seconds."""

    __slots__ = ("_old", "_superseded", "_young")

    def __init__(self) -> None:
        # Each with the time of its answer: this much is done for every answer of the store, and no more.
        self._young: dict[str, tuple[Placed, float]] = {}
        self._old: dict[str, tuple[Placed, float]] = {}
        self._superseded: list[AckedEntry] = []  # the last of an epoch, where another has begun

    def placed(self, room: str, last: Placed, now: float) -> None:
        """The store has acknowledged an entry. A duplicate is of no account: another answer said the same before."""
        if last.duplicate:
            return
        known = self._young.get(room)
        if known is None:
            if len(self._young) >= ROOMS:
                self.turn()
        elif known[0].epoch != last.epoch and len(self._superseded) < ROOMS:
            self._superseded.append(_entry(room, *known))
        self._young[room] = last, now

    def turn(self) -> None:
        """Forget what was acknowledged before the last turn."""
        self._young, self._old = {}, self._young

    def answers(self) -> list[AckedEntry]:
        """All that is to be asked for."""
        return [
            *self._superseded,
            *[_entry(room, *known) for some in (self._old, self._young) for room, known in some.items()],
        ]

    def noted(self, answer: AckedEntry) -> None:
        """It is lost, and noted as that."""
        for some in (self._young, self._old):
            known = some.get(answer.room)
            if known is not None and _entry(answer.room, *known) == answer:
                del some[answer.room]

    def confirmed(self, answers: list[AckedEntry]) -> None:
        """These were there, or are noted as lost: what a room was acknowledged since stands for them."""
        done = set(answers)
        self._superseded = [one for one in self._superseded if one not in done]


def _entry(room: str, last: Placed, at: float) -> AckedEntry:
    return AckedEntry(room, last.epoch, last.offset, at)
