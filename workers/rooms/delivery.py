"""Carries out what the followers want, and so owns how an entry gets from the log to the members' batches.

The rings of all rooms share one budget, which is counted here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from workers.bus.port import Amendment, Bus, Change, Entry, LogState
from workers.rooms.flush import Delivery
from workers.rooms.follower import Deliver, Effect, Order, TellGap, TellReset
from workers.rooms.history_reader import Reading
from workers.rooms.log_item import Item, item_of
from workers.rooms.maintenance import Maintenance
from workers.rooms.ring import Ring
from workers.rooms.room import Room
from workers.rooms.rooms import Rooms
from workers.rooms.stats import RoomStats
from workers.rooms.types import Amender, Gap, Reset, Teller
from workers.transport.frames import text_frame

logger = logging.getLogger(__name__)

# What all rings of a worker may hold together; a room's share is at least RING_SHARE.
RING_BYTES = 64 << 20
RING_SHARE = 4096
RING_MOST = 512 * 1024  # one room's


class Words(Protocol):
    """What the application said about its messages."""

    teller: Teller
    amender: Amender


class LogDelivery:
    """The shell round the followers of all rooms."""

    # Set once by `bind`.
    _bus: Bus
    _reading: Reading
    _maintenance: Maintenance

    def __init__(self, rooms: Rooms, words: Words, delivery: Delivery, tally: RoomStats) -> None:
        self._rooms = rooms
        self._words = words
        self._delivery = delivery
        self._tally = tally
        self._ring_bytes = 0

    def bind(self, bus: Bus, reading: Reading, maintenance: Maintenance) -> None:
        """What came into being after this."""
        self._bus, self._reading, self._maintenance = bus, reading, maintenance

    def run(self, room: Room, effects: list[Effect]) -> None:
        """Carry out what a follower wants."""
        for effect in effects:
            if isinstance(effect, Order):
                self._order(room, effect)
            elif isinstance(effect, Deliver):
                self.deliver(room, effect.epoch, (effect.entry,))
            elif isinstance(effect, TellReset):
                self._reset(room, effect)
            else:
                self._gap(room, effect)

    def _order(self, room: Room, order: Order) -> None:
        match order:
            case Order.CHECK:
                self._reading.check(room)
            case Order.SUBSCRIBE:
                self._bus.subscribe(room.name)
            case Order.CURRENT:
                self._became_current(room)
            case Order.UNSUBSCRIBE:
                self._ring_bytes += room.forget(0)
                room.ring, room.epoch, room.offset = None, "", 0
                self._bus.unsubscribe(room.name)
            case Order.READ:
                self._reading.read(room)
            case Order.LINGER:
                self._maintenance.linger(room)
            case Order.FORGET:
                if not room.needed:
                    self._rooms.end(room)

    def _became_current(self, room: Room) -> None:
        room.epoch, room.offset = room.follower.epoch, room.follower.offset
        for listener in room.listeners or ():
            listener.became_current()
        joins, room.joins = room.joins, None
        for join in joins or ():
            join.advance()
        for slow_consumer in list((room.slow_consumers or {}).values()):
            self._delivery.pump(slow_consumer)

    def item(self, epoch: str, entry: Entry) -> Item:
        """An entry as frames, as it looks with what later ones changed."""
        item = item_of(epoch, entry)
        if entry.amendments and item.tail:
            return item.with_payload(self._words.amender(entry.payload, entry.amendments))
        return item

    def _amend_ring(self, room: Room, entry: Entry, change: Change) -> None:
        """Let those who catch up from memory see what those see who catch up from the store."""
        target = room.ring.at(change.target) if room.ring is not None else None
        if room.ring is not None and target is not None and target.tail:
            amendment = Amendment(change.verb, entry.time, entry.payload)
            amended = target.with_payload(self._words.amender(target.payload, (amendment,)))
            self._ring_bytes += room.ring.replace(amended)

    def deliver(self, room: Room, epoch: str, entries: Sequence[Entry]) -> None:
        """The room's next entries: into the ring and the batch, and to the worker's own listeners."""
        items = [self.item(epoch, entry) for entry in entries]
        if room.gathers:
            room.put(items)
        room.epoch, room.offset = epoch, items[-1].offset
        room.arrived += sum([len(item.frame) for item in items])
        self._ring_bytes += room.remember(items, self._ring_share())
        for entry in entries:
            if entry.change is not None:
                self._amend_ring(room, entry, entry.change)
        for listener in room.listeners or ():
            for entry in entries:
                listener.received(room.name, entry)
        if room.slow_consumers:
            self._wake(room)

    def _wake(self, room: Room) -> None:
        """Laggers that had read everything wait for nothing but this."""
        for slow_consumer in list((room.slow_consumers or {}).values()):
            if not slow_consumer.member.paused and not slow_consumer.waiting:
                self._delivery.pump(slow_consumer)

    def _ring_share(self) -> int:
        if self._ring_bytes < RING_BYTES:
            return RING_MOST
        return max(RING_SHARE, RING_BYTES // len(self._rooms))

    def _gap(self, room: Room, gap: TellGap) -> None:
        count = room.live_count
        if not gap.changes:
            logger.warning(
                "room %s: offsets %d to %d are gone; %d members are told", room.name, gap.first, gap.last, count
            )
            self._tally.gaps += 1
            self._tally.dropped += (gap.last - gap.first + 1) * count
        self._tell_live(room, Gap(gap.epoch, gap.first, gap.last, gap.changes))
        room.epoch, room.offset = gap.epoch, gap.last
        self._ring_bytes += room.forget(gap.last)
        for listener in room.listeners or ():
            listener.missed(room.name)

    def _reset(self, room: Room, reset: TellReset) -> None:
        logger.warning(
            "room %s: position %d of %s is lost, the log goes on after offset %d of %s; %d members are told",
            room.name, room.offset, room.epoch, reset.offset, reset.epoch, room.live_count,
        )  # fmt: skip
        self._tally.resets += 1
        self._tell_live(room, Reset(reset.epoch, reset.offset))
        room.line += 1
        room.epoch, room.offset = reset.epoch, reset.offset
        self._ring_bytes += room.forget(reset.offset)
        for listener in room.listeners or ():
            listener.missed(room.name)

    def _tell_live(self, room: Room, what: Gap | Reset) -> None:
        payload = self._words.teller(room.name, what)
        if room.gathers:  # even without words: the batch has to begin before the position moves
            room.put((Item(text_frame(payload) if payload is not None else b""),))

    # ---- what reading brings -----------------------------------------------------------------------

    def seen(self, room: Room, state: LogState) -> None:
        """The store was asked, and the log was like that."""
        follower = room.follower
        if state.epoch != follower.epoch:
            self.run(room, follower.behind(state.epoch, state.top))
        elif state.top > follower.offset:
            self._maintenance.expect(room.name, state.epoch, state.top)

    def prefill(self, room: Room, items: list[Item]) -> None:
        """A page that touches the ring's oldest item makes the next who lag need no read."""
        if room.ring is None:
            room.ring = Ring(room.offset)
        if items:
            older = [item for item in items if item.offset <= room.ring.start]
            self._ring_bytes += room.ring.prepend(older, self._ring_share())
