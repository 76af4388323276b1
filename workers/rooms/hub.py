"""The rooms of a worker: who is in them, and how what the bus brings reaches them.

What comes in passes `received`, the room's follower, one encoding, the room's batch, and at the end of the turn one
plain loop over the transports of the LIVE members. Everything else here is what happens when that is not possible.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from chatmaster.settings import Settings
from workers.bus.port import (
    Amendment,
    Bus,
    BusError,
    Change,
    Entry,
    LogState,
    Page,
    Placed,
    Position,
    Publication,
    Unavailable,
)
from workers.events import Tasks
from workers.rooms.delivery import Delivery
from workers.rooms.follower import Deliver, Effect, Order, TellGap, TellReset
from workers.rooms.item import Item, item_of
from workers.rooms.joining import Join, JoinPart
from workers.rooms.lagger import Lagger
from workers.rooms.listening import Listener
from workers.rooms.member import Amender, Gap, Joined, Member, Reset, Teller, amend_nothing, tell_nothing
from workers.rooms.reading import Asker, Reading
from workers.rooms.ring import Ring
from workers.rooms.room import Room
from workers.rooms.tally import Tally
from workers.rooms.upkeep import Upkeep
from workers.transport.frames import text_frame

logger = logging.getLogger(__name__)

# What all rings of a worker may hold together; a room's share is at least RING_SHARE.
RING_BYTES = 64 << 20
RING_SHARE = 4096
RING_MOST = 512 * 1024  # one room's

TOO_SLOW = 4008


class Hub:
    """All rooms of one worker; it is the bus's sink. Every method is called on the loop.

    The application may set `on_note(room, note)` for what is published without being kept, `teller` for what members
    are told about gaps and resets, `amender` for what edits do to earlier messages, and `find(id)` to find a member
    that a publication excludes.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()
        self._rooms: dict[str, Room] = {}
        self._of: dict[Member, tuple[Room, ...]] = {}
        self._joins: dict[Member, list[Join]] = {}
        self._ring_bytes = 0
        self.tally = Tally()
        self.on_note: Callable[[str, bytes], None] = _no_note
        self.on_subscribed: Callable[[str], None] = _nothing
        self.teller: Teller = tell_nothing
        self.amender: Amender = amend_nothing
        self.find: Callable[[str], Member | None] = _nobody
        self._delivery = Delivery(settings.server.max_batch_delay)

    def bind(self, bus: Bus) -> None:
        """Called once by the composition root, after the bus was made with this hub as its sink."""
        self._bus = bus
        self._reading = Reading(bus, self, self._tasks)
        self._upkeep = Upkeep(self, bus, lag_timeout=self._settings.limits.lag_timeout)

    def start(self) -> None:
        """Begin to look after the rooms from time to time."""
        self._upkeep.start(self._tasks)

    async def stop(self) -> None:
        """End everything that runs by itself."""
        self._upkeep.stop()
        await self._tasks.cancel()

    # ---- members -----------------------------------------------------------------------------------

    def join(
        self,
        member: Member,
        wanted: list[tuple[str, Position | None]],
        announce: Callable[[list[Joined]], None],
        failed: Callable[[BusError], None],
    ) -> None:
        """Bring a member into rooms, each with the position after which it wants to read on.

        When all of them are followed up to the top, `announce` is called, in the same turn in which the member is
        admitted: what it writes comes before the first message, and every offset above the one announced will come.
        After it the hub writes gaps, resets and what was missed. `failed` is called instead where the store does not
        answer in `store.timeout`, or where the member left.
        """
        join = Join(self, member, announce, failed, deadline=self._loop.time() + self._settings.store.timeout)
        for name, since in wanted:
            room = self._room(name)
            room.pins += 1
            join.parts.append(JoinPart(join, room, since))
            self.run(room, room.follower.wanted())
        self._joins.setdefault(member, []).append(join)
        self._upkeep.joins.add(join)
        join.advance()

    def leave(self, member: Member, room: str, left: Callable[[], None] | None = None) -> None:
        """Take a member out of a room after the batch under way; then `left` is called."""
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

    def leave_all(self, member: Member) -> None:
        """It is gone, or about to be closed: nothing more is written to it, but for a batch that is being written."""
        for join in list(self._joins.get(member, ())):
            join.fail(Unavailable("the connection was closed"))
        for room in self._of.get(member, ()):
            room.when_idle(partial(self._remove, member, room))

    def paused(self, member: Member) -> None:
        """Its transport's buffer is full: from the end of the batch under way it lags."""
        for room in self._of.get(member, ()):
            if room.is_live(member):
                room.when_idle(partial(self._demote, member, room))

    def resumed(self, member: Member) -> None:
        """Its transport has room again."""
        for room in self._of.get(member, ()):
            lagger = room.laggers.get(member) if room.laggers else None
            if lagger is not None:
                self.pump_later(lagger)

    def positions_of(self, member: Member) -> dict[str, Position] | None:
        """Where it stands in every room, after what waits for it was written; None while a batch is being written."""
        rooms = self._of.get(member, ())
        for room in rooms:
            room.settle()
        if any(room.busy for room in rooms):
            return None
        return {room.name: self._position(member, room) for room in rooms}

    def _position(self, member: Member, room: Room) -> Position:
        lagger = room.laggers.get(member) if room.laggers else None
        return lagger.position if lagger is not None else room.position

    def joining(self, member: Member) -> bool:
        """Whether a join of its is under way."""
        return member in self._joins

    def lag_of(self, member: Member) -> int:
        """Messages of its rooms that it has not been sent yet."""
        return sum(
            max(room.offset - self._position(member, room).offset, 0)
            for room in self._of.get(member, ())
            if not room.is_live(member)
        )

    def rooms_of(self, member: Member) -> list[str]:
        return [room.name for room in self._of.get(member, ())]

    def members(self, room: str) -> list[Member]:
        """This worker's members of a room."""
        found = self._rooms.get(room)
        return found.members() if found is not None else []

    def position(self, room: str) -> Position | None:
        """How far this worker has followed a room."""
        found = self._rooms.get(room)
        return found.position if found is not None and found.follower.epoch else None

    # ---- out ---------------------------------------------------------------------------------------

    def publish(
        self,
        room: str,
        payload: bytes,
        *,
        form: str,
        done: Callable[[Placed | BusError], None],
        **options: Any,
    ) -> None:
        """Append to a room's log, see `Bus.publish`; this worker also sees to it that the message comes back."""

        def placed(result: Placed | BusError) -> None:
            done(result)
            if isinstance(result, Placed):
                self.tally.published += 1
                found = self._rooms.get(room)
                if found is not None and found.follower.offset < result.offset:
                    self._upkeep.expect(room, result.epoch, result.offset)

        self._bus.publish(room, payload, form=form, done=placed, **options)

    def note(self, room: str, note: bytes) -> None:
        """Publish without keeping; may be lost."""
        self._bus.publish_note(room, note)

    def show(self, room: str, payload: bytes, *, exclude: str = "") -> None:
        """Send a text message that is not kept to this worker's LIVE members of a room, in order with the others."""
        found = self._rooms.get(room)
        if found is not None and found.live_count:
            found.put(Item(text_frame(payload), exclude=exclude))

    def follow(
        self, room: str, received: Callable[[Entry], None], *, live: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        """Follow a room for the worker itself: every entry from now on once and in order, until the result is called.

        `live` is called once when the following has begun.
        """
        found = self._room(room)
        listener = Listener(received, live)
        found.listeners = [*(found.listeners or ()), listener]
        self.run(found, found.follower.wanted())
        if found.current:
            listener.became_current()

        def stop() -> None:
            if found.listeners and listener in found.listeners:
                found.listeners = [one for one in found.listeners if one is not listener] or None
                self._let_go(found)

        return stop

    # ---- told by the bus ---------------------------------------------------------------------------

    def received(self, room: str, publication: Publication) -> None:
        found = self._rooms.get(room)
        if found is None:
            return
        if found.follower.received(publication):
            self._deliver(found, publication.epoch, publication.entry)
        elif effects := found.follower.strayed():
            self.run(found, effects)

    def received_note(self, room: str, note: bytes) -> None:
        self.on_note(room, note)

    def subscribed(self, room: str) -> None:
        found = self._rooms.get(room)
        if found is not None:
            self.run(found, found.follower.subscribed())
            self.on_subscribed(room)

    def unsubscribed(self, room: str) -> None:
        found = self._rooms.get(room)
        if found is not None:
            self.run(found, found.follower.unsubscribed())

    def disconnected(self) -> None:
        for room in list(self._rooms.values()):
            self.run(room, room.follower.disconnected())

    # ---- what followers want -----------------------------------------------------------------------

    def run(self, room: Room, effects: list[Effect]) -> None:
        """Carry out what a follower wants."""
        for effect in effects:
            if isinstance(effect, Deliver):
                self._deliver(room, effect.epoch, effect.entry)
            elif isinstance(effect, TellReset):
                self._reset(room, effect)
            elif isinstance(effect, TellGap):
                self._gap(room, effect)
            else:
                self._order(room, effect)

    def _order(self, room: Room, order: Order) -> None:
        match order:
            case Order.SUBSCRIBE:
                self._bus.subscribe(room.name)
            case Order.UNSUBSCRIBE:
                self._ring_bytes += room.forget(0)
                room.ring, room.epoch, room.offset = None, "", 0
                self._bus.unsubscribe(room.name)
            case Order.CHECK:
                self._reading.check(room)
            case Order.READ:
                self._reading.read(room)
            case Order.LINGER:
                self._upkeep.linger(room)
            case Order.CURRENT:
                self._became_current(room)
            case Order.FORGET:
                if not room.needed:
                    del self._rooms[room.name]

    def _became_current(self, room: Room) -> None:
        room.epoch, room.offset = room.follower.epoch, room.follower.offset
        for listener in room.listeners or ():
            listener.became_current()
        joins, room.joins = room.joins, None
        for join in joins or ():
            join.advance()
        for lagger in list((room.laggers or {}).values()):
            self.pump_later(lagger)

    def item(self, epoch: str, entry: Entry) -> Item:
        """An entry as frames, as it looks with what later ones changed."""
        item = item_of(epoch, entry)
        if entry.amendments and item.tail:
            return item.with_payload(self.amender(entry.payload, entry.amendments))
        return item

    def _amend_ring(self, room: Room, entry: Entry, change: Change) -> None:
        """Let those who catch up from memory see what those see who catch up from the store."""
        target = room.ring.at(change.target) if room.ring is not None else None
        if room.ring is not None and target is not None and target.tail:
            amendment = Amendment(change.verb, entry.time, entry.payload)
            self._ring_bytes += room.ring.replace(target.with_payload(self.amender(target.payload, (amendment,))))

    def _deliver(self, room: Room, epoch: str, entry: Entry) -> None:
        item = self.item(epoch, entry) if entry.amendments else item_of(epoch, entry)
        if entry.change is not None:
            self._amend_ring(room, entry, entry.change)
        if room.live or room.squeezed:
            room.put(item)
        room.epoch, room.offset = epoch, entry.offset
        room.arrived += len(item.frame)
        self._ring_bytes += room.remember(item, self._ring_share())
        if room.listeners:
            for listener in room.listeners:
                listener.received(room.name, entry)
        if room.laggers:
            self._wake(room)

    def _wake(self, room: Room) -> None:
        """Laggers that had read everything wait for nothing but this."""
        for lagger in list((room.laggers or {}).values()):
            if not lagger.member.paused and not lagger.waiting:
                self.pump_later(lagger)

    def _ring_share(self) -> int:
        if self._ring_bytes < RING_BYTES:
            return RING_MOST
        return max(RING_SHARE, RING_BYTES // len(self._rooms))

    def _gap(self, room: Room, gap: TellGap) -> None:
        count = room.live_count
        logger.warning("room %s: offsets %d to %d are gone; %d members are told", room.name, gap.first, gap.last, count)
        self.tally.gaps += 1
        self.tally.dropped += (gap.last - gap.first + 1) * count
        self._tell_live(room, Gap(gap.epoch, gap.first, gap.last))
        room.epoch, room.offset = gap.epoch, gap.last
        self._ring_bytes += room.forget(gap.last)

    def _reset(self, room: Room, reset: TellReset) -> None:
        logger.warning(
            "room %s: the log was lost and goes on after offset %d of %s; %d members are told",
            room.name, reset.offset, reset.epoch, room.live_count,
        )  # fmt: skip
        self.tally.resets += 1
        self._tell_live(room, Reset(reset.epoch, reset.offset))
        room.line += 1
        room.epoch, room.offset = reset.epoch, reset.offset
        self._ring_bytes += room.forget(reset.offset)

    def _tell_live(self, room: Room, what: Gap | Reset) -> None:
        payload = self.teller(room.name, what)
        if room.live_count:  # even without words: the batch has to begin before the position moves
            room.put(Item(text_frame(payload) if payload is not None else b""))

    # ---- members inside ----------------------------------------------------------------------------

    def _room(self, name: str) -> Room:
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self)
        return room

    def _remove(self, member: Member, room: Room) -> None:
        if member not in room:
            return
        lagger = room.laggers.get(member) if room.laggers else None
        if lagger is not None:
            self._upkeep.laggers.discard(lagger)
        room.remove(member)
        rest = tuple(one for one in self._of.get(member, ()) if one is not room)
        if rest:
            self._of[member] = rest
        else:
            self._of.pop(member, None)
        self._let_go(room)

    def _let_go(self, room: Room) -> None:
        if not room.needed:
            self.run(room, room.follower.unwanted())

    def _demote(self, member: Member, room: Room) -> None:
        """LIVE → LAGGING at the room's position, between two batches."""
        if room.is_live(member):
            room.remove(member)
            lagger = self._lag(member, room, room.position, line=room.goal_line)
            if not member.paused:
                self.pump_later(lagger)

    def _lag(self, member: Member, room: Room, position: Position, *, line: int) -> Lagger:
        lagger = Lagger(member, room, position, line=line, now=self._loop.time())
        if room.laggers is None:
            room.laggers = {}
        room.laggers[member] = lagger
        self._upkeep.laggers.add(lagger)
        return lagger

    # ---- what joins, laggers and reads want --------------------------------------------------------

    def admit(self, member: Member, part: JoinPart) -> None:
        """Make it a member, LIVE or LAGGING, in the turn in which it was announced."""
        room = part.room
        if part.already:
            return
        self._of[member] = (*self._of.get(member, ()), room)
        if part.cursor is None and not member.paused:
            room.enliven(member)
            return
        line = room.goal_line if part.cursor is None else part.line
        lagger = self._lag(member, room, part.cursor or room.position, line=line)
        if part.missing is not None:
            lagger.tell(self.told(lagger, part.missing))
        lagger.pump(self)

    def later(self, advance: Callable[[], None]) -> None:
        """Call it in the next turn."""
        self._loop.call_soon(advance)

    def ended(self, join: Join) -> None:
        """A join is over: what it held is let go."""
        mine = self._joins.get(join.member, [])
        if join in mine:
            mine.remove(join)
        if not mine:
            self._joins.pop(join.member, None)
        self._upkeep.joins.discard(join)
        for part in join.parts:
            part.room.pins -= 1
            self._let_go(part.room)

    def ask(self, asker: Asker) -> None:
        """Read a page for somebody."""
        asker.waiting = True
        self._reading.ask(asker)

    def gave(self, asker: Asker, page: Page, items: list[Item]) -> None:
        """A page came for somebody who asked, if it is still there."""
        if isinstance(asker, Lagger) and (asker.room.laggers or {}).get(asker.member) is not asker:
            return
        asker.page_came(page.state, items, self)

    def seen(self, room: Room, state: LogState) -> None:
        """The store was asked, and the log was like that."""
        follower = room.follower
        if state.epoch != follower.epoch:
            self.run(room, follower.behind(state.epoch, state.top))
        elif state.top > follower.offset:
            self._upkeep.expect(room.name, state.epoch, state.top)

    def prefill(self, room: Room, items: list[Item]) -> None:
        """A page that touches the ring's oldest item makes the next who lag need no read."""
        if room.ring is None:
            room.ring = Ring(room.offset)
        if items:
            older = [item for item in items if item.offset <= room.ring.start]
            self._ring_bytes += room.ring.prepend(older, self._ring_share())

    def promote(self, lagger: Lagger) -> None:
        """LAGGING → LIVE, between two batches."""
        lagger.room.when_idle(partial(self._promote, lagger))

    def _promote(self, lagger: Lagger) -> None:
        room, member = lagger.room, lagger.member
        if (room.laggers or {}).get(member) is not lagger:
            return
        if member.paused or lagger.line != room.line or room.goal_line != room.line or lagger.offset != room.goal:
            self.pump_later(lagger)
            return
        room.remove(member)
        self._upkeep.laggers.discard(lagger)
        room.enliven(member)

    def pump_later(self, lagger: Lagger) -> None:
        """Let a lagging member go on in a later turn."""
        self._delivery.pump(lagger, self)

    def told(self, lagger: Lagger, what: Gap | Reset) -> bytes | None:
        """Count and log what a lagging member cannot have."""
        room = lagger.room.name
        if isinstance(what, Gap):
            self.tally.gaps += 1
            self.tally.dropped += what.last - what.first + 1
            logger.info("room %s: offsets %d to %d are gone for %s", room, what.first, what.last, lagger.member.id)
        else:
            self.tally.resets += 1
            logger.info("room %s: %s starts again after offset %d", room, lagger.member.id, what.offset)
        return self.teller(room, what)

    def cut(self, lagger: Lagger) -> None:
        """Its lag has not shrunk for too long."""
        self.tally.cut += 1
        lagger.member.cut(TOO_SLOW)

    # ---- what rooms want ---------------------------------------------------------------------------

    def mark(self, room: Room) -> None:
        """There is something to be flushed."""
        self._delivery.mark(room)

    def special_members(self, item: Item) -> Iterable[Member]:
        """The author's own connections, found through the inbox that all of them are in, and those left out."""
        if item.key and item.author:
            yield from self.members(f"@{item.author}")
        for member_id in item.exclude.split(",") if item.exclude else ():
            member = self.find(member_id)
            if member is not None:
                yield member

    def written(self, room: Room, items: int, members: int, size: int) -> None:
        """Count what was delivered."""
        self.tally.deliveries += items * members
        self.tally.bytes_out += size * members

    # ---- looked at from outside --------------------------------------------------------------------

    @property
    def rooms(self) -> dict[str, Room]:
        """All rooms by name, for upkeep and tests."""
        return self._rooms

    def rows(self) -> list[dict[str, Any]]:
        """One row a room, for `chatctl rooms`."""
        return [
            {
                "room": room.name,
                "members": len(room),
                "epoch": room.follower.epoch,
                "offset": room.follower.offset,
                "lagging": len(room.laggers or ()),
                "state": room.follower.phase.value,
            }
            for room in self._rooms.values()
            if not room.name.startswith("!")
        ]


def _nothing(room: str) -> None:
    """Notes that may have been missed are nobody's business."""


def _no_note(room: str, note: bytes) -> None:
    """Nobody is interested in notes."""


def _nobody(member_id: str) -> Member | None:
    return None
