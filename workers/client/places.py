"""The client's position in each room's log, and whether the next entry may be shown. Pure.

The server promises offsets without holes, each once, but for `gap` and `reset`. This is the guard that makes it
true for the application whatever happens between: an entry that is known is dropped, and one that comes too early is
a hole, for which the connection is cut and resumed from the last known place. Where the same hole is there again after
that, it is told as a gap: going round for ever would help nobody.
"""

from __future__ import annotations

from enum import Enum

from workers.client.events import Position


class Verdict(Enum):
    """The decision about an entry."""

    SHOW = "show"
    DROP = "drop"
    RESUME = "resume"  # an earlier entry is missing: reconnect with `since`
    SHOW_AFTER_HOLE = "show after hole"  # still missing after a resume


class Place:
    """The position in one room's log; `position` is None until the server has sent the log's top."""

    __slots__ = ("dropped", "hole", "position")

    def __init__(self, position: Position | None = None) -> None:
        self.position = position
        self.hole: int | None = None  # the offset before a hole that was seen once
        self.dropped = 0  # entries that came twice

    def entered(self, epoch: str, top: int) -> None:
        """The room is joined. A client that sent a position keeps it: the missed entries follow."""
        if self.position is None:
            self.position = Position(epoch, top)

    def judge(self, epoch: str, first: int, last: int = 0) -> Verdict:
        """Move on to the entry at `first`, or over the gap from `first` to `last`, if that is what comes next."""
        last = max(first, last)
        if self.position is None:  # impossible by the protocol: `joined` comes first
            self.position = Position(epoch, first - 1)
        known = self.position.offset
        if last <= known:
            self.dropped += 1
            return Verdict.DROP
        if first > known + 1 and self.hole != known:
            self.hole = known
            return Verdict.RESUME
        verdict = Verdict.SHOW if first <= known + 1 else Verdict.SHOW_AFTER_HOLE
        self.moved(epoch, last)
        return verdict

    def moved(self, epoch: str, offset: int) -> None:
        """Set the position: the next entry is `offset` + 1."""
        self.position = Position(epoch, offset)
        self.hole = None
