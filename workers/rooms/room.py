"""Owns one room on a worker: its members, the batch for them, and that membership changes between batches only.

A member is LIVE, then it is in one of two sets that are written to without looking at anybody, or it is LAGGING, then
it has a cursor (`slow_consumer.py`) and no queue.

Two places in the log matter. `epoch` and `offset` say how far the worker has come: the ring ends there, and so does the
batch. `taken_…` says what the LIVE members were sent, or are being sent: it is the place before the batch that is
gathered now. Since a change of membership waits until no batch is being written, and everybody gets whole batches,
a member that comes, goes or begins to lag is exactly at `position`. Only connections that move between workers do not
wait, and slow consumers that have caught up: who leaves gets its part of the batch first, who comes has it (see
`fanout.py`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from workers.bus.port import Position
from workers.rooms.alone import Alone
from workers.rooms.fanout import Fanout, joined, write
from workers.rooms.follower import Follower, FollowPhase
from workers.rooms.log_item import Item
from workers.rooms.ring import Ring
from workers.rooms.types import RoomMember, Transport

if TYPE_CHECKING:
    from workers.rooms.join import JoinPart, PendingJoin
    from workers.rooms.listening import LogListener
    from workers.rooms.slow_consumer import SlowConsumer

logger = logging.getLogger(__name__)

# Up to so many members are written to without a break: a write costs up to 2.4 µs, most of it in the kernel.
AT_ONCE = 256


class House(Protocol):
    """What a room needs of the hub."""

    def mark(self, room: Room) -> None:
        """There is something to be flushed."""

    def special_members(self, item: Item) -> Iterable[RoomMember]:
        """This worker's members for whom an item may look different."""

    def written(self, items: list[Item], members: int, size: int) -> None:
        """Count what was delivered."""


class Room:
    """One room; slots only, because every connected user has one of its own, the inbox."""

    __slots__ = (
        "_changes",
        "_flight",
        "_flushing",
        "_house",
        "arrived",
        "asked",
        "batch",
        "dirty",
        "epoch",
        "follower",
        "follower_waits",
        "joins",
        "line",
        "linger",
        "listeners",
        "live",
        "name",
        "offset",
        "pins",
        "reading",
        "ring",
        "slow_consumers",
        "squeezed",
        "taken_epoch",
        "taken_line",
        "taken_offset",
    )  # fmt: skip

    def __init__(self, name: str, house: House) -> None:
        self.name = name
        self._house = house
        self.follower = Follower()
        self.epoch = ""
        self.offset = 0
        self.taken_epoch = ""
        self.taken_offset = 0
        self.taken_line = 0
        self.ring: Ring | None = None  # None: nothing has come yet
        self.live: dict[RoomMember, Transport] | Alone = Alone()
        self.squeezed: dict[RoomMember, Transport] | None = None  # LIVE too: those with permessage-deflate
        self.slow_consumers: dict[RoomMember, SlowConsumer] | None = None
        self.listeners: list[LogListener] | None = None
        self.pins = 0  # joins under way
        self.joins: list[PendingJoin] | None = None  # those that wait for this room to be current
        self.asked: list[SlowConsumer | JoinPart] | None = None  # who waits for a page of the log
        self.reading = False  # a page is being read, for whomever
        self.follower_waits = False  # the follower wants the next page
        self.line = 0  # counts resets: a cursor from an earlier line has to be judged by the log
        self.arrived = 0  # bytes of frames since the beginning
        self.batch: list[Item] = []
        self.dirty = False  # it is on the hub's list of those to flush
        self.linger = 0.0  # when it may be given up, where nobody is in it
        self._flight: Iterator[int] | None = None  # a batch that is written slice by slice
        self._flushing = False
        self._changes: deque[Callable[[], None]] | None = None

    # ---- who is in it ------------------------------------------------------------------------------

    @property
    def needed(self) -> bool:
        """Somebody is in it, or about to be."""
        return bool(self.live or self.squeezed or self.slow_consumers or self.listeners or self.pins)

    @property
    def current(self) -> bool:
        """Followed, and everything up to the top has been seen."""
        return self.follower.current and self.follower.phase is FollowPhase.LIVE

    @property
    def position(self) -> Position:
        """What the LIVE members have been sent, or will have been when the batch that is being written is."""
        if self.batch or self._flight is not None:
            return Position(self.taken_epoch, self.taken_offset)
        return Position(self.epoch, self.offset)

    @property
    def goal(self) -> int:
        """The offset at which somebody who lags can become LIVE."""
        return self.taken_offset if self.batch or self._flight is not None else self.offset

    @property
    def goal_line(self) -> int:
        """The line that `goal` is on."""
        return self.taken_line if self.batch or self._flight is not None else self.line

    def __contains__(self, member: RoomMember) -> bool:
        return self.is_live(member) or (self.slow_consumers is not None and member in self.slow_consumers)

    def is_live(self, member: RoomMember) -> bool:
        return member in self.live or (self.squeezed is not None and member in self.squeezed)

    def __len__(self) -> int:
        return self.live_count + len(self.slow_consumers or ())

    @property
    def live_count(self) -> int:
        return len(self.live) + len(self.squeezed or ())

    def members(self) -> list[RoomMember]:
        return [*self.live, *(self.squeezed or ()), *(self.slow_consumers or ())]

    def enliven(self, member: RoomMember) -> None:
        """Make it LIVE; it is at the room's position, and the room is settled."""
        if isinstance(self._flight, Fanout):
            self._flight.open = False  # it is none of those who get what comes now by it
        if member.deflate:
            if self.squeezed is None:
                self.squeezed = {}
            self.squeezed[member] = member.ws.transport
        elif isinstance(self.live, Alone):
            self.live = self.live.with_another(member, member.ws.transport)
        else:
            self.live[member] = member.ws.transport

    def remove(self, member: RoomMember) -> None:
        """Take it out of whatever set it is in."""
        self.live.pop(member, None)
        if self.squeezed is not None:
            self.squeezed.pop(member, None)
        if self.slow_consumers is not None:
            self.slow_consumers.pop(member, None)

    # ---- the ring ----------------------------------------------------------------------------------

    def remember(self, items: Sequence[Item], limit: int) -> int:
        """Put entries into the ring; the change in bytes is returned."""
        if self.ring is None:
            self.ring = Ring(items[0].offset - 1)
        return self.ring.extend(items, limit)

    def forget(self, end: int) -> int:
        """The log goes on after `end`, and what is remembered does not touch it; the change in bytes is returned."""
        return self.ring.restart(end) if self.ring is not None else 0

    def covers(self, offset: int) -> bool:
        """Everything after `offset` is in memory."""
        return offset == self.offset if self.ring is None else self.ring.covers(offset)

    # ---- batches -----------------------------------------------------------------------------------

    def put(self, items: Sequence[Item]) -> None:
        """Add to the batch; before `epoch` and `offset` move on."""
        if not self.batch and self._flight is None:
            self.taken_epoch, self.taken_offset, self.taken_line = self.epoch, self.offset, self.line
        self.batch += items
        if not self.dirty:
            self._house.mark(self)

    @property
    def gathers(self) -> bool:
        """What comes goes into the batch: somebody is LIVE, or may become so at the place before it."""
        return bool(self.live or self.squeezed or self.batch or self._flight is not None)

    @property
    def busy(self) -> bool:
        """A batch is being written."""
        return self._flight is not None

    def settle(self) -> None:
        """Write the batch now if that is a matter of microseconds, so that `position` is the top."""
        if self.batch and not self.busy and self.live_count <= AT_ONCE:
            self.flush(AT_ONCE)

    @property
    def takes_in(self) -> bool:
        """Whether who is at `position` may become LIVE now: not while it is not settled who gets the batch."""
        return self._flight is None or (isinstance(self._flight, Fanout) and not self._flushing)

    def finish(self, member: RoomMember) -> bool:
        """Give a member now what is being written, so that it is at `position` and may leave; False: it has to wait."""
        if self._flight is None:
            return True
        if not isinstance(self._flight, Fanout) or self._flushing:
            return False
        self._flight.finish(member)
        return True

    def when_idle(self, change: Callable[[], None]) -> None:
        """Run `change` while no batch is being written: now where that is possible, else when this one is done."""
        if not self.busy:
            change()
            return
        if self._changes is None:
            self._changes = deque()
        self._changes.append(change)

    def flush(self, budget: int) -> int:
        """Write the batch, or go on with it, to about `budget` members; returns to how many.

        `busy` afterwards says that it is not finished. What comes meanwhile is taken along, or is the next batch.
        """
        if self._flushing:
            return 0  # called from inside a write
        if self.batch and (self._flight is None or self._absorbs):
            items, self.batch = self.batch, []
            self.taken_epoch, self.taken_offset, self.taken_line = self.epoch, self.offset, self.line
            if isinstance(self._flight, Fanout):
                self._flight.absorb(items, self._apart(items))
            else:
                self._flight = self._begin(items)
        self._flushing = True
        done = 0
        try:
            while self._flight is not None and done < budget:
                step = next(self._flight, 0)
                if not step:
                    self._flight = None
                    break
                done += step
        finally:
            self._flushing = False
        while self._changes and not self.busy:
            self._changes.popleft()()
        return done

    @property
    def _absorbs(self) -> bool:
        """Nobody waits for the end of what is being written."""
        return isinstance(self._flight, Fanout) and self._flight.open and not self._changes

    def _begin(self, items: list[Item]) -> Iterator[int]:
        """Begin to write a batch: each step writes it to up to AT_ONCE members, and gives their number."""
        apart = self._apart(items)
        if not apart and not self.squeezed and len(self.live) <= AT_ONCE:
            return self._write_at_once(items)
        classes = ((self.live, False), (self.squeezed or {}, True))
        return Fanout(items, classes, apart, at_once=AT_ONCE, written=self._house.written)

    def _write_at_once(self, items: list[Item]) -> Iterator[int]:
        """What nearly every batch comes to."""
        data = joined(items, squeeze=False)
        if self.live and data:
            count = len(self.live)
            write(self.live.values(), data)
            self._house.written(items, count, len(data))
            yield count

    def _apart(self, items: list[Item]) -> dict[RoomMember, Transport]:
        """Members who get something else than the others."""
        apart: dict[RoomMember, Transport] = {}
        for item in items:
            if item.special:
                for member in self._house.special_members(item):
                    if self.is_live(member):
                        apart[member] = member.ws.transport
        return apart
