"""The rooms of a worker: who is in them, and how what the bus brings reaches them.

What comes in passes `received`, the room's follower, one encoding (`log_item.py`), the room's batch (`room.py`), and at
the end of the turn (`delivery.py`) one plain loop over the transports of the LIVE members. Everything else is what
happens when that is not possible: `delivery.py` reads what is missing, `membership.py` knows who lags.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from chatmaster.settings import Settings
from workers.addressing import is_internal
from workers.bus.keys import shares_channel
from workers.bus.port import Bus, BusError, Entry, Placed, Position, Publication
from workers.rooms.delivery import LogDelivery
from workers.rooms.flush import Delivery
from workers.rooms.history_reader import Reading
from workers.rooms.listening import LogListener
from workers.rooms.log_item import Item
from workers.rooms.maintenance import Maintenance
from workers.rooms.membership import Membership
from workers.rooms.room import Room
from workers.rooms.rooms import Rooms
from workers.rooms.stats import RoomStats
from workers.rooms.types import Amender, Joined, RoomMember, Teller, amend_nothing, tell_nothing
from workers.tasks import Tasks
from workers.transport.frames import text_frame

CONFIRMED = 1024  # rooms a turn: 2 ms


class Hub:
    """All rooms of one worker; it is the bus's sink. Every method is called on the loop.

    The application may set `on_note(room, note)` for what is published without being kept, `on_subscribed(room)` to
    hear that notes may have been missed, `teller` for what members are told about gaps and resets, `amender` for what
    edits do to earlier messages, and `find(id)` to find a member that a publication excludes.
    """

    # Set once by `bind`.
    _bus: Bus
    _maintenance: Maintenance

    def __init__(self, settings: Settings) -> None:
        self.on_note: Callable[[str, bytes], None] = _no_note
        self.on_subscribed: Callable[[str], None] = _nothing
        self.teller: Teller = tell_nothing
        self.amender: Amender = amend_nothing
        self.find: Callable[[str], RoomMember | None] = _nobody
        self.rooms = Rooms()
        self.tally = RoomStats()
        self._limits = settings.limits
        self._loop = asyncio.get_running_loop()
        self._tasks = Tasks()
        self._confirming: Iterator[Room] = iter(())  # rooms that have still to be told that they are subscribed
        delivery = self._delivery = Delivery(settings.server.max_batch_delay)
        self._following = LogDelivery(self.rooms, self, delivery, self.tally)
        self._membership = Membership(
            self.rooms, self, self._following, delivery, self.tally, join_timeout=settings.store.timeout
        )

    def bind(self, bus: Bus) -> None:
        """Called once by the composition root, after the bus was made with this hub as its sink."""
        self._bus = bus
        reading = Reading(bus, self._following, self.tally, self._tasks)
        self._maintenance = Maintenance(
            self.rooms,
            self._following,
            bus,
            self.tally,
            lag_timeout=self._limits.lag_timeout,
            cut=self._membership.cut,
        )
        self._following.bind(bus, reading, self._maintenance)
        self._membership.bind(reading, self._maintenance)

    def start(self) -> None:
        """Begin to look after the rooms from time to time."""
        self._maintenance.start(self._tasks)

    async def stop(self) -> None:
        """End everything that runs by itself."""
        self._maintenance.stop()
        await self._tasks.cancel()

    # ---- members; membership.py says more ----------------------------------------------------------

    def join(
        self,
        member: RoomMember,
        wanted: list[tuple[str, Position | None]],
        announce: Callable[[list[Joined]], None],
        failed: Callable[[BusError], None],
        *,
        dropped: Callable[[str], None] | None = None,
    ) -> None:
        """Bring a member into rooms, each with the position after which it wants to read on (None: from now on).

        `announce` is called and the member admitted in one turn: what it writes comes before the first message, and
        every offset above the one announced will come, or a gap or a reset says why not. `failed` is called instead
        where the store does not answer in `store.timeout`, or where the member left.
        """
        self._membership.join(member, wanted, announce, failed, dropped=dropped)

    def leave(self, member: RoomMember, room: str, left: Callable[[], None] | None = None) -> None:
        """Take a member out of a room, after the batch that is being written; then `left` is called."""
        self._membership.leave(member, room, left)

    def leave_all(self, member: RoomMember) -> None:
        """It is gone, or about to be closed: nothing more is written to it, but for a batch that is being written."""
        self._membership.leave_all(member)

    def paused(self, member: RoomMember) -> None:
        """Its transport's buffer is full."""
        self._membership.paused(member)

    def resumed(self, member: RoomMember) -> None:
        """Its transport has room again."""
        self._membership.resumed(member)

    def joining(self, member: RoomMember) -> bool:
        """Whether a join of its is under way."""
        return self._membership.joining(member)

    def positions_of(self, member: RoomMember) -> dict[str, Position] | None:
        """Up to where it was sent everything, in every room; None while a batch is being written: try again."""
        return self._membership.positions_of(member)

    def depart(self, member: RoomMember, gone: Callable[[dict[str, Position]], None]) -> None:
        """Take it out of all its rooms; then `gone` is told up to where it was sent everything."""
        self._membership.depart(member, gone)

    def arrive(self, member: RoomMember, stood: list[tuple[str, Position]]) -> list[tuple[str, Position]]:
        """Let it go on in its rooms from where it stood, at once; returns the rooms that it has to join instead."""
        return self._membership.arrive(member, stood)

    def lag_of(self, member: RoomMember) -> int:
        """Messages of its rooms that it has not been sent yet."""
        return self._membership.lag_of(member)

    def rooms_of(self, member: RoomMember) -> list[str]:
        """The rooms it is in."""
        return self._membership.rooms_of(member)

    def members(self, room: str) -> list[RoomMember]:
        """This worker's members of a room."""
        return self._membership.members(room)

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

        `live` is called once when the following has begun, `missed` where entries cannot be had any more.
        """
        found = self._membership.room(room)
        listener = LogListener(received, live, missed)
        found.listeners = [*(found.listeners or ()), listener]
        self._following.run(found, found.follower.wanted())
        if found.current:
            listener.became_current()

        def stop() -> None:
            if found.listeners and listener in found.listeners:
                found.listeners = [one for one in found.listeners if one is not listener] or None
                self._membership.let_go(found)

        return stop

    def hasten(self, *, haste: bool) -> None:
        """Keep the turns of the loop short while connections move."""
        self._delivery.hasten(haste=haste)

    def position(self, room: str) -> Position | None:
        """How far this worker has followed a room; None where it does not."""
        found = self.rooms.get(room)
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
        """Append to a room's log, see `Bus.publish`; `placed` also sees to it that the message comes back."""
        self._bus.publish(room, payload, form=form, done=done, **options)

    def note(self, room: str, note: bytes) -> None:
        """Publish without keeping; may be lost."""
        self._bus.publish_note(room, note)

    def show(self, room: str, payload: bytes, *, exclude: str = "") -> None:
        """Send a text message that is not kept to this worker's LIVE members of a room, in order with the others."""
        found = self.rooms.get(room)
        if found is not None and found.live_count:
            found.put((Item(text_frame(payload), exclude=exclude),))

    # ---- told by the bus ---------------------------------------------------------------------------

    def received(self, room: str, publication: Publication) -> None:
        """Logged messages came by pub/sub."""
        found = self.rooms.get(room)
        if found is None:
            return
        if entries := found.follower.received(publication):
            # The follower's own string of the same epoch: each remembered entry keeps it.
            self._following.deliver(found, found.follower.epoch, entries)
        elif effects := found.follower.strayed():
            self._following.run(found, effects)

    def placed(self, room: str, last: Placed, count: int, seconds: float) -> None:
        """The store has kept what was published here, up to `last`, which should come by pub/sub soon."""
        self.tally.published += count
        self.tally.publish_latency.observe(seconds, count)
        found = self.rooms.get(room)
        if found is not None and found.follower.offset < last.offset:
            self._maintenance.expect(room, last.epoch, last.offset)

    def received_note(self, room: str, note: bytes) -> None:
        """Something that is not logged came by pub/sub."""
        self.on_note(room, note)

    def subscribed(self, room: str) -> None:
        """The store confirmed a subscription."""
        found = self.rooms.get(room)
        if found is not None:
            self._following.run(found, found.follower.subscribed())
            self.on_subscribed(room)

    def wants(self, room: str) -> bool:
        """What came for a room is wanted if there is such a room here."""
        return room in self.rooms

    def shared_subscribed(self) -> None:
        """The store confirmed the channels that inboxes share; a large worker has 40,000 on them."""
        self._confirming = iter([room for room in self.rooms.values() if shares_channel(room.name)])
        self._confirm_some()

    def _confirm_some(self) -> None:
        some = list(islice(self._confirming, CONFIRMED))
        for room in some:
            self._following.run(room, room.follower.subscribed())
        if some:
            self._loop.call_soon(self._confirm_some)

    def unsubscribed(self, room: str) -> None:
        """The store confirmed the end of a subscription."""
        found = self.rooms.get(room)
        if found is not None:
            self._following.run(found, found.follower.unsubscribed())

    def disconnected(self) -> None:
        """Every subscription is gone with its connection."""
        for room in list(self.rooms.values()):
            self._following.run(room, room.follower.disconnected())

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
    """Notes that may have been missed are nobody's business."""


def _no_note(room: str, note: bytes) -> None:
    """Nobody is interested in notes."""


def _nobody(member_id: str) -> RoomMember | None:
    return None
