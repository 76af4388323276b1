"""How a connection becomes a member of rooms, with a hello or a join: what the answer needs, places, and the turns.

The rooms call `RoomEntry.announce` in the very turn of admission, and what is written then comes before the first
message. So everything that the answer needs of the store (counts, read positions) is read before. What has to wait
until the connection is a member follows in the next turn, together for all that entered in this one.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from chatmaster.settings import RoomRule
from workers.addressing import is_inbox
from workers.bus.port import BusError, Position, Unavailable
from workers.chat.chat_connection import ChatConnection
from workers.chat.occupancy import Occupancy
from workers.chat.room_presence import RoomPresence
from workers.chat.rules.commands import RequestId, Wanted
from workers.chat.rules.effects import Effects, Reply
from workers.chat.rules.identity import Identity, Presented
from workers.chat.rules.replies import RoomState
from workers.chat.rules.request_error import RequestError
from workers.chat.rules.state import SessionPhase
from workers.chat.services import ChatServices
from workers.chat.store.user_records import ReadPosition
from workers.chat.unread import counted_to, first_of_interest, mentions_of
from workers.room_options import INBOX_RULE
from workers.rooms.types import Joined


class PendingKick(Struct, frozen=True):
    """Out of a room, or with room "" out of everything."""

    room: str
    reason: str
    offset: int  # of the order in the control room


class PendingJoins:
    """Connections whose hello or join is under way, and the kicks that arrive for them meanwhile.

    Such a connection is in no room yet in which an order could find it.
    """

    def __init__(self) -> None:
        self._users: dict[ChatConnection, str] = {}
        self._kicks: dict[ChatConnection, list[PendingKick]] = {}

    def begin(self, client: ChatConnection, user: str) -> None:
        """Note that a connection of that user is about to enter."""
        self._users[client] = user

    def end(self, client: ChatConnection) -> list[PendingKick]:
        """Forget a pending join; return the kicks that arrived for it."""
        self._users.pop(client, None)
        return self._kicks.pop(client, [])

    def add_kick(self, user: str, kick: PendingKick) -> None:
        """Keep a kick for each pending join of a user that began before the order."""
        for client, name in self._users.items():
            if name == user and client.connection.ordered < kick.offset:
                self._kicks.setdefault(client, []).append(kick)


class RoomInfo(Struct, frozen=True):
    """What is known of a room before it is joined."""

    rule: RoomRule
    members: int | None = None  # users; None where nobody counts them
    position: ReadPosition | None = None  # None: the user is new, and has read nothing anywhere


_INBOX_INFO: Final = RoomInfo(INBOX_RULE)


class RoomEntry(ABC):
    """One connection on its way into rooms. `places` are rooms with a limit in which it has a place already."""

    __slots__ = ("_entries", "_infos", "_places", "_request", "client")

    def __init__(
        self,
        entries: RoomEntries,
        client: ChatConnection,
        request: RequestId,
        infos: Sequence[RoomInfo],
        places: list[str],
    ) -> None:
        self._entries = entries
        self.client = client
        self._request = request
        self._infos = infos
        self._places = places

    @property
    @abstractmethod
    def user(self) -> str:
        """Whose connection it is, or is about to be."""

    @abstractmethod
    def answer(self, states: list[RoomState]) -> Effects:
        """The session's answer; its first effect is a reply, which has to be sent in this very turn."""

    @abstractmethod
    def entered(self) -> None:
        """The connection is a member now."""

    @abstractmethod
    def undo(self) -> None:
        """Take back what was done before the entry failed."""

    def announce(self, joined: list[Joined]) -> None:
        """Answer: everything is there, and the rooms make the connection a member when this returns."""
        states = self._entries.enter_presence(self.client, joined, self._infos)
        first, *rest = self.answer(states)
        self._places.clear()  # they are the connection's now, and given back when it leaves the room
        assert isinstance(first, Reply)
        self.client.send(first.payload)
        self._entries.next_turn(self, rest)

    def failed(self, error: BusError) -> None:
        """The rooms gave up: take everything back, and tell the client."""
        self.failed_at_once()
        self.client.give_up(self._request, error)

    def failed_at_once(self) -> None:
        """The same where the caller tells the client."""
        self._entries.give_back(self.user, self._places)
        self.undo()


class RoomEntries:
    """Brings the connections of a worker into rooms."""

    def __init__(
        self, services: ChatServices, room_presence: RoomPresence, occupancy: Occupancy, pending: PendingJoins
    ) -> None:
        self._hub = services.hub
        self._loop = services.loop
        self._options = services.context.options
        self._presence = services.presence
        self._positions = services.store.read_positions
        self._room_presence = room_presence
        self._occupancy = occupancy
        self._pending = pending
        self._entered: list[tuple[RoomEntry, Effects]] = []  # members since this turn, and what follows for each

    # ---- what the answer needs ---------------------------------------------------------------------

    async def look(self, identity: Identity, rooms: Sequence[str]) -> list[RoomInfo]:
        """What the answer needs to know of each room. Raises BusError."""
        if not (isinstance(identity, Presented) and identity.fresh):
            if len(rooms) == 1:  # without tasks this costs a tenth
                return [await self._look_at(identity, rooms[0])]
            return list(await asyncio.gather(*(self._look_at(identity, room) for room in rooms)))
        found = []
        for room in rooms:
            if is_inbox(room):  # whose rule is the same for all, and of which a new guest has but the own
                found.append(_INBOX_INFO)
                continue
            rule, members = self._options.of(room), None
            if rule.presence or rule.members:
                members = self._presence.known(room)
                if members is None:
                    members = await self._presence.counted(room)
            found.append(RoomInfo(rule, members))
        return found

    async def _look_at(self, identity: Identity, room: str) -> RoomInfo:
        rule = self._options.of(room)
        members = await self._presence.counted(room) if rule.presence or rule.members else None
        return RoomInfo(rule, members, await self._positions.read(room, identity.user))

    async def states(self, client: ChatConnection, rooms: Sequence[str]) -> list[RoomState]:
        """Where a member stands in rooms. Raises BusError."""
        infos = await self.look(client.session.identity, rooms)
        positions = [self._hub.position(room) for room in rooms]
        return [
            RoomState(
                room=room,
                epoch=position.epoch if position else "",
                offset=position.offset if position else 0,
                members=info.members if info.rule.presence else None,
                unread=info.position.unread if info.position else None,
                read=info.position.read if info.position else None,
                topic=info.rule.topic or None,
                mentions=mentions_of(room, info.position),
            )
            for room, position, info in zip(rooms, positions, infos, strict=True)
        ]

    def enter_presence(
        self, client: ChatConnection, joined: Sequence[Joined], infos: Sequence[RoomInfo]
    ) -> list[RoomState]:
        """Count a connection in rooms that it joins; returns where it stands in each."""
        states = []
        for one, info in zip(joined, infos, strict=True):
            if info.members is not None:
                self._room_presence.enter(client, one.room, others=info.members > 0)
            states.append(self._state(one, info, client.connection.user))
        return states

    def _state(self, joined: Joined, info: RoomInfo, user: str) -> RoomState:
        members, position, topic = None, info.position, info.rule.topic or None
        if info.members is not None and info.rule.presence:
            members = max(self._presence.count(joined.room), info.members)
        if position is None:  # a new guest, who has read nothing anywhere
            return RoomState(
                room=joined.room,
                epoch=joined.epoch,
                offset=joined.offset,
                recovered=joined.recovered,
                members=members,
                topic=topic,
            )
        if joined.epoch.startswith(position.log):
            items = self._hub.recent(joined.room, first_of_interest(position), joined.offset)
            position = counted_to(position, joined.offset, items, user)
        return RoomState(
            room=joined.room,
            epoch=joined.epoch,
            offset=joined.offset,
            recovered=joined.recovered,
            members=members,
            unread=position.unread,
            read=position.read,
            topic=topic,
            mentions=mentions_of(joined.room, position),
        )

    # ---- places in rooms with a limit ----------------------------------------------------------------

    async def take_place(self, user: str, room: str, rule: RoomRule, places: list[str]) -> None:
        """Take a place in a room with a limit, noted in `places`. Raises RequestError where the room is full, BusError.

        A user who is in the room already has a place.
        """
        if rule.members:
            if not await self._occupancy.take(room, user, rule.members):
                raise RequestError("limit_reached", "this room is full", field="room")
            places.append(room)

    def hold_place(self, user: str, room: str, rule: RoomRule, places: list[str]) -> None:
        """Keep the place of a connection that leaves a room and joins it again."""
        if rule.members:
            self._occupancy.hold(room, user)
            places.append(room)

    def give_back(self, user: str, places: list[str]) -> None:
        """Give back places of a user who does not enter after all."""
        while places:
            self._occupancy.give_back(places.pop(), user)

    def forget(self, client: ChatConnection) -> None:
        """Forget the pending join of a connection that does not enter."""
        self._pending.end(client)

    # ---- the turns -----------------------------------------------------------------------------------

    def enter(self, entry: RoomEntry, wanted: Sequence[Wanted]) -> None:
        """Become a member of all these rooms at once; then the connection goes on, or gives up. Raises BusError."""
        client = entry.client
        if client.session.phase is SessionPhase.ENDED:  # closed while the store was asked
            raise Unavailable("the connection was closed")
        positions = [
            (one.room, None if one.since is None else Position(one.since.epoch, one.since.offset)) for one in wanted
        ]
        self._hub.members.join(client.connection, positions, entry.announce, entry.failed)

    def next_turn(self, entry: RoomEntry, rest: Effects) -> None:
        """Let a connection go on once it is a member, which it becomes in this turn."""
        if not self._entered:
            self._loop.call_soon(self._go_on_all)
        self._entered.append((entry, rest))

    def _go_on_all(self) -> None:
        entered, self._entered = self._entered, []
        for entry, rest in entered:
            try:
                self._go_on(entry, rest)
            except Exception as error:  # a bug: fails this connection only
                entry.client.fail(error)

    def _go_on(self, entry: RoomEntry, rest: Effects) -> None:
        """Carry out what orders could not do before, when this connection was in no room to be found in."""
        client = entry.client
        entry.entered()
        if banned := client.session.enforce_bans(time.time()):
            client.carry_out(banned)
        for kick in self._pending.end(client):
            client.carry_out(client.session.kicked(kick.room, kick.reason))
        client.go_on(rest)
