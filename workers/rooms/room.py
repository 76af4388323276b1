"""One room on a worker: its members and the batch for them. Membership changes between batches only.

A LIVE member is in one of two sets that are written to without looking at any member; a LAGGING member has a cursor
(`slow_consumer.py`) and no queue.

Two places in the log matter. `epoch` and `offset` are the worker's own position: the ring ends there, and so does the
batch. `_taken` is the place up to which the LIVE members were sent, or are being sent, entries: the place before the
batch that is gathered now. Since a change of membership waits until no batch is being written, and every member gets
whole batches, a member that joins, leaves or begins to lag is exactly at `position`. Only connections that move between
workers, and slow consumers that have caught up, do not wait: a member that leaves gets its part of the batch first, a
member that joins has it already (see `fanout.py`).

Other parts keep their occasional data about a room (pages being read, the time of its end) themselves: every connected
user has a room, the inbox, and an idle room is small.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from workers.addressing import is_public
from workers.bus.port import LOSS, Entry, Position
from workers.rooms.fanout import Fanout
from workers.rooms.flush import AT_ONCE, SLICE, FlushQueue
from workers.rooms.follower import Follower, FollowPhase
from workers.rooms.log_item import Item
from workers.rooms.ring import Ring
from workers.rooms.types import LaggingMember, LaggingMembers, RoomMember, SoleMember, Transport, Waiting

logger = logging.getLogger(__name__)

# Stands for a batch that is written in one go.
_IN_ONE_GO: Iterator[int] = iter(())


class LogListener:
    """A part of the worker that follows a room: one call of `Hub.follow`."""

    __slots__ = ("_live", "_missed", "_received")

    def __init__(
        self,
        received: Callable[[Entry], None],
        live: Callable[[], None] | None,
        missed: Callable[[], None] | None,
    ) -> None:
        self._received = received
        self._live = live
        self._missed = missed

    def receive_entry(self, room: str, entry: Entry) -> None:
        """Take the room's next entry. An exception is a bug of the listener and does not stop the room."""
        if entry.change is not None and entry.change.verb == LOSS:
            self.on_missed(room)
            return
        try:
            self._received(entry)
        except Exception:
            logger.exception("a listener of room %s failed at offset %d", room, entry.offset)

    def on_missed(self, room: str) -> None:
        """Entries are gone, between the last and the next one; or the whole log was lost."""
        if self._missed is not None:
            try:
                self._missed()
            except Exception:
                logger.exception("a listener of room %s failed when entries were gone", room)

    def on_current(self) -> None:
        """The room is followed from now on; the listener hears of it once."""
        if self._live is not None:
            live, self._live = self._live, None
            live()


class Room:
    """One room; slots only, because every connected user has one of its own, the inbox.

    `special_members` gives this worker's members for whom an item may look different.
    """

    __slots__ = (
        "_changes", "_flight", "_flushes", "_flushing", "_special_members", "_taken", "_waiting", "batch", "dirty",
        "epoch", "follower", "line", "listeners", "live", "name", "offset", "pins", "ring", "slow_consumers",
        "squeezed",
    )  # fmt: skip

    def __init__(self, name: str, flushes: FlushQueue, special_members: Callable[[Item], Iterable[RoomMember]]) -> None:
        self.name = name
        self._flushes = flushes
        self._special_members = special_members
        self.follower = Follower()
        self.epoch = ""
        self.offset = 0
        self._taken = "", 0, 0  # epoch, offset and line before the batch
        self.ring: Ring | None = None  # None: nothing has come yet
        self.live: dict[RoomMember, Transport] | SoleMember = SoleMember()
        self.squeezed: dict[RoomMember, Transport] | None = None  # LIVE too: those with permessage-deflate
        self.slow_consumers: LaggingMembers | None = None
        self.listeners: tuple[LogListener, ...] = ()
        self.pins = 0  # joins under way: while there are any, the room is needed
        self._waiting: list[Waiting] | None = None  # those that wait for this room to be current
        self.line = 0  # counts resets: a cursor from an earlier line has to be judged by the log
        self.batch: list[Item] | tuple[()] = ()  # a list while it holds any
        self.dirty = False  # in the flush queue, which sets it
        self._flight: Iterator[int] | None = None  # a batch that is written slice by slice
        self._flushing = False
        self._changes: deque[Callable[[], None]] | None = None

    # ---- who is in the room ------------------------------------------------------------------------

    @property
    def needed(self) -> bool:
        """Whether the room has members, listeners or joins under way."""
        return bool(self.live or self.squeezed or self.slow_consumers or self.listeners or self.pins)

    @property
    def current(self) -> bool:
        """Whether the room is followed, and everything up to the top has been seen."""
        return self.follower.current and self.follower.phase is FollowPhase.LIVE

    @property
    def position(self) -> Position:
        """The position of the LIVE members once the batch that is being written has been written."""
        return Position(*self.place)

    @property
    def place(self) -> tuple[str, int]:
        """Epoch and offset of `position`."""
        if self.batch or self._flight is not None:
            return self._taken[:2]
        return self.epoch, self.offset

    @property
    def goal(self) -> int:
        """The offset at which a lagging member can become LIVE."""
        return self._taken[1] if self.batch or self._flight is not None else self.offset

    @property
    def goal_line(self) -> int:
        """The line that `goal` is on."""
        return self._taken[2] if self.batch or self._flight is not None else self.line

    def __contains__(self, member: RoomMember) -> bool:
        return self.is_live(member) or (self.slow_consumers is not None and member in self.slow_consumers)

    def is_live(self, member: RoomMember) -> bool:
        return member in self.live or (self.squeezed is not None and member in self.squeezed)

    @property
    def arrived(self) -> int:
        """Bytes of the frames that have come while members lagged."""
        return self.slow_consumers.arrived if self.slow_consumers is not None else 0

    def lagging(self, member: RoomMember) -> LaggingMember | None:
        """The member's cursor, where it lags."""
        return self.slow_consumers.get(member) if self.slow_consumers else None

    def __len__(self) -> int:
        return self.live_count + len(self.slow_consumers or ())

    @property
    def live_count(self) -> int:
        return len(self.live) + len(self.squeezed or ())

    def members(self) -> list[RoomMember]:
        return [*self.live, *(self.squeezed or ()), *(self.slow_consumers or ())]

    def enliven(self, member: RoomMember) -> None:
        """Make a member LIVE; it is at the room's position, and the room is settled."""
        if isinstance(self._flight, Fanout):
            self._flight.open = False  # the member is none of those who get what comes now by it
        if member.deflate:
            if self.squeezed is None:
                self.squeezed = {}
            self.squeezed[member] = member.ws.transport
        elif isinstance(self.live, SoleMember):
            self.live = self.live.with_another(member, member.ws.transport)
        else:
            self.live[member] = member.ws.transport

    def add_lagging(self, consumer: LaggingMember) -> None:
        """Make a member LAGGING, which is in no set."""
        if self.slow_consumers is None:
            self.slow_consumers = LaggingMembers()
        self.slow_consumers[consumer.member] = consumer

    def remove(self, member: RoomMember) -> None:
        """Remove a member from its set."""
        self.live.pop(member, None)
        if self.squeezed is not None:
            self.squeezed.pop(member, None)
        if self.slow_consumers is not None:
            self.slow_consumers.pop(member, None)

    def wait_until_current(self, waiting: Waiting) -> None:
        """Tell `waiting` when the room is current."""
        if self._waiting is None:
            self._waiting = []
        if waiting not in self._waiting:
            self._waiting.append(waiting)

    def add_listener(self, listener: LogListener) -> None:
        self.listeners = (*self.listeners, listener)

    def remove_listener(self, listener: LogListener) -> bool:
        """Returns whether the listener was there."""
        before = self.listeners
        self.listeners = tuple([one for one in before if one is not listener])
        return len(self.listeners) < len(before)

    # ---- the log -----------------------------------------------------------------------------------

    def append(self, items: Sequence[Item], limit: int) -> int:
        """Take the room's next entries, into the batch and into the ring, which may have `limit` bytes.

        Returns the change of the ring in bytes.
        """
        if self.live or self.gathers:
            self.put(items)
        last = items[-1]
        self.epoch, self.offset = last.epoch, last.offset
        if self.slow_consumers:
            self.slow_consumers.arrived += sum([len(item.frame) for item in items])
        if self.ring is None:
            self.ring = Ring(items[0].offset - 1)
        return self.ring.extend(items, limit)

    def skip(self, epoch: str, end: int) -> int:
        """The log goes on after `end`, beyond a gap. Returns the change of the ring in bytes."""
        self.epoch, self.offset = epoch, end
        return self.ring.restart(end) if self.ring is not None else 0

    def restart(self, epoch: str, end: int) -> int:
        """The log was lost and goes on after `end`, on a new line. Returns the change of the ring in bytes."""
        self.line += 1
        return self.skip(epoch, end)

    def become_current(self) -> None:
        """Everything up to the follower's position was seen: listeners and joins that wait for that go on."""
        self.epoch, self.offset = self.follower.epoch, self.follower.offset
        for listener in self.listeners:
            listener.on_current()
        waiting, self._waiting = self._waiting, None
        for one in waiting or ():
            one.advance()

    def forget_log(self) -> int:
        """The room is not followed any more. Returns the change of the ring in bytes."""
        change = self.ring.restart(0) if self.ring is not None else 0
        self.ring, self.epoch, self.offset = None, "", 0
        return change

    def prepend(self, items: Sequence[Item], limit: int) -> int:
        """Put older items into the ring, as far as they touch it. Returns the change of the ring in bytes."""
        if self.ring is None:
            self.ring = Ring(self.offset)
        start = self.ring.start
        return self.ring.prepend([item for item in items if item.offset <= start], limit) if items else 0

    def covers(self, offset: int) -> bool:
        """Whether everything after `offset` is in memory."""
        return offset == self.offset if self.ring is None else self.ring.covers(offset)

    # ---- batches -----------------------------------------------------------------------------------

    def put(self, items: Sequence[Item]) -> None:
        """Add items to the batch; call it before `epoch` and `offset` move on."""
        if not self.batch and self._flight is None:
            self._taken = self.epoch, self.offset, self.line
        if isinstance(self.batch, list):
            self.batch += items
        else:
            self.batch = list(items)
        if not self.dirty:
            self._flushes.mark(self)

    @property
    def gathers(self) -> bool:
        """Whether new entries go into the batch: a member is LIVE, or may become so at the place before it."""
        return bool(self.live or self.squeezed or self.batch or self._flight is not None)

    @property
    def busy(self) -> bool:
        """Whether a batch is being written."""
        return self._flight is not None

    def settle(self) -> None:
        """Write the batch now if that is a matter of microseconds, so that `position` is the top."""
        if self.batch and not self.busy and self.live_count <= AT_ONCE:
            self.flush(AT_ONCE)

    @property
    def takes_in(self) -> bool:
        """Whether a member at `position` may become LIVE now: not while the batch's receivers are undecided."""
        return self._flight is None or (isinstance(self._flight, Fanout) and not self._flushing)

    def finish(self, member: RoomMember) -> bool:
        """Write the batch under way to a member now, so that it is at `position` and may leave; False: must wait."""
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
        """Write the batch, or go on with it, to about `budget` members; return the number of members written to.

        `busy` afterwards says that the batch is not finished. Items that arrive meanwhile join it or the next batch.
        """
        if self._flushing:
            return 0  # called from inside a write
        done = 0
        self._flushing = True
        try:
            if self.batch and (self._flight is None or self._absorbs):
                done = self._take_batch()
            while self._flight is not None and done < budget:
                step = next(self._flight, 0)
                if not step:
                    self._flight = None
                    break
                done += step
        finally:
            self._flushing = False
        while self._changes and self._flight is None:
            self._changes.popleft()()
        return done

    @property
    def _absorbs(self) -> bool:
        """Whether the batch being written may absorb more: no change of membership waits for its end."""
        return isinstance(self._flight, Fanout) and self._flight.open and not self._changes

    def _take_batch(self) -> int:
        """Begin to write the batch, or add it to the fanout under way. Returns the number of members written to."""
        items, self.batch = self.batch, ()
        assert isinstance(items, list)
        self._taken = self.epoch, self.offset, self.line
        apart = self._apart(items)
        if isinstance(self._flight, Fanout):
            self._flight.absorb(items, apart)
        elif apart or self.squeezed or len(self.live) > AT_ONCE:
            classes = ((self.live, False), (self.squeezed or {}, True))
            self._flight = Fanout(items, classes, apart, at_once=SLICE, written=self._flushes.written)
        elif self.live:  # a few members who all get the same frames: the case of nearly every batch
            self._flight = _IN_ONE_GO
            try:
                return self._flushes.write(self.live.values(), items)
            finally:
                self._flight = None
        return 0

    def _apart(self, items: list[Item]) -> dict[RoomMember, Transport]:
        """The LIVE members whose frames differ from those of the others."""
        apart: dict[RoomMember, Transport] = {}
        for item in items:
            if (item.key or item.exclude) and item.special:
                for member in self._special_members(item):
                    if self.is_live(member):
                        apart[member] = member.ws.transport
        return apart


class RoomTable(dict[str, Room]):
    """All rooms of a worker by name.

    There is an inbox for every user: counting the public rooms does not look at 40,000 inboxes.
    """

    __slots__ = ("_public",)

    def __init__(self) -> None:
        super().__init__()
        self._public: dict[str, Room] = {}  # without inboxes and the worker's own

    def begin(self, room: Room) -> None:
        """Add a room."""
        self[room.name] = room
        if is_public(room.name):
            self._public[room.name] = room

    def end(self, room: Room) -> None:
        """Remove a room that is no longer needed."""
        del self[room.name]
        self._public.pop(room.name, None)

    def occupied(self) -> int:
        """The number of public rooms that have members here."""
        return sum(1 for room in self._public.values() if len(room))
