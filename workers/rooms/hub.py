"""The rooms of a worker: the hub passes messages from the bus to members, and carries out the followers' effects.

A message passes `received`, the room's follower (pure), one encoding (`log_item.py`), the room's batch and ring
(`room.py`), and at the end of the turn (`flush.py`) one plain loop over the transports of the LIVE members. The other
modules handle the cases where that is not possible: `history_reader.py` reads missing entries, `membership.py` knows
the lagging members, `maintenance.py` notices silence.

The rings of all rooms share one budget, which is counted here.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from chatmaster.settings import Settings
from chatmaster.stats import BUCKET_BOUNDS
from chatmaster.store.layout import shard_of
from workers.addressing import is_internal
from workers.bus.keys import shares_channel
from workers.bus.port import LOSS, Amendment, Bus, Change, Entry, LogState, Placed, Position, Publication
from workers.rooms.flush import AT_ONCE, FlushQueue
from workers.rooms.follower import CHECK, CURRENT, Deliver, Effect, Order, TellGap, TellReset
from workers.rooms.history_reader import HistoryReader
from workers.rooms.log_item import Item, item_of, items_of
from workers.rooms.losses import LossWatch, lost_of
from workers.rooms.maintenance import Maintenance
from workers.rooms.membership import Membership
from workers.rooms.room import LogListener, Room, RoomTable
from workers.rooms.stats import RoomStats
from workers.rooms.types import Amender, Gap, Reset, RoomMember, Teller, amend_nothing, tell_nothing
from workers.tasks import Tasks
from workers.transport.answers import AnswerQueue
from workers.transport.frames import text_frame

logger = logging.getLogger(__name__)

CONFIRMED = 1024  # rooms a turn: 2 ms
# What all rings of a worker may hold together; a room's share is at least RING_SHARE.
RING_BYTES = 64 << 20
RING_SHARE = 4096
RING_MOST = 512 * 1024  # one room's


class Hub:
    """All rooms of one worker; it is the bus's sink. Every method is called on the loop.

    `members` has the members of the rooms. The application may set `on_note(room, note)` for what is published without
    being kept, `on_subscribed(room)` to hear that notes may have been missed, `teller` for what members are told about
    gaps and resets, `amender` for what edits do to earlier messages, and `find(id)` to find a member that a publication
    excludes. `answers` are the connections' answers, which leave by the same writes as a room's messages.
    """

    # Set once by `bind`.
    _bus: Bus
    _reader: HistoryReader
    _maintenance: Maintenance
    losses: LossWatch
    members: Membership
    # Append to a room's log: `Bus.publish` itself, without a call between. `placed` makes sure that the message comes
    # back.
    publish: Callable[..., None]

    def __init__(self, settings: Settings) -> None:
        self.on_note: Callable[[str, bytes], None] = _no_note
        self.on_subscribed: Callable[[str], None] = _nothing
        self.teller: Teller = tell_nothing
        self.amender: Amender = amend_nothing
        self.find: Callable[[str], RoomMember | None] = _nobody
        self.rooms = RoomTable()
        self.tally = RoomStats()
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()
        self.answers = AnswerQueue()
        self._flushes = FlushQueue(settings.server.max_batch_delay, self.tally, self.answers)
        self._ring_bytes = 0
        self._confirming: Iterator[Room] = iter(())  # rooms that have still to be told that they are subscribed

    def bind(self, bus: Bus) -> None:
        """Called once by the composition root, after the bus was made with this hub as its sink."""
        limits, stats = self._settings.limits, self.tally
        self._bus = bus
        self.publish = bus.publish
        self._reader = HistoryReader(bus, self, stats, self._tasks)
        self._maintenance = Maintenance(self.rooms, self, bus, stats, lag_timeout=limits.lag_timeout)
        self.losses = LossWatch(bus, self._tasks)
        self.members = Membership(
            self.rooms,
            self,
            self._flushes,
            self._reader,
            self._maintenance,
            stats,
            join_timeout=self._settings.store.timeout,
            follows=bus.follows,
        )

    def start(self) -> None:
        """Begin to look after the rooms from time to time."""
        self._maintenance.start(self._tasks)
        self.losses.start()

    async def stop(self) -> None:
        """End every timer and task of the rooms."""
        self._maintenance.stop()
        self.losses.stop()
        await self._tasks.cancel()

    # ---- the worker itself -------------------------------------------------------------------------

    def follow(
        self,
        room: str,
        received: Callable[[Entry], None],
        *,
        live: Callable[[], None] | None = None,
        missed: Callable[[], None] | None = None,
    ) -> Callable[[], None]:
        """Follow a room for the worker itself: every entry from now on once and in order, until the result is called.

        `live` is called once when the worker follows the room, `missed` when entries can no longer be read.
        """
        found = self.members.room(room)
        listener = LogListener(received, live, missed)
        found.add_listener(listener)
        self.run(found, found.follower.wanted())
        if found.current:
            listener.on_current()

        def stop() -> None:
            if found.remove_listener(listener):
                self.members.let_go(found)

        return stop

    def hasten(self, *, haste: bool) -> None:
        """Share the turns of the loop between messages and connections that move."""
        self._flushes.hasten(haste=haste)

    @property
    def writing_since(self) -> float:
        """When the writing began that is under way, turn after turn, by `perf_counter`; 0 where there is none."""
        return self._flushes.writing_since

    def position(self, room: str) -> Position | None:
        """The position up to which this worker has followed a room; None if it does not follow the room."""
        found = self.rooms.get(room)
        return found.position if found is not None and found.follower.epoch else None

    def offset(self, room: str) -> int:
        """The offset of `position`; 0 where this worker does not follow the room."""
        found = self.rooms.get(room)
        return found.goal if found is not None and found.follower.epoch else 0

    def recent(self, room: str, after: int, upto: int) -> list[Item]:
        """The entries of a room that this worker still has in memory: those after one offset up to another."""
        found = self.rooms.get(room)
        ring = found.ring if found is not None else None
        if ring is None:
            return []
        items = [ring.at(offset) for offset in range(max(after, ring.start) + 1, min(upto, ring.end) + 1)]
        return [item for item in items if item is not None]

    # ---- out ---------------------------------------------------------------------------------------

    def note(self, room: str, note: bytes) -> None:
        """Publish without keeping; may be lost."""
        self._bus.publish_note(room, note)

    def show(self, room: str, payload: bytes, *, exclude: str = "") -> None:
        """Send a text message that is not kept to this worker's LIVE members of a room, in order with the others."""
        found = self.rooms.get(room)
        if found is not None and found.live_count:
            found.put((Item(text_frame(payload), exclude=exclude),))

    # ---- the bus's sink ------------------------------------------------------------------------------

    def received(self, room: str, publication: Publication) -> None:
        """Logged messages came by pub/sub."""
        found = self.rooms.get(room)
        if found is None:
            return
        follower = found.follower
        if count := follower.received(publication):
            entries = publication.entries(count) if publication.changes or found.listeners else ()
            # The follower's own string of the same epoch: each remembered entry keeps it.
            self._deliver(found, items_of(follower.epoch, publication, count), entries)
        elif effects := follower.strayed():
            self.run(found, effects)

    def placed(self, room: str, last: Placed, count: int, seconds: float) -> None:
        """The store has kept what was published here, up to `last`, which should come by pub/sub soon."""
        stats = self.tally
        stats.published += count
        stats.publish_latency.counts[bisect_left(BUCKET_BOUNDS, seconds)] += count
        stats.publish_latency.sum += seconds * count
        self.losses.placed(room, last, self._loop.time())
        found = self.rooms.get(room)
        if found is not None and found.follower.offset < last.offset:
            self._maintenance.expect(room, last.epoch, last.offset)
            if 0 < found.live_count <= AT_ONCE:  # a larger room's messages take no answers along
                self.answers.wait_for(found)

    def received_note(self, room: str, note: bytes) -> None:
        """Something that is not logged came by pub/sub."""
        self.on_note(room, note)

    def subscribed(self, room: str) -> None:
        """The store confirmed a subscription."""
        found = self.rooms.get(room)
        if found is not None:
            self.run(found, found.follower.subscribed())
            self.on_subscribed(room)

    def wants(self, room: str) -> bool:
        """Messages of a room are wanted if this worker has the room."""
        return room in self.rooms

    def shared_subscribed(self, shards: frozenset[int] | None = None) -> None:
        """The store confirmed the channels that inboxes share; a large worker has 40,000 on them."""
        rooms = [room for room in self.rooms.values() if shares_channel(room.name)]
        if shards is None:
            self._confirming = iter(rooms)
        else:
            mine = [room for room in rooms if shard_of(room.name) in shards]
            self._confirming = chain(mine, self._confirming)
        self._confirm_some()

    def _confirm_some(self) -> None:
        some = list(islice(self._confirming, CONFIRMED))
        for room in some:
            self.run(room, room.follower.subscribed())
        if some:
            self._loop.call_soon(self._confirm_some)

    def unsubscribed(self, room: str) -> None:
        """The store confirmed the end of a subscription."""
        found = self.rooms.get(room)
        if found is not None:
            self.run(found, found.follower.unsubscribed())

    def disconnected(self, shards: frozenset[int] | None = None) -> None:
        """Subscriptions are gone with their connection, or with the shards that moved."""
        for room in list(self.rooms.values()):
            if shards is None or shard_of(room.name) in shards:
                self.run(room, room.follower.disconnected())

    # ---- what the followers want -------------------------------------------------------------------

    def run(self, room: Room, effects: list[Effect]) -> None:
        """Carry out what a follower wants."""
        for effect in effects:
            if isinstance(effect, Order):
                self._order(room, effect)
            elif isinstance(effect, Deliver):
                self._deliver(room, [self.item(effect.epoch, effect.entry)], (effect.entry,))
            elif isinstance(effect, TellReset):
                self._reset(room, effect)
            else:
                self._gap(room, effect)

    def _order(self, room: Room, order: Order) -> None:
        if order is CURRENT:
            self._became_current(room)
        elif order is CHECK:
            self._reader.check(room)
        elif order is Order.SUBSCRIBE:
            self._bus.subscribe(room.name)
        elif order is Order.UNSUBSCRIBE:
            self._ring_bytes += room.forget_log()
            self._bus.unsubscribe(room.name)
        elif order is Order.READ:
            self._reader.read(room)
        elif order is Order.LINGER:
            self._maintenance.linger(room)
        elif not room.needed:  # FORGET
            self.rooms.end(room)

    def _became_current(self, room: Room) -> None:
        room.become_current()
        if room.slow_consumers:
            for consumer in list(room.slow_consumers.values()):
                self._flushes.pump(consumer)

    def item(self, epoch: str, entry: Entry) -> Item:
        """An entry as frames, with the changes by later entries applied."""
        item = item_of(epoch, entry)
        if entry.amendments and item.tail:
            return item.with_payload(self.amender(entry.payload, entry.amendments))
        if entry.change is not None and entry.change.verb == LOSS:
            item.become(self.teller(lost_of(entry).room, Reset(epoch, entry.offset)))
        return item

    def _take_loss(self, room: Room, item: Item, entry: Entry) -> None:
        """Tell the members that acknowledged entries are lost; where they know, that no message is missing here."""
        loss = lost_of(entry)
        told = self.losses.is_told(loss)
        if not told:
            self.losses.told(room.name, loss.lost)
        epoch, offset = item.epoch, item.offset
        what = Gap(epoch, offset, offset, changes=True) if told else Reset(epoch, offset)
        item.become(self.teller(room.name, what))
        self.tally.resets += not told

    def _amend_ring(self, room: Room, entry: Entry, change: Change) -> None:
        """Apply a change to the ring, so that members who catch up from memory see the same as from the store."""
        target = room.ring.at(change.target) if room.ring is not None else None
        if room.ring is not None and target is not None and target.tail:
            amendment = Amendment(change.verb, entry.time, entry.payload)
            amended = target.with_payload(self.amender(target.payload, (amendment,)))
            self._ring_bytes += room.ring.replace(amended)

    def _deliver(self, room: Room, items: list[Item], entries: Sequence[Entry]) -> None:
        """Add the room's next entries, as items, to the ring and the batch, and pass them to the worker's listeners.

        `entries` may be empty where the room has no listeners and no entry changes another.
        """
        share = RING_MOST if self._ring_bytes < RING_BYTES else self._ring_share()
        self._ring_bytes += room.append(items, share)
        for entry in entries:
            if entry.change is None:
                continue
            if entry.change.verb == LOSS:
                self._take_loss(room, items[entry.offset - items[0].offset], entry)
            else:
                self._amend_ring(room, entry, entry.change)
        for listener in room.listeners:
            for entry in entries:
                listener.receive_entry(room.name, entry)
        if room.slow_consumers:
            self._wake(room)

    def _wake(self, room: Room) -> None:
        """Let those lagging members go on that had read everything."""
        for consumer in list((room.slow_consumers or {}).values()):
            if not consumer.member.paused and not consumer.waiting:
                self._flushes.pump(consumer)

    def _ring_share(self) -> int:
        """The bytes that the ring of one room may hold now."""
        if self._ring_bytes < RING_BYTES:
            return RING_MOST
        return max(RING_SHARE, RING_BYTES // len(self.rooms))

    def _gap(self, room: Room, gap: TellGap) -> None:
        count = room.live_count
        if not gap.changes:
            logger.warning(
                "room %s: offsets %d to %d are gone; %d members are told", room.name, gap.first, gap.last, count
            )
            self.tally.gaps += 1
            self.tally.dropped += (gap.last - gap.first + 1) * count
        self._put_notice(room, Gap(gap.epoch, gap.first, gap.last, gap.changes))
        self._ring_bytes += room.skip(gap.epoch, gap.last)
        for listener in room.listeners:
            listener.on_missed(room.name)

    def _reset(self, room: Room, reset: TellReset) -> None:
        logger.warning(
            "room %s: position %d of %s is lost, the log goes on after offset %d of %s; %d members are told",
            room.name, room.offset, room.epoch, reset.offset, reset.epoch, room.live_count,
        )  # fmt: skip
        self.tally.resets += 1
        self.losses.told(room.name, room.epoch)
        self._put_notice(room, Reset(reset.epoch, reset.offset))
        self._ring_bytes += room.restart(reset.epoch, reset.offset)
        for listener in room.listeners:
            listener.on_missed(room.name)

    def _put_notice(self, room: Room, what: Gap | Reset) -> None:
        """Tell the LIVE members of a gap or a reset, at its place among the messages."""
        payload = self.teller(room.name, what)
        if room.gathers:  # even without a message: the batch has to begin before the position moves
            room.put((Item(text_frame(payload) if payload is not None else b""),))

    # ---- what reading brings -----------------------------------------------------------------------

    def receive_state(self, room: Room, state: LogState) -> None:
        """Take in the state of a room's log, which was read from the store for another purpose."""
        follower = room.follower
        if state.epoch != follower.epoch:
            self.run(room, follower.behind(state.epoch, state.top))
        elif state.top > follower.offset:
            self._maintenance.expect(room.name, state.epoch, state.top)

    def prefill(self, room: Room, items: list[Item]) -> None:
        """Put a page in front of the ring's oldest item, so that the next members that lag need no read."""
        self._ring_bytes += room.prepend(items, self._ring_share())

    # ---- looked at from outside --------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """One row a room, for `chatctl rooms`."""
        return [
            {
                "room": room.name,
                "members": len(room),
                "epoch": room.follower.epoch,
                "offset": room.follower.offset,
                "lagging": len(room.slow_consumers or ()),
                "state": room.follower.phase.value,
            }
            for room in self.rooms.values()
            if not is_internal(room.name)
        ]


def _nothing(room: str) -> None:
    """Ignore that notes may have been missed."""


def _no_note(room: str, note: bytes) -> None:
    """Ignore a note."""


def _nobody(member_id: str) -> RoomMember | None:
    return None
