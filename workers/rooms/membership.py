"""Owns who is in which room: how members come in, lag, catch up and go, and what they are told on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from workers.addressing import inbox_of
from workers.bus.port import BusError, Position, Unavailable
from workers.rooms.delivery import LogDelivery
from workers.rooms.flush import Delivery
from workers.rooms.follower import Effect
from workers.rooms.history_reader import Asker, Reading
from workers.rooms.join import JoinPart, PendingJoin, told_by_ring
from workers.rooms.log_item import Item
from workers.rooms.maintenance import Maintenance
from workers.rooms.room import Room
from workers.rooms.rooms import Rooms
from workers.rooms.slow_consumer import SlowConsumer
from workers.rooms.stats import RoomStats
from workers.rooms.types import Gap, Joined, Reset, RoomMember, Teller

logger = logging.getLogger(__name__)

TOO_SLOW = 4008


class Words(Protocol):
    """What the application said about its members."""

    teller: Teller
    find: Callable[[str], RoomMember | None]


class Membership:
    """The members of all rooms of a worker."""

    # Set once by `bind`.
    _reading: Reading
    _maintenance: Maintenance

    def __init__(
        self,
        rooms: Rooms,
        words: Words,
        following: LogDelivery,
        delivery: Delivery,
        tally: RoomStats,
        *,
        join_timeout: float,
    ) -> None:
        self._rooms = rooms
        self._words = words
        self._following = following
        self._delivery = delivery
        self._tally = tally
        self._join_timeout = join_timeout
        self._loop = asyncio.get_running_loop()
        self._of: dict[RoomMember, tuple[Room, ...]] = {}
        self._joins: dict[RoomMember, list[PendingJoin]] = {}

    def bind(self, reading: Reading, maintenance: Maintenance) -> None:
        """What came into being after this."""
        self._reading, self._maintenance = reading, maintenance

    def join(
        self,
        member: RoomMember,
        wanted: list[tuple[str, Position | None]],
        announce: Callable[[list[Joined]], None],
        failed: Callable[[BusError], None],
        *,
        dropped: Callable[[str], None] | None = None,
    ) -> None:
        """Bring a member into rooms, each with the position after which it wants to read on.

        When all of them are followed up to the top, `announce` is called, in the same turn in which the member is
        admitted: what it writes comes before the first message, and every offset above the one announced will come.
        After it the hub writes gaps, resets and what was missed. `failed` is called instead where the store does not
        answer in `store.timeout`, or where the member left. `dropped` hears of each room that it left before.
        """
        deadline = self._loop.time() + self._join_timeout
        join = PendingJoin(self, member, announce, failed, deadline=deadline, dropped=dropped)
        for name, since in wanted:
            room = self.room(name)
            room.pins += 1
            join.parts.append(JoinPart(join, room, since))
            if effects := room.follower.wanted():
                self._following.run(room, effects)
        self._joins.setdefault(member, []).append(join)
        self._maintenance.joins.add(join)
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
        """It is gone, or about to be closed: nothing more is written to it, but for a batch that is being written."""
        for join in list(self._joins.get(member, ())):
            join.fail(Unavailable("the connection was closed"))
        for room in self._of.get(member, ()):
            room.when_idle(partial(self._remove, member, room))

    def paused(self, member: RoomMember) -> None:
        """Its transport's buffer is full: from the end of the batch under way it lags."""
        for room in self._of.get(member, ()):
            if room.is_live(member):
                room.when_idle(partial(self._demote, member, room))

    def resumed(self, member: RoomMember) -> None:
        """Its transport has room again."""
        for room in self._of.get(member, ()):
            slow_consumer = room.slow_consumers.get(member) if room.slow_consumers else None
            if slow_consumer is not None:
                self.pump_later(slow_consumer)

    def positions_of(self, member: RoomMember) -> dict[str, Position] | None:
        """Where it stands in every room, after what waits for it was written; None while a batch is being written."""
        rooms = self._of.get(member, ())
        for room in rooms:
            room.settle()
        if any(room.busy for room in rooms):
            return None
        return {room.name: self._position(member, room) for room in rooms}

    def depart(self, member: RoomMember, gone: Callable[[dict[str, Position]], None]) -> None:
        """Take it out of each of its rooms, with all of the batch under way there; then `gone` is told where it stood.

        That is in the same turn, but where it gets something else than the others.
        """
        noted: dict[str, Position] = {}
        rooms = self._of.get(member, ())
        waiting = len(rooms)

        def leave(room: Room) -> None:
            nonlocal waiting
            waiting -= 1
            if member in room:
                if slow_consumer := (room.slow_consumers or {}).get(member):
                    slow_consumer.write_tellings()
                noted[room.name] = self._position(member, room)
                self._remove(member, room)
            if not waiting:
                gone(noted)

        for room in rooms:
            room.settle()
            if room.finish(member):
                leave(room)
            else:
                room.when_idle(partial(leave, room))
        if not rooms:
            gone(noted)

    def arrive(self, member: RoomMember, stood: list[tuple[str, Position]]) -> list[tuple[str, Position]]:
        """Let it go on in its rooms from where it stood, in silence; what it missed is written at once.

        Returns the rooms where that is not possible: which are not followed, or whose ring does not say what became of
        its position since. They take a join.
        """
        return [(name, at) for name, at in stood if not self._arrived(member, self._rooms.get(name), at)]

    def _arrived(self, member: RoomMember, room: Room | None, at: Position) -> bool:
        if room is None or member in room:
            return False
        self.run(room, room.follower.wanted())
        room.settle()
        if not room.current or not told_by_ring(room, at):
            self.let_go(room)
            return False
        self._of[member] = (*self._of.get(member, ()), room)
        if room.takes_in and not member.paused and at.offset == room.goal and room.line == room.goal_line:
            room.enliven(member)
        else:
            self._lag(member, room, at, line=room.line).pump()
        return True

    def _position(self, member: RoomMember, room: Room) -> Position:
        slow_consumer = room.slow_consumers.get(member) if room.slow_consumers else None
        return slow_consumer.position if slow_consumer is not None else room.position

    def joining(self, member: RoomMember) -> bool:
        """Whether a join of its is under way."""
        return member in self._joins

    def lag_of(self, member: RoomMember) -> int:
        """Messages of its rooms that it has not been sent yet."""
        return sum(
            max(room.offset - self._position(member, room).offset, 0)
            for room in self._of.get(member, ())
            if not room.is_live(member)
        )

    def rooms_of(self, member: RoomMember) -> list[str]:
        return [room.name for room in self._of.get(member, ())]

    def members(self, room: str) -> list[RoomMember]:
        """This worker's members of a room."""
        found = self._rooms.get(room)
        return found.members() if found is not None else []

    # ---- in and out of the sets ----------------------------------------------------------------------------

    def room(self, name: str) -> Room:
        """The room of that name, which begins to be one now if need be."""
        room = self._rooms.get(name)
        if room is None:
            room = Room(name, self)
            self._rooms.begin(room)
        return room

    def _remove(self, member: RoomMember, room: Room) -> None:
        if member not in room:
            return
        slow_consumer = room.slow_consumers.get(member) if room.slow_consumers else None
        if slow_consumer is not None:
            self._maintenance.slow_consumers.discard(slow_consumer)
        room.remove(member)
        rest = tuple(one for one in self._of.get(member, ()) if one is not room)
        if rest:
            self._of[member] = rest
        else:
            self._of.pop(member, None)
        self.let_go(room)

    def let_go(self, room: Room) -> None:
        """Somebody left it; perhaps it is no longer needed."""
        if not room.needed:
            self.run(room, room.follower.unwanted())

    def _demote(self, member: RoomMember, room: Room) -> None:
        """LIVE → LAGGING at the room's position, between two batches."""
        if room.is_live(member):
            room.remove(member)
            slow_consumer = self._lag(member, room, room.position, line=room.goal_line)
            if not member.paused:
                self.pump_later(slow_consumer)

    def _lag(self, member: RoomMember, room: Room, position: Position, *, line: int) -> SlowConsumer:
        slow_consumer = SlowConsumer(member, room, position, self, line=line, now=self._loop.time())
        if room.slow_consumers is None:
            room.slow_consumers = {}
        room.slow_consumers[member] = slow_consumer
        self._maintenance.slow_consumers.add(slow_consumer)
        return slow_consumer

    # ---- what joins, slow_consumers and rooms want --------------------------------------------------------

    def run(self, room: Room, effects: list[Effect]) -> None:
        """Carry out what a follower wants."""
        self._following.run(room, effects)

    def admit(self, member: RoomMember, part: JoinPart) -> None:
        """Make it a member, LIVE or LAGGING, in the turn in which it was announced."""
        room, rooms = part.room, self._of.get(member, ())
        if room in rooms:
            return
        self._of[member] = (*rooms, room)
        if not member.paused and (part.cursor is None or part.at_goal):
            room.enliven(member)
            return
        line = room.goal_line if part.cursor is None else part.line
        slow_consumer = self._lag(member, room, part.cursor or room.position, line=line)
        if part.missing is not None:
            slow_consumer.tell(self.told(slow_consumer, part.missing))
        slow_consumer.pump()

    def later(self, advance: Callable[[], None]) -> None:
        """Call it in the next turn."""
        self._loop.call_soon(advance)

    def ended(self, join: PendingJoin) -> None:
        """A join is over: what it held is let go."""
        mine = self._joins.get(join.member, [])
        if join in mine:
            mine.remove(join)
        if not mine:
            self._joins.pop(join.member, None)
        self._maintenance.joins.discard(join)
        for part in join.parts:
            room = part.room
            room.pins -= 1
            if not (room.live or room.pins):
                self.let_go(room)

    def dropped(self, part: JoinPart) -> None:
        """A room of a join is not wanted any more."""
        part.room.pins -= 1
        self.let_go(part.room)

    def ask(self, asker: Asker) -> None:
        """Read a page for somebody."""
        asker.waiting = True
        self._reading.ask(asker)

    def promote(self, slow_consumer: SlowConsumer) -> None:
        """LAGGING → LIVE, between two batches or with the present one already written."""
        if slow_consumer.room.takes_in:
            self._promote(slow_consumer)
        else:
            slow_consumer.room.when_idle(partial(self._promote, slow_consumer))

    def _promote(self, slow_consumer: SlowConsumer) -> None:
        room, member = slow_consumer.room, slow_consumer.member
        if (room.slow_consumers or {}).get(member) is not slow_consumer:
            return
        if (
            member.paused
            or slow_consumer.line != room.line
            or room.goal_line != room.line
            or slow_consumer.offset != room.goal
        ):
            self.pump_later(slow_consumer)
            return
        room.remove(member)
        self._maintenance.slow_consumers.discard(slow_consumer)
        room.enliven(member)

    def pump_later(self, slow_consumer: SlowConsumer) -> None:
        """Let a lagging member go on in a later turn."""
        self._delivery.pump(slow_consumer)

    def told(self, slow_consumer: SlowConsumer, what: Gap | Reset) -> bytes | None:
        """Count and log what a lagging member cannot have."""
        room = slow_consumer.room.name
        if isinstance(what, Gap) and what.changes:
            pass  # nothing is lost: the messages show what the changes did
        elif isinstance(what, Gap):
            self._tally.gaps += 1
            self._tally.dropped += what.last - what.first + 1
            logger.info(
                "room %s: offsets %d to %d are gone for %s", room, what.first, what.last, slow_consumer.member.id
            )
        else:
            self._tally.resets += 1
            logger.info("room %s: %s starts again after offset %d", room, slow_consumer.member.id, what.offset)
        return self._words.teller(room, what)

    def cut(self, slow_consumer: SlowConsumer) -> None:
        """Its lag has not shrunk for too long."""
        self._tally.cut += 1
        slow_consumer.member.cut(TOO_SLOW)

    def mark(self, room: Room) -> None:
        """There is something to be flushed."""
        self._delivery.mark(room)

    def special_members(self, item: Item) -> Iterable[RoomMember]:
        """The author's own connections, found through the inbox that all of them are in, and those left out."""
        if item.key and item.author:
            yield from self.members(inbox_of(item.author))
        for member_id in item.exclude.split(",") if item.exclude else ():
            member = self._words.find(member_id)
            if member is not None:
                yield member

    def written(self, items: list[Item], members: int, size: int) -> None:
        """Count what was delivered."""
        self._tally.delivered(len(items), members, size, items[0].time)
