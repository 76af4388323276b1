"""The members of rooms: how members join, lag, catch up and leave, and the notices that they get meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

from workers.addressing import inbox_of
from workers.bus.port import BusError, Position, Unavailable
from workers.rooms.flush import FlushQueue
from workers.rooms.history_reader import HistoryReader
from workers.rooms.join import PendingJoin, judged_by_ring
from workers.rooms.log_item import Item
from workers.rooms.maintenance import Maintenance
from workers.rooms.ports import PageReader, RoomHost
from workers.rooms.room import Room, RoomTable
from workers.rooms.slow_consumer import SlowConsumer
from workers.rooms.stats import RoomStats
from workers.rooms.types import Gap, Joined, LaggingMember, Reset, RoomMember, Waiting, WaitingJoin

logger = logging.getLogger(__name__)


class Membership:
    """The members of all rooms of a worker. Every method is called on the loop."""

    def __init__(
        self,
        rooms: RoomTable,
        host: RoomHost,
        flushes: FlushQueue,
        reader: HistoryReader,
        maintenance: Maintenance,
        stats: RoomStats,
        *,
        join_timeout: float,
        follows: Callable[[str], bool],
    ) -> None:
        """`follows` says whether the bus follows the channel of a room before anyone asks for the room."""
        self._rooms = rooms
        self._host = host
        self._flushes = flushes
        self._reader = reader
        self._maintenance = maintenance
        self._stats = stats
        self._join_timeout = join_timeout
        self._follows = follows
        self._loop = asyncio.get_running_loop()
        self._special = self._special_members  # one bound method for all rooms
        self._joins: dict[RoomMember, list[PendingJoin]] = {}
        maintenance.ticked = self._expire_joins

    def join(
        self,
        member: RoomMember,
        wanted: list[tuple[str, Position | None]],
        announce: Callable[[list[Joined]], None],
        failed: Callable[[BusError], None],
        *,
        dropped: Callable[[str], None] | None = None,
    ) -> None:
        """Admit a member to rooms, each with the position after which the member reads on (None: from now on).

        When all rooms are followed up to the top, `announce` is called, in the same turn in which the member is
        admitted: bytes that `announce` writes precede the first message, and every offset above the announced one will
        come, or a gap or a reset says why not. `failed` is called instead if the store does not answer within
        `store.timeout`, or if the member left. `dropped` is called for each room that the member left before.
        """
        deadline = self._loop.time() + self._join_timeout
        join = PendingJoin(self, member, announce, failed, deadline=deadline, dropped=dropped)
        for name, since in wanted:
            room = self._rooms.get(name)
            if room is None:
                room = self.room(name)
            room.pins += 1
            join.add(room, since)
            if effects := room.follower.wanted():
                self._host.run(room, effects)
        self._joins.setdefault(member, []).append(join)
        join.advance()

    def leave(self, member: RoomMember, room: str, left: Callable[[], None] | None = None) -> None:
        """Take a member out of a room after the batch under way, or out of a join; then `left` is called."""
        for join in self._joins.get(member, ()):
            join.drop(room)
        found = self._rooms.get(room)
        if found is None or member not in found:
            if left is not None:
                left()
            return

        def change() -> None:
            self._remove(member, found)
            if left is not None:
                left()

        found.when_idle(change)

    def leave_all(self, member: RoomMember) -> None:
        """Remove a member from all rooms and joins, because its connection is closed or about to close.

        Nothing more is written to the member, except a batch that is being written.
        """
        for join in list(self._joins.get(member, ())):
            join.fail(Unavailable("the connection was closed"))
        for room in member.inside:
            room.when_idle(partial(self._remove, member, room))

    def pause(self, member: RoomMember) -> None:
        """The buffer of a member's transport is full: from the end of the batch under way the member lags."""
        for room in member.inside:
            if room.is_live(member):
                room.when_idle(partial(self._demote, member, room))

    def resume(self, member: RoomMember) -> None:
        """A member's transport takes data again."""
        for room in member.inside:
            if (consumer := room.lagging(member)) is not None:
                self._flushes.pump(consumer)

    def depart(self, member: RoomMember, gone: Callable[[dict[str, Position]], None]) -> None:
        """Remove a member from its rooms, with all of the batch under way there; `gone` gets its position in each.

        `gone` is called in the same turn, unless the member's frames differ from those of the others.
        """
        noted: dict[str, Position] = {}
        rooms = member.inside
        waiting = len(rooms)

        def leave(room: Room) -> None:
            nonlocal waiting
            waiting -= 1
            if member in room:
                if (consumer := room.lagging(member)) is not None:
                    consumer.write_notices()
                noted[room.name] = self._position(member, room)
                self._remove(member, room)
            if not waiting:
                gone(noted)

        for room in rooms:
            room.settle()  # all of them first: without the inbox a room does not know whose connection the member is
        for room in rooms:
            if room.finish(member):
                leave(room)
            else:
                room.when_idle(partial(leave, room))
        if not rooms:
            gone(noted)

    def arrive(self, member: RoomMember, stood: list[tuple[str, Position]]) -> list[tuple[str, Position]]:
        """Let a member go on in its rooms from its positions; the entries that it missed are written at once.

        Returns the rooms where that is not possible, which need a join: rooms that are not followed, or whose ring
        does not cover the position.
        """
        return [(name, at) for name, at in stood if not self._arrived(member, self._rooms.get(name), at)]

    def _arrived(self, member: RoomMember, room: Room | None, at: Position) -> bool:
        if room is None or member in room:
            return False
        self._host.run(room, room.follower.wanted())
        room.settle()
        if not room.current or not judged_by_ring(room, at):
            self.let_go(room)
            return False
        member.inside = (*member.inside, room)
        if room.takes_in and not member.paused and at.offset == room.goal and room.line == room.goal_line:
            room.enliven(member)
        else:
            self._lag(member, room, at, line=room.line).pump()
        return True

    def _position(self, member: RoomMember, room: Room) -> Position:
        consumer = room.lagging(member)
        return consumer.position if consumer is not None else room.position

    def joining(self, member: RoomMember) -> bool:
        """Whether a join of the member is under way."""
        return member in self._joins

    def lag_of(self, member: RoomMember) -> int:
        """The number of messages of its rooms that a member has not been sent yet."""
        return sum(
            max(room.offset - self._position(member, room).offset, 0)
            for room in member.inside
            if not room.is_live(member)
        )

    def rooms_of(self, member: RoomMember) -> list[str]:
        """The rooms that a member is in."""
        return [room.name for room in member.inside]

    def room_name(self, name: str) -> str:
        """The string that all keep of a room's name, where there is such a room."""
        found = self._rooms.get(name)
        return found.name if found is not None else name

    def of(self, room: str) -> list[RoomMember]:
        """This worker's members of a room."""
        found = self._rooms.get(room)
        return found.members() if found is not None else []

    # ---- in and out of the sets ----------------------------------------------------------------------------

    def room(self, name: str) -> Room:
        """The room of that name, which is made if there is none."""
        room = self._rooms.get(name)
        if room is None:
            room = Room(name, self._flushes, self._special)
            if self._follows(name):
                room.follower.begin_followed()
            self._rooms.begin(room)
        return room

    def _special_members(self, item: Item) -> Iterable[RoomMember]:
        """The author's own connections, found through the inbox that all of them are in, and those left out."""
        if item.key and item.author:
            yield from self.of(inbox_of(item.author))
        for member_id in item.exclude.split(",") if item.exclude else ():
            member = self._host.find(member_id)
            if member is not None:
                yield member

    def _remove(self, member: RoomMember, room: Room) -> None:
        if member not in room:
            return
        if (consumer := room.lagging(member)) is not None:
            self._maintenance.unwatch(consumer)
        room.remove(member)
        member.inside = tuple([one for one in member.inside if one is not room])
        self.let_go(room)

    def let_go(self, room: Room) -> None:
        """End a room some time later if it is no longer needed."""
        if not room.needed:
            self._host.run(room, room.follower.unwanted())

    def _demote(self, member: RoomMember, room: Room) -> None:
        """LIVE → LAGGING at the room's position, between two batches."""
        if room.is_live(member):
            room.remove(member)
            consumer = self._lag(member, room, room.position, line=room.goal_line)
            if not member.paused:
                self._flushes.pump(consumer)

    def _lag(self, member: RoomMember, room: Room, position: Position, *, line: int) -> SlowConsumer:
        consumer = SlowConsumer(member, room, position, self, line=line, now=self._loop.time())
        room.add_lagging(consumer)
        self._maintenance.watch(consumer)
        return consumer

    # ---- what joins and slow consumers need; see `MemberHost` ------------------------------------------------

    def read(self, reader: PageReader) -> None:
        """Read the page after a reader's offset."""
        self._reader.read_for(reader)

    def look_for(self, room: Room, offset: int) -> None:
        """Look at the log: a member has seen an entry at `offset`, which this worker has not."""
        self._host.run(room, room.follower.behind(room.follower.epoch, offset))

    def admit(self, member: RoomMember, room: Room) -> None:
        """Add a member to the room: LIVE, or where its transport takes nothing now LAGGING at the room's position."""
        if member.paused:
            self.admit_lagging(member, room, room.position, line=room.goal_line)
        elif room not in member.inside:
            member.inside = (*member.inside, room)
            room.enliven(member)

    def admit_lagging(
        self, member: RoomMember, room: Room, cursor: Position, *, line: int, missing: Gap | Reset | None = None
    ) -> None:
        """Add a member to the room: LAGGING at `cursor`."""
        if room in member.inside:
            return
        member.inside = (*member.inside, room)
        consumer = self._lag(member, room, cursor, line=line)
        if missing is not None:
            consumer.add_notice(missing)
        consumer.pump()

    def end_join(self, join: WaitingJoin, rooms: list[Room]) -> None:
        """A join of these rooms is over: release the rooms that the join held."""
        joins = self._joins[join.member]
        if len(joins) == 1:
            del self._joins[join.member]
        else:
            self._joins[join.member] = [one for one in joins if one is not join]
        for room in rooms:
            room.pins -= 1
            if not (room.pins or room.live):
                self.let_go(room)

    def _expire_joins(self, now: float) -> None:
        late = [join for joins in self._joins.values() for join in joins if join.deadline <= now]
        for join in late:
            join.fail(Unavailable("the store did not answer in time"))

    def keep_room(self, name: str, waiting: Waiting) -> Room:
        """Follow a room, whose members are about to come, until `drop_room`; `waiting` is told when it is current."""
        room = self.room(name)
        room.pins += 1
        self._host.run(room, room.follower.wanted())
        if room.current:
            waiting.advance()
        else:
            room.wait_until_current(waiting)
        return room

    def drop_room(self, room: Room) -> None:
        """A room that was pinned is not wanted any more."""
        room.pins -= 1
        self.let_go(room)

    def pump_later(self, consumer: LaggingMember) -> None:
        """Let a lagging member go on in a later turn."""
        self._flushes.pump(consumer)

    def on_caught_up(self, consumer: LaggingMember) -> None:
        """A lagging member is LIVE from now on."""
        self._maintenance.unwatch(consumer)

    def notice_of(self, room: Room, member: RoomMember, what: Gap | Reset) -> bytes | None:
        """Count and log a loss for a member; return the payload of the message that reports it, if there is one."""
        if isinstance(what, Gap) and what.changes:
            pass  # nothing is lost: the messages show what the changes did
        elif isinstance(what, Gap):
            self._stats.gaps += 1
            self._stats.dropped += what.last - what.first + 1
            logger.info("room %s: offsets %d to %d are gone for %s", room.name, what.first, what.last, member.id)
        else:
            self._stats.resets += 1
            logger.info("room %s: %s starts again after offset %d", room.name, member.id, what.offset)
        return self._host.teller(room.name, what)
